//! What the rate limit's policies decided, as counters.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::instruments::{Instruments, RATE_LIMIT_EXCEEDED, RATE_LIMIT_REQUESTS};
use crate::rate_limit::{PolicyCounts, Tally};

/// The tallies that are exported.
#[derive(Debug, Clone, Default)]
pub(super) struct Tallies(Arc<Mutex<Vec<Arc<Tally>>>>);

impl Tallies {
    pub(super) fn new(instruments: &Instruments) -> Self {
        let tallies = Self::default();
        let requests = tallies.clone();
        instruments.counter(&RATE_LIMIT_REQUESTS, move |observer| {
            for (policy, counts) in requests.totals() {
                let results = [
                    ("admitted", counts.admitted),
                    ("denied", counts.denied),
                    ("dry_run_denied", counts.dry_run_denied),
                    ("fallback_admitted", counts.fallback_admitted),
                    ("fallback_denied", counts.fallback_denied),
                ];
                for (result, count) in results {
                    let values = [policy.clone().into(), result.into()];
                    observer.observe(count, &RATE_LIMIT_REQUESTS.attributes(values));
                }
            }
        });
        let exceeded = tallies.clone();
        instruments.counter(&RATE_LIMIT_EXCEEDED, move |observer| {
            for (policy, counts) in exceeded.totals() {
                let attributes = RATE_LIMIT_EXCEEDED.attributes([policy.into()]);
                observer.observe(counts.exceeded, &attributes);
            }
        });
        tallies
    }

    pub(super) fn watch(&self, tally: Arc<Tally>) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tallies.iter().any(|known| Arc::ptr_eq(known, &tally)) {
            tallies.push(tally);
        }
    }

    /// The counts by policy. Layers may share a policy's name, and the SDK keeps the last of two observations of
    /// one series, so they are added here.
    fn totals(&self) -> BTreeMap<String, PolicyCounts> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = BTreeMap::<_, PolicyCounts>::new();
        for (policy, counts) in tallies.iter().flat_map(|tally| tally.policies()) {
            let total = totals.entry(policy.to_owned()).or_default();
            total.admitted += counts.admitted;
            total.denied += counts.denied;
            total.dry_run_denied += counts.dry_run_denied;
            total.fallback_admitted += counts.fallback_admitted;
            total.fallback_denied += counts.fallback_denied;
            total.exceeded += counts.exceeded;
        }
        totals
    }
}
