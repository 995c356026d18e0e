//! How the shared store fares, as metrics.

use std::time::Duration;

#[cfg(feature = "redis")]
use super::Analytics;
#[cfg(feature = "redis")]
use super::redis::StoreHealth;
use super::{Operation, Outcome};
use crate::model::metrics::{Durations, Instrument, Stopwatch};
#[cfg(feature = "redis")]
use crate::model::metrics::{Metric, Metrics};

/// How long calls to a shared store took; for `RedisStoreBuilder::observer`.
#[derive(Debug)]
pub struct Calls;

impl Durations for Calls {
    // A healthy Redis answers in a fraction of a millisecond; 50 ms is the default deadline.
    const INSTRUMENT: &'static Instrument = &Instrument::histogram(
        "store.operation.duration",
        &["operation", "outcome"],
        &[
            0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
        ],
        "Duration of calls to the store.",
    );
    type Observer = dyn Fn(Operation, Outcome, Duration) + Send + Sync;

    fn observer(stopwatch: Box<Stopwatch>) -> Box<Self::Observer> {
        Box::new(move |operation, outcome, took| {
            stopwatch(&[operation.as_str().into(), outcome.as_str().into()], took);
        })
    }
}

/// Whether the store is being left alone after failures.
#[cfg(any(feature = "redis", test))]
pub(crate) const BREAKER: Instrument = Instrument::state(
    "store.breaker.open",
    "1 while the store's circuit breaker is open, 0 while it is closed.",
);

/// Stored values that palisade did not write.
#[cfg(any(feature = "redis", test))]
pub(crate) const CORRUPT: Instrument = Instrument::counter(
    "store.corrupt_keys",
    "{key}",
    &[],
    "Keys in the store that held something else and were treated as fresh.",
);

/// Analytics for which the server had no memory left.
#[cfg(any(feature = "redis", test))]
pub(crate) const OVER_BUDGET: Instrument = Instrument::counter(
    "store.over_budget",
    "{key}",
    &["kind"],
    "Visitors and failures that the store did not keep, and customers it forgot, for want of memory for analytics.",
);

#[cfg(feature = "redis")]
impl Metrics for StoreHealth {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(BREAKER, |health, series| {
            series.add(&[], health.is_breaker_open().into());
        }),
        Metric::new(CORRUPT, |health, series| {
            series.add(&[], health.broken_logs());
        }),
        Metric::new(OVER_BUDGET, |health, series| {
            for kind in Analytics::ALL {
                series.add(&[kind.as_str()], health.over_budget(kind));
            }
        }),
    ];
}
