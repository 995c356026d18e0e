//! HTTP server metrics, measured by the outermost layer.
mod attributes;
mod future;
mod layer;
mod measure;
mod service;

pub use future::ResponseFuture;
pub use layer::HttpMetricsLayer;
pub(super) use measure::HttpInstruments;
pub use measure::Measure;
pub use service::HttpMetrics;
