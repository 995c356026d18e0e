//! HTTP server metrics, measured by the outermost layer.
mod attributes;
mod body;
mod future;
mod layer;
mod measure;
mod metrics;
mod service;

pub use body::MeasuredBody;
pub use future::ResponseFuture;
pub use layer::HttpMetricsLayer;
pub(super) use measure::HttpInstruments;
#[cfg(test)]
pub(super) use metrics::ACTIVE;
pub(super) use metrics::DURATION;
pub use service::HttpMetrics;
