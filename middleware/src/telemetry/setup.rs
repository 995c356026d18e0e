use std::sync::Arc;

use opentelemetry::metrics::Meter;

use super::exporter::Prometheus;
use super::http::{HttpInstruments, HttpMetricsLayer};
use super::instruments::{Instruments, Namespace};
use crate::ConfigError;
use crate::model::metrics::{Durations, Meters, Metrics};

/// All instruments of palisade, and where they are exported.
///
/// One per process: two would export the same names twice. Clones share everything.
#[derive(Debug, Clone)]
pub struct Telemetry {
    http: Arc<HttpInstruments>,
    instruments: Instruments,
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
        let instruments = Instruments::new(meter, namespace);
        Self {
            http: Arc::new(HttpInstruments::new(&instruments)),
            instruments,
            prometheus,
        }
    }

    /// The layer that measures HTTP requests; the outermost of all.
    pub fn http_layer(&self) -> HttpMetricsLayer {
        HttpMetricsLayer::new(Arc::clone(&self.http))
    }

    /// Exports the counts of a layer, all series at 0 from now on; a tally that is given twice is exported once.
    ///
    /// ```
    /// use palisade::rate_limit::RateLimitLayer;
    /// use palisade::store::memory::MemoryStore;
    /// use palisade::telemetry::Telemetry;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let telemetry = Telemetry::builder("shop").build()?;
    /// let limits = RateLimitLayer::embedded(MemoryStore::new()).build()?;
    /// telemetry.watch(&limits.tally());
    ///
    /// let metrics = telemetry.prometheus().unwrap().scrape().await?;
    /// let denied = r#"shop_rate_limit_requests_total{policy="ip",result="denied"} 0"#;
    /// assert!(str::from_utf8(&metrics)?.contains(denied));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn watch(&self, counted: &Arc<impl Metrics>) {
        self.instruments.watch(counted);
    }

    /// Records durations: those of [`store::Calls`](crate::store::Calls) for a store's builder, those of
    /// [`funnel::Steps`](crate::funnel::Steps) for [`Visitors::observer`](crate::funnel::Visitors::observer).
    ///
    /// A series begins with its first measurement: the OpenTelemetry API cannot create a histogram's series at 0.
    pub fn timer<D: Durations>(&self) -> Box<D::Observer> {
        let histogram = self.instruments.histogram(D::INSTRUMENT);
        D::observer(Box::new(move |labels, took| {
            let attributes = D::INSTRUMENT.attributes(labels.iter().cloned());
            histogram.record(took.as_secs_f64(), &attributes);
        }))
    }

    /// With which the names of the metrics begin.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.instruments.namespace()
    }

    /// The exporter, for a `/metrics` route of your own; none with [`Telemetry::with_meter`].
    #[must_use]
    pub fn prometheus(&self) -> Option<&Prometheus> {
        self.prometheus.as_ref()
    }
}

impl Meters for Telemetry {
    fn watch<T: Metrics>(&self, counted: &Arc<T>) {
        self.watch(counted);
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
