//! The panel: whether the store answers, and how long it takes.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Outcome;
#[cfg(feature = "redis")]
use super::redis::StoreHealth;
#[cfg(feature = "redis")]
use crate::model::StoreErrorKind;
use crate::model::panel::{Fields, Panel};
use crate::sync::Striped;

const CALLS: usize = 0;
const FAILED: usize = 1;
const MICROS: usize = 2;

/// Counts of calls to the store.
#[derive(Debug, Default)]
pub(crate) struct Calls(Striped<3>);

impl Calls {
    /// Counts a call. A call that the breaker refused did not reach the store and is not counted.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub(crate) fn count(&self, outcome: Outcome, took: Duration) {
        if outcome == Outcome::Rejected {
            return;
        }
        self.0.add(CALLS, 1);
        if outcome != Outcome::Ok {
            self.0.add(FAILED, 1);
        }
        self.0.add_time(MICROS, took);
    }
}

/// The panel.
pub(crate) struct StorePanel {
    pub(crate) calls: Arc<Calls>,
    /// `None` on memory, which cannot fail.
    #[cfg(feature = "redis")]
    pub(crate) health: Option<StoreHealth>,
}

/// How the store fares.
#[derive(Debug, Serialize)]
struct StoreNow {
    /// `ok`, or `failing` while the breaker is open.
    state: &'static str,
    /// The kind of the last failure, since start.
    last_error: Option<&'static str>,
    corrupt_keys: u64,
    /// Calls since start, and how many of them failed.
    calls: u64,
    failed: u64,
    /// Seconds that calls took, since start.
    seconds: f64,
}

impl Panel for StorePanel {
    fn name(&self) -> &'static str {
        "store"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    fn hello(&self, fields: &mut Fields) {
        #[cfg(feature = "redis")]
        let is_redis = self.health.is_some();
        #[cfg(not(feature = "redis"))]
        let is_redis = false;
        fields.add("store", &if is_redis { "redis" } else { "memory" });
    }

    fn now(&self, fields: &mut Fields) {
        let Calls(calls) = &*self.calls;
        let failed = calls.sum(FAILED);
        #[cfg_attr(not(feature = "redis"), allow(unused_mut))]
        let mut now = StoreNow {
            state: "ok",
            last_error: None,
            corrupt_keys: 0,
            calls: calls.sum(CALLS).max(failed),
            failed,
            seconds: calls.seconds(MICROS),
        };
        #[cfg(feature = "redis")]
        if let Some(health) = &self.health {
            if health.is_breaker_open() {
                now.state = "failing";
            }
            now.last_error = health.last_error().map(|kind| match kind {
                StoreErrorKind::Timeout => Outcome::Timeout.as_str(),
                _ => Outcome::Error.as_str(),
            });
            now.corrupt_keys = health.broken_logs();
        }
        fields.add("store", &now);
    }
}
