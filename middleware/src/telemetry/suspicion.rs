//! What clients' failures add up to, as counters.
use std::sync::{Arc, Mutex, PoisonError};

use super::instruments::{
    Instruments, SECURITY_BANNED_REQUESTS, SECURITY_BANS, SECURITY_FAILURES, SUSPICIOUS_ACTIVITY,
};
use crate::suspicion::{BanReason, Fate, Kind, Tally, Turned};

/// The tallies that are exported.
#[derive(Debug, Clone, Default)]
pub(super) struct Suspicions(Arc<Mutex<Vec<Arc<Tally>>>>);

impl Suspicions {
    pub(super) fn new(instruments: &Instruments) -> Self {
        let suspicions = Self::default();
        let incidents = suspicions.clone();
        instruments.counter(&SUSPICIOUS_ACTIVITY, move |observer| {
            for kind in Kind::ALL {
                if let Some(count) = incidents.sum(|tally| tally.incidents(kind)) {
                    let attributes = SUSPICIOUS_ACTIVITY.attributes([kind.as_str().into()]);
                    observer.observe(count, &attributes);
                }
            }
        });
        let failures = suspicions.clone();
        instruments.counter(&SECURITY_FAILURES, move |observer| {
            for fate in Fate::ALL {
                if let Some(count) = failures.sum(|tally| tally.failures(fate)) {
                    let attributes = SECURITY_FAILURES.attributes([fate.as_str().into()]);
                    observer.observe(count, &attributes);
                }
            }
        });
        let bans = suspicions.clone();
        instruments.counter(&SECURITY_BANS, move |observer| {
            for reason in BanReason::all() {
                if let Some(count) = bans.sum(|tally| tally.bans(reason)) {
                    let attributes = SECURITY_BANS.attributes([reason.as_str().into()]);
                    observer.observe(count, &attributes);
                }
            }
        });
        let requests = suspicions.clone();
        instruments.counter(&SECURITY_BANNED_REQUESTS, move |observer| {
            for turned in Turned::ALL {
                if let Some(count) = requests.sum(|tally| tally.turned(turned)) {
                    let attributes = SECURITY_BANNED_REQUESTS.attributes([turned.as_str().into()]);
                    observer.observe(count, &attributes);
                }
            }
        });
        suspicions
    }

    pub(super) fn watch(&self, tally: Arc<Tally>) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tallies.iter().any(|known| Arc::ptr_eq(known, &tally)) {
            tallies.push(tally);
        }
    }

    /// All layers taken together; none when none is watched.
    fn sum(&self, of: impl Fn(&Tally) -> u64) -> Option<u64> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.iter().map(|tally| of(tally)).reduce(|a, b| a + b)
    }
}
