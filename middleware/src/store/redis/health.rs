use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::breaker::Breaker;
use crate::model::StoreErrorKind;
use crate::store::Analytics;

/// How a [`RedisStore`](super::RedisStore) fares, for a readiness check and for telemetry. Clones look at the same
/// store.
#[derive(Clone)]
pub struct StoreHealth(Arc<State>);

pub(super) struct State {
    pub(super) breaker: Breaker,
    broken_logs: AtomicU64,
    over_budget: [AtomicU64; Analytics::ALL.len()],
    last_error: AtomicU8,
}

const NO_ERROR: u8 = 0;
const TIMEOUT: u8 = 1;
const FAILED: u8 = 2;

impl State {
    pub(super) fn new(breaker: Breaker) -> Self {
        Self {
            breaker,
            broken_logs: AtomicU64::new(0),
            over_budget: Default::default(),
            last_error: AtomicU8::new(NO_ERROR),
        }
    }

    pub(super) fn count_broken_logs(&self, logs: u64) {
        self.broken_logs.fetch_add(logs, Ordering::Relaxed);
    }

    pub(super) fn count_over_budget(&self, of: Analytics, keys: u64) {
        self.over_budget[of as usize].fetch_add(keys, Ordering::Relaxed);
    }

    pub(super) fn over_budget(&self, of: Analytics) -> u64 {
        self.over_budget[of as usize].load(Ordering::Relaxed)
    }

    pub(super) fn remember(&self, error: StoreErrorKind) {
        let code = if error == StoreErrorKind::Timeout {
            TIMEOUT
        } else {
            FAILED
        };
        self.last_error.store(code, Ordering::Relaxed);
    }
}

impl StoreHealth {
    pub(super) fn of(state: Arc<State>) -> Self {
        Self(state)
    }

    /// Whether the breaker is open, so that the server is not asked and the layer's failure mode decides.
    #[must_use]
    pub fn is_breaker_open(&self) -> bool {
        self.0.breaker.is_open()
    }

    /// How many keys held something other than a log, since start; each was dropped and begun afresh.
    #[must_use]
    pub fn broken_logs(&self) -> u64 {
        self.0.broken_logs.load(Ordering::Relaxed)
    }

    /// How many keys of this kind were not made by this process since start, or customers forgotten, since they were over their
    /// part of [`analytics_memory`](super::RedisStoreBuilder::analytics_memory).
    #[must_use]
    pub fn over_budget(&self, of: Analytics) -> u64 {
        self.0.over_budget(of)
    }

    /// How the latest failed call failed: [`Timeout`](StoreErrorKind::Timeout) or
    /// [`Failed`](StoreErrorKind::Failed); `None` while none has.
    #[must_use]
    pub fn last_error(&self) -> Option<StoreErrorKind> {
        match self.0.last_error.load(Ordering::Relaxed) {
            NO_ERROR => None,
            TIMEOUT => Some(StoreErrorKind::Timeout),
            _ => Some(StoreErrorKind::Failed),
        }
    }
}

impl fmt::Debug for StoreHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHealth")
            .field("is_breaker_open", &self.is_breaker_open())
            .field("broken_logs", &self.broken_logs())
            .field("last_error", &self.last_error())
            .finish()
    }
}
