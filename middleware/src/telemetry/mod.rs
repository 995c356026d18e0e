//! What happened, in numbers.
mod admin;
mod exporter;
mod http;
mod instruments;
mod rate_limit;
mod setup;

pub use admin::{Admin, Readiness};
pub use exporter::{Prometheus, ScrapeError};
pub use http::{HttpMetrics, HttpMetricsLayer, MeasuredBody, ResponseFuture};
pub use setup::{Telemetry, TelemetryBuilder};

#[cfg(test)]
mod tests;
