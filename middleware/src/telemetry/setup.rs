use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Meter;

use super::admin::Admin;
use super::exporter::Prometheus;
use super::funnel::Funnels;
use super::http::{HttpInstruments, HttpMetricsLayer};
use super::instruments::{Instruments, Namespace};
use super::rate_limit::Tallies;
use super::segment::Segments;
use super::store::{StoreMetrics, StoreState};
use super::suspicion::Suspicions;
use super::visitors::VisitorMetrics;
use crate::ConfigError;
use crate::funnel::{Tally as FunnelTally, VisitorTally};
use crate::model::{Operation, Outcome};
use crate::rate_limit::Tally;
use crate::segment::Tally as SegmentTally;
use crate::suspicion::Tally as SuspicionTally;

/// All instruments of palisade, and where they are exported.
///
/// One per process: two would export the same names twice. Clones share everything.
#[derive(Debug, Clone)]
pub struct Telemetry {
    http: Arc<HttpInstruments>,
    funnels: Funnels,
    tallies: Tallies,
    suspicions: Suspicions,
    segments: Segments,
    store: StoreMetrics,
    visitors: VisitorMetrics,
    prometheus: Option<Prometheus>,
}

impl Telemetry {
    /// Telemetry with a Prometheus exporter of its own, whose metrics begin with `namespace`, such as `webstore`.
    /// Those of HTTP keep the names of the OTel conventions.
    pub fn builder(namespace: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder {
            namespace: namespace.into(),
            service_name: None,
        }
    }

    /// Telemetry on a meter of your own OpenTelemetry setup; nothing is exported here.
    ///
    /// Give `http.server.request.duration` a view with a cardinality limit above your routes times methods times
    /// statuses: the SDK's default is 2,000.
    ///
    /// # Errors
    /// [`ConfigError`] if the namespace is anything but a lowercase letter followed by lowercase letters, digits
    /// and inner underscores, or is longer than 63 characters.
    pub fn with_meter(meter: Meter, namespace: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(meter, Namespace::new(namespace)?, None))
    }

    fn new(meter: Meter, namespace: Namespace, prometheus: Option<Prometheus>) -> Self {
        let instruments = Instruments { meter, namespace };
        Self {
            http: Arc::new(HttpInstruments::new(&instruments)),
            funnels: Funnels::new(&instruments),
            tallies: Tallies::new(&instruments),
            suspicions: Suspicions::new(&instruments),
            segments: Segments::new(&instruments),
            store: StoreMetrics::new(&instruments),
            visitors: VisitorMetrics::new(&instruments),
            prometheus,
        }
    }

    /// The layer that measures HTTP requests; the outermost of all.
    pub fn http_layer(&self) -> HttpMetricsLayer {
        HttpMetricsLayer::new(Arc::clone(&self.http))
    }

    /// Exports how many responses reached each stage of a funnel, all series at 0 from now on.
    pub fn watch_funnel(&self, tally: Arc<FunnelTally>) {
        self.funnels.watch(tally);
    }

    /// Exports how many visitors reached each stage of a funnel, all series at 0 from now on, and whether visitors are
    /// counted.
    pub fn watch_visitors(&self, tally: Arc<VisitorTally>) {
        self.visitors.watch(tally);
    }

    /// Records how long each step of a visitor took; for [`Visitors::observer`](crate::funnel::Visitors::observer).
    pub fn step_observer(&self) -> impl Fn(&str, &str, Duration) + Clone + Send + Sync + use<> {
        let visitors = self.visitors.clone();
        move |from, to, took| visitors.record(from, to, took)
    }

    /// Exports what the policies of a rate limit decide, all series at 0 from now on.
    pub fn watch_rate_limit(&self, tally: Arc<Tally>) {
        self.tallies.watch(tally);
    }

    /// Exports how many incidents clients' failures add up to, all kinds at 0 from now on, whether failures are
    /// counted, and the bans.
    pub fn watch_suspicion(&self, tally: Arc<SuspicionTally>) {
        self.suspicions.watch(tally);
    }

    /// Exports what customers do by segment, all series at 0 from now on, how many there are, and whether their records
    /// are kept.
    pub fn watch_segments(&self, tally: Arc<SegmentTally>) {
        self.segments.watch(tally);
    }

    /// Exports the state of a store: whether its breaker is open, and how many corrupt keys it has met. Asked at
    /// each scrape, so it must not block.
    pub fn watch_store(&self, state: impl Fn() -> StoreState + Send + Sync + 'static) {
        self.store.watch(Box::new(state));
    }

    /// Records how long each call to a store took; for the store's builder.
    ///
    /// A series begins with its first call: the OpenTelemetry API cannot create a histogram's series at 0.
    pub fn store_observer(
        &self,
    ) -> impl Fn(Operation, Outcome, Duration) + Clone + Send + Sync + use<> {
        let store = self.store.clone();
        move |operation, outcome, took| store.record(operation, outcome, took)
    }

    /// The exporter, for a `/metrics` route of your own; none with [`Telemetry::with_meter`].
    #[must_use]
    pub fn prometheus(&self) -> Option<&Prometheus> {
        self.prometheus.as_ref()
    }

    /// The admin server. Without an exporter its `/metrics` is 404.
    pub fn admin(&self) -> Admin {
        Admin::new(self.prometheus.clone())
    }
}

/// Settings of [`Telemetry`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TelemetryBuilder {
    namespace: String,
    service_name: Option<String>,
}

impl TelemetryBuilder {
    /// `service.name` of the resource, the label of `target_info`; the namespace by default.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Makes the instruments and their exporter.
    ///
    /// # Errors
    /// [`ConfigError`] if the namespace is anything but a lowercase letter followed by lowercase letters, digits
    /// and inner underscores, or is longer than 63 characters, and if the service's name is empty.
    pub fn build(self) -> Result<Telemetry, ConfigError> {
        let namespace = Namespace::new(&self.namespace)?;
        let service_name = self.service_name.unwrap_or(self.namespace);
        if service_name.trim().is_empty() {
            let allowed = "a name that is not empty";
            return Err(ConfigError::new(
                "telemetry.service_name",
                service_name,
                allowed,
            ));
        }
        let prometheus = Prometheus::new(service_name)?;
        Ok(Telemetry::new(
            prometheus.meter(),
            namespace,
            Some(prometheus),
        ))
    }
}
