//! HTTP server metrics, measured by the outermost layer.
mod attributes;
mod body;
mod future;
mod layer;
mod measure;
mod service;

pub use body::MeasuredBody;
pub use future::ResponseFuture;
pub use layer::HttpMetricsLayer;
pub(super) use measure::HttpInstruments;
pub use service::HttpMetrics;
