//! The one table of everything that palisade measures.
use std::borrow::Cow;

use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};
use opentelemetry::{KeyValue, StringValue};

use crate::error::ConfigError;

/// The scope of every instrument. One scope for all, and its labels are left out of the export: a version in
/// them would start every series anew at each release.
pub(super) const SCOPE: &str = "palisade";

/// Label keys of the HTTP metrics, sorted.
pub(super) mod key {
    pub(in crate::telemetry) const ERROR_TYPE: &str = "error.type";
    pub(in crate::telemetry) const METHOD: &str = "http.request.method";
    pub(in crate::telemetry) const STATUS: &str = "http.response.status_code";
    pub(in crate::telemetry) const ROUTE: &str = "http.route";
    pub(in crate::telemetry) const VERSION: &str = "network.protocol.version";
    pub(in crate::telemetry) const GRPC_STATUS: &str = "rpc.grpc.status_code";
    pub(in crate::telemetry) const SCHEME: &str = "url.scheme";
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Instrument {
    /// With dots; the Prometheus exporter puts underscores, the unit and `_total` of a counter.
    name: &'static str,
    /// Whether the user's namespace stands in front of the name.
    namespaced: bool,
    kind: Kind,
    /// UCUM; a word in braces becomes no part of the Prometheus name.
    unit: &'static str,
    description: &'static str,
    /// Every key that the instrument may carry, sorted: the SDK then keeps one copy of a set of attributes.
    labels: &'static [&'static str],
    /// Upper bounds of the buckets, of a histogram only.
    boundaries: &'static [f64],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
    Histogram,
}

/// Duration of HTTP server requests; name, unit, keys and buckets of the OTel HTTP conventions 1.44.
pub(super) const HTTP_DURATION: Instrument = Instrument {
    name: "http.server.request.duration",
    namespaced: false,
    kind: Kind::Histogram,
    unit: "s",
    description: "Duration of HTTP server requests, until the response's body ended or the request was cancelled.",
    labels: &[
        key::ERROR_TYPE,
        key::METHOD,
        key::STATUS,
        key::ROUTE,
        key::VERSION,
        key::GRPC_STATUS,
        key::SCHEME,
    ],
    boundaries: &[
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ],
};

/// Requests in flight.
pub(super) const HTTP_ACTIVE: Instrument = Instrument {
    name: "http.server.active_requests",
    namespaced: false,
    kind: Kind::UpDownCounter,
    unit: "{request}",
    description: "HTTP server requests in flight.",
    labels: &[key::METHOD, key::SCHEME],
    boundaries: &[],
};

/// Requests by policy and what it decided.
pub(super) const RATE_LIMIT_REQUESTS: Instrument = Instrument {
    name: "rate_limit.requests",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{request}",
    description: "Requests that a rate limit policy decided on.",
    labels: &["policy", "result"],
    boundaries: &[],
};

/// Denials for lack of quota.
pub(super) const RATE_LIMIT_EXCEEDED: Instrument = Instrument {
    name: "rate_limit.exceeded",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{request}",
    description: "Requests denied because a rate limit was exceeded.",
    labels: &["limit_type"],
    boundaries: &[],
};

/// What clients' failures add up to.
pub(super) const SUSPICIOUS_ACTIVITY: Instrument = Instrument {
    name: "security.suspicious_activity",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{incident}",
    description: "Incidents: clients whose failures reached a threshold, and again for each window that they go on.",
    labels: &["type"],
    boundaries: &[],
};

/// Whether failures are counted at all.
pub(super) const SECURITY_FAILURES: Instrument = Instrument {
    name: "security.failures",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{request}",
    description: "Failed requests by whether they were counted towards suspicious activity.",
    labels: &["result"],
    boundaries: &[],
};

/// Bans imposed.
pub(super) const SECURITY_BANS: Instrument = Instrument {
    name: "security.bans",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{ban}",
    description: "Bans that this process imposed, by what for.",
    labels: &["reason"],
    boundaries: &[],
};

/// Requests of banned clients.
pub(super) const SECURITY_BANNED_REQUESTS: Instrument = Instrument {
    name: "security.banned_requests",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{request}",
    description: "Requests of banned clients, by whether they were refused.",
    labels: &["result"],
    boundaries: &[],
};

/// Time that a call to the store took. Buckets start at 100 µs, since a healthy Redis answers in a fraction of
/// a millisecond, and have a bound at 50 ms, the default deadline.
pub(super) const STORE_DURATION: Instrument = Instrument {
    name: "store.operation.duration",
    namespaced: true,
    kind: Kind::Histogram,
    unit: "s",
    description: "Duration of calls to the store.",
    labels: &["operation", "outcome"],
    boundaries: &[
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
    ],
};

/// Whether the store is being left alone after failures.
pub(super) const STORE_BREAKER: Instrument = Instrument {
    name: "store.breaker.open",
    namespaced: true,
    kind: Kind::Gauge,
    unit: "",
    description: "1 while the store's circuit breaker is open, 0 while it is closed.",
    labels: &[],
    boundaries: &[],
};

/// Stored values that were not what palisade writes.
pub(super) const STORE_CORRUPT: Instrument = Instrument {
    name: "store.corrupt_keys",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{key}",
    description: "Keys in the store that held something else and were treated as fresh.",
    labels: &[],
    boundaries: &[],
};

/// Responses by stage of the funnel.
pub(super) const FUNNEL_STAGE: Instrument = Instrument {
    name: "funnel.stage",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{response}",
    description: "Responses that reached a stage of the funnel.",
    labels: &["country", "payment_method", "stage"],
    boundaries: &[],
};

/// Visitors by the stages that they reached.
pub(super) const FUNNEL_VISITORS: Instrument = Instrument {
    name: "funnel.visitors",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{visitor}",
    description: "Visitors who reached a stage of the funnel after the stages before it, each once in a window.",
    labels: &["country", "stage"],
    boundaries: &[],
};

/// Whether visitors are counted at all.
pub(super) const FUNNEL_REACHES: Instrument = Instrument {
    name: "funnel.reaches",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{response}",
    description: "Responses that reached a stage of the funnel, by whether they counted for their visitor.",
    labels: &["result"],
    boundaries: &[],
};

/// What customers do, by what they were before.
pub(super) const CUSTOMER_SEGMENT: Instrument = Instrument {
    name: "customer.segment",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{response}",
    description: "Actions of identified customers that succeeded, by what the customers were before.",
    labels: &["action", "country", "segment"],
    boundaries: &[],
};

/// How many customers are known.
pub(super) const CUSTOMERS: Instrument = Instrument {
    name: "customers",
    namespaced: true,
    kind: Kind::Gauge,
    unit: "{customer}",
    description: "Known customers by segment; exported by the one process that holds the sweep.",
    labels: &["segment"],
    boundaries: &[],
};

/// Whether customers can be told.
pub(super) const CUSTOMER_UNCLASSIFIED: Instrument = Instrument {
    name: "customer.unclassified",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{request}",
    description: "Requests of identified customers that passed without a segment: the store did not answer.",
    labels: &[],
    boundaries: &[],
};

/// Whether what customers do reaches the store.
pub(super) const CUSTOMER_CHANGES: Instrument = Instrument {
    name: "customer.changes",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{change}",
    description: "Changes to customers' records by kind and by what became of them.",
    labels: &["kind", "result"],
    boundaries: &[],
};

/// Amounts that added nothing to spend.
pub(super) const CUSTOMER_UNCONVERTED: Instrument = Instrument {
    name: "customer.unconverted",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{amount}",
    description: "Amounts in another currency that could not be converted and added nothing to spend.",
    labels: &[],
    boundaries: &[],
};

/// What the sweep costs and finds.
pub(super) const CUSTOMER_SWEPT: Instrument = Instrument {
    name: "customer.swept",
    namespaced: true,
    kind: Kind::Counter,
    unit: "{entry}",
    description: "Index entries that this process's sweeps checked against their records, and those mended.",
    labels: &["result"],
    boundaries: &[],
};

/// How long visitors take. From a script's half second to the longest that one window of a day holds.
pub(super) const FUNNEL_STEP: Instrument = Instrument {
    name: "funnel.step.duration",
    namespaced: true,
    kind: Kind::Histogram,
    unit: "s",
    description: "Time from a visitor's first reach of a stage of the funnel to that of the next.",
    labels: &["from", "to"],
    boundaries: &[
        0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
        21_600.0, 43_200.0, 86_400.0,
    ],
};

/// The prefix of all metrics but those of HTTP, such as `webstore`.
#[derive(Debug, Clone)]
pub(super) struct Namespace(String);

impl Namespace {
    const MAX: usize = 63;

    pub(super) fn new(namespace: &str) -> Result<Self, ConfigError> {
        let valid = namespace.len() <= Self::MAX
            && namespace.starts_with(|c: char| c.is_ascii_lowercase())
            && !namespace.ends_with('_')
            && namespace
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid {
            Ok(Self(namespace.into()))
        } else {
            Err(ConfigError::new(
                "telemetry.namespace",
                namespace,
                "a lowercase letter, then lowercase letters, digits and inner underscores, at most 63 in all",
            ))
        }
    }

    fn name(&self, instrument: &Instrument) -> Cow<'static, str> {
        if instrument.namespaced {
            format!("{}.{}", self.0, instrument.name).into()
        } else {
            instrument.name.into()
        }
    }
}

/// Makes instruments of the table's lines.
///
/// Counters and gauges are observable ones, read from our own atomics at each collection: counting costs a
/// request one relaxed addition, and all series exist at 0 from the start.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) meter: Meter,
    pub(super) namespace: Namespace,
}

impl Instruments {
    pub(super) fn counter(
        &self,
        instrument: &Instrument,
        observe: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        debug_assert_eq!(instrument.kind, Kind::Counter);
        self.meter
            .u64_observable_counter(self.namespace.name(instrument))
            .with_unit(instrument.unit)
            .with_description(instrument.description)
            .with_callback(observe)
            .build();
    }

    pub(super) fn up_down_counter(
        &self,
        instrument: &Instrument,
        observe: impl Fn(&dyn AsyncInstrument<i64>) + Send + Sync + 'static,
    ) {
        debug_assert_eq!(instrument.kind, Kind::UpDownCounter);
        self.meter
            .i64_observable_up_down_counter(self.namespace.name(instrument))
            .with_unit(instrument.unit)
            .with_description(instrument.description)
            .with_callback(observe)
            .build();
    }

    pub(super) fn gauge(
        &self,
        instrument: &Instrument,
        observe: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        debug_assert_eq!(instrument.kind, Kind::Gauge);
        self.meter
            .u64_observable_gauge(self.namespace.name(instrument))
            .with_unit(instrument.unit)
            .with_description(instrument.description)
            .with_callback(observe)
            .build();
    }

    pub(super) fn histogram(&self, instrument: &Instrument) -> Histogram<f64> {
        debug_assert_eq!(instrument.kind, Kind::Histogram);
        self.meter
            .f64_histogram(self.namespace.name(instrument))
            .with_unit(instrument.unit)
            .with_description(instrument.description)
            .with_boundaries(instrument.boundaries.to_vec())
            .build()
    }
}

impl Instrument {
    /// The instrument's attributes with these values, one for each of its keys.
    pub(super) fn attributes<const N: usize>(&self, values: [StringValue; N]) -> [KeyValue; N] {
        debug_assert_eq!(self.labels.len(), N);
        let mut keys = self.labels.iter().copied();
        values.map(|value| KeyValue::new(keys.next().unwrap_or_default(), value))
    }

    /// Whether `name` is this instrument's, which is not namespaced.
    pub(super) fn is_named(&self, name: &str) -> bool {
        !self.namespaced && self.name == name
    }
}

#[cfg(test)]
pub(super) mod table;
