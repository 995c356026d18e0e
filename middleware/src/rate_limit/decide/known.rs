//! Denials that are remembered, so that nobody is asked.

use std::time::Duration;

use smallvec::SmallVec;

use super::{AllMet, Decider, Met, Refusal};
use crate::model::{PolicyResult, Reason};
use crate::rate_limit::deny_cache::{Denied, DenyCache, Known};
use crate::rate_limit::policy::OnStoreFailure;
use crate::rate_limit::tally::Outcome;

impl Decider {
    /// A denial that needs no question, with all the policies that are known to be violated.
    pub(super) fn known_denial(
        &self,
        cache: &DenyCache,
        met: &mut AllMet,
        now: Duration,
        failing: bool,
    ) -> Option<Refusal> {
        let known = self.known(cache, met, now, failing);
        self.refused_by(met, &known)
    }

    /// The denials that need no question: the places of their policies among those that are met, and what is known.
    pub(super) fn known(
        &self,
        cache: &DenyCache,
        met: &mut AllMet,
        now: Duration,
        failing: bool,
    ) -> SmallVec<[(usize, Denied); 2]> {
        let mut known: SmallVec<[_; 2]> = SmallVec::new();
        let mut due = false;
        for (place, met) in met.iter_mut().enumerate() {
            if !self.heeds(met, failing) {
                continue;
            }
            match cache.get(met.policy, &met.key, met.quota, met.cost, now, !failing) {
                Known::Nothing => {}
                Known::Denied(denied) => known.push((place, denied)),
                Known::Due => {
                    met.due = true;
                    due = true;
                }
            }
        }
        // It asks about all of them, or two denials could put each other's questions off for ever.
        if due {
            known.clear();
        }
        known
    }

    /// The refusal by denials that are known, if there are any; it is counted.
    pub(super) fn refused_by(&self, met: &AllMet, known: &[(usize, Denied)]) -> Option<Refusal> {
        let known: SmallVec<[_; 2]> = known
            .iter()
            .map(|(place, denied)| (&met[*place], denied))
            .collect();
        let retry = known.iter().map(|(_, denied)| denied.retry).max()?;
        for (met, _) in &known {
            self.count(met.policy, Outcome::Denied);
            self.count_exceeded(met.policy);
        }
        let lines: SmallVec<[_; 2]> = known
            .iter()
            .map(|(met, denied)| self.line(met, Some(denied.room)))
            .collect();
        Some(Refusal {
            reason: Reason::QUOTA_EXCEEDED,
            violated: known.iter().map(|(met, _)| met.violated()).collect(),
            retry: Some(retry),
            headers: self.renderer.render(&lines),
            result: PolicyResult::Denied,
        })
    }

    /// Whether a remembered denial of this policy counts.
    ///
    /// While calls fail, an open policy lets pass and a closed one answers 503, whatever is remembered.
    pub(super) fn heeds(&self, met: &Met, failing: bool) -> bool {
        met.enforced && (!failing || self.mode(met) == OnStoreFailure::Local)
    }
}
