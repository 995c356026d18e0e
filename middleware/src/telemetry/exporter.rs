//! The Prometheus text format.
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};
use tokio::sync::Semaphore;

use super::http;
use super::instruments::SCOPE;
use crate::ConfigError;

/// Series of `http.server.request.duration` before further ones are counted under `otel_metric_overflow`.
///
/// A dozen routes times 11 methods, two protocol versions and half a dozen statuses come to about 1,600 when a
/// client tries them all, which is close to the SDK's default of 2,000; and what does not fit first is lost
/// until the restart. A series takes 0.7 kB here and 3.6 kB of a scrape's text (measured), so this many are 18 MB
/// of text.
const HTTP_SERIES: usize = 5_000;

/// All metrics in the Prometheus text format, from a meter provider and a registry of their own.
///
/// Made by [`Telemetry`](super::Telemetry::prometheus). Clones share both.
#[derive(Clone)]
pub struct Prometheus {
    registry: Registry,
    /// Dropping the last provider would end the collection.
    provider: SdkMeterProvider,
    /// A scrape of many series takes some 50 ms of CPU and a copy of the text: one at a time bounds both.
    turn: Arc<Semaphore>,
}

impl Prometheus {
    /// The content type of the exposition format, version 0.0.4.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    pub(super) fn new(service_name: String) -> Result<Self, ConfigError> {
        let refused = |error: &dyn fmt::Display| {
            ConfigError::new(
                "telemetry.exporter",
                error,
                "a registry that accepts a collector",
            )
        };
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(|error| refused(&error))?;
        let resource = Resource::builder_empty()
            .with_service_name(service_name)
            .build();
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(exporter)
            .with_view(bound_series)
            .build();
        Ok(Self {
            registry,
            provider,
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    pub(super) fn meter(&self) -> Meter {
        self.provider.meter(SCOPE)
    }

    /// Collects and encodes all metrics, on the runtime's blocking threads and one scrape at a time.
    ///
    /// # Errors
    /// [`ScrapeError`] when the metrics cannot be encoded or the runtime is shutting down.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn scrape(&self) -> Result<Bytes, ScrapeError> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let registry = self.registry.clone();
        let scrape = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also when whoever asked has left.
            let _turn = turn;
            TextEncoder::new().encode_to_string(&registry.gather())
        });
        match scrape.await {
            Ok(Ok(text)) => Ok(text.into()),
            Ok(Err(error)) => Err(ScrapeError(Box::new(error))),
            Err(error) => Err(ScrapeError(Box::new(error))),
        }
    }
}

fn bound_series(instrument: &Instrument) -> Option<Stream> {
    if !http::DURATION.is_named(instrument.name()) {
        return None;
    }
    Stream::builder()
        .with_cardinality_limit(HTTP_SERIES)
        .build()
        .ok()
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

/// The metrics could not be collected or encoded; the source tells why.
#[derive(Debug)]
pub struct ScrapeError(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for ScrapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the metrics could not be collected")
    }
}

impl std::error::Error for ScrapeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
