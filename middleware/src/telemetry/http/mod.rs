//! HTTP server metrics, measured by the outermost layer.
mod attributes;
mod future;
mod layer;
mod measure;
mod metrics;
mod service;

pub use future::ResponseFuture;
pub use layer::HttpMetricsLayer;
pub(super) use measure::HttpInstruments;
pub use measure::Measure;
#[cfg(test)]
pub(super) use metrics::ACTIVE;
pub(super) use metrics::DURATION;
pub use service::HttpMetrics;
