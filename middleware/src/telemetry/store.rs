//! How the store fares: durations of its calls, its breaker, keys that held something else.
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::Histogram;

use super::instruments::{Instruments, STORE_BREAKER, STORE_CORRUPT, STORE_DURATION};
use crate::model::{Operation, Outcome};

/// A store as it is now; what [`Telemetry::watch_store`](super::Telemetry::watch_store) asks for at each scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreState {
    /// Whether the circuit breaker is open, so that requests do without the store.
    pub breaker_open: bool,
    /// Keys, since start, that held something else and were treated as fresh.
    pub corrupt_keys: u64,
}

type Look = Box<dyn Fn() -> StoreState + Send + Sync>;

/// The store's instruments.
#[derive(Clone)]
pub(super) struct StoreMetrics {
    duration: Histogram<f64>,
    watched: Arc<Mutex<Vec<Look>>>,
}

impl StoreMetrics {
    pub(super) fn new(instruments: &Instruments) -> Self {
        let metrics = Self {
            duration: instruments.histogram(&STORE_DURATION),
            watched: Arc::default(),
        };
        let watched = metrics.clone();
        instruments.gauge(&STORE_BREAKER, move |observer| {
            if let Some(state) = watched.state() {
                observer.observe(state.breaker_open.into(), &[]);
            }
        });
        let watched = metrics.clone();
        instruments.counter(&STORE_CORRUPT, move |observer| {
            if let Some(state) = watched.state() {
                observer.observe(state.corrupt_keys, &[]);
            }
        });
        metrics
    }

    pub(super) fn watch(&self, look: Look) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(look);
    }

    /// All stores taken together; none when none is watched.
    fn state(&self) -> Option<StoreState> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let states = watched.iter().map(|look| look());
        states.reduce(|all, one| StoreState {
            breaker_open: all.breaker_open || one.breaker_open,
            corrupt_keys: all.corrupt_keys + one.corrupt_keys,
        })
    }

    pub(super) fn record(&self, operation: Operation, outcome: Outcome, took: Duration) {
        // Static text throughout: nothing is allocated.
        let values = [operation.as_str().into(), outcome.as_str().into()];
        let attributes = STORE_DURATION.attributes(values);
        self.duration.record(took.as_secs_f64(), &attributes);
    }
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreMetrics").finish_non_exhaustive()
    }
}
