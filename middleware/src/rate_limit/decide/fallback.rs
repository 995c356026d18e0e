//! What becomes of a request while the store fails.

use smallvec::SmallVec;

use super::{AllMet, Conclusion, Decider, Met, Refusal, Violated, charges};
use crate::model::{PolicyResult, Reason};
use crate::rate_limit::policy::OnStoreFailure;
use crate::rate_limit::store::{AdmitNow, Tier, Verdict};
use crate::rate_limit::tally::Outcome;

impl Decider {
    /// The store failed: each policy does as its failure mode says, and the request passes when all let it.
    pub(super) fn without_store(&self, met: &AllMet, local: &dyn AdmitNow) -> Conclusion {
        let closed: SmallVec<[Violated; 2]> = met
            .iter()
            .filter(|met| met.enforced && self.mode(met) == OnStoreFailure::Closed)
            .map(Met::violated)
            .collect();
        if !closed.is_empty() {
            for violated in &closed {
                self.count(violated.policy, Outcome::FallbackDenied);
            }
            let lines: SmallVec<[_; 2]> = met
                .iter()
                .filter(|met| met.enforced)
                .map(|met| self.line(met, None))
                .collect();
            return Conclusion::Refuse(Refusal {
                reason: Reason::STORE_UNAVAILABLE,
                violated: closed,
                retry: None,
                headers: self.renderer.render(&lines),
                result: PolicyResult::FallbackDenied,
            });
        }
        let kept: AllMet = met
            .iter()
            .filter(|met| self.mode(met) == OnStoreFailure::Local)
            .cloned()
            .collect();
        let Verdict {
            admitted, tiers, ..
        } = local.admit_now(&charges(&kept));
        let mut tiers = tiers.into_iter();
        let checked: SmallVec<[Option<Tier>; 2]> = met
            .iter()
            .map(|met| {
                if self.mode(met) == OnStoreFailure::Local {
                    tiers.next()
                } else {
                    None
                }
            })
            .collect();
        let mut result = PolicyResult::None;
        for (met, tier) in met.iter().zip(&checked) {
            let outcome = match tier {
                Some(Tier { retry: Some(_), .. }) if met.enforced => Outcome::FallbackDenied,
                // An enforced policy denied the request, so this one was not charged and decided nothing.
                _ if !admitted => continue,
                Some(Tier { retry: Some(_), .. }) => Outcome::DryRunDenied,
                Some(_) => Outcome::FallbackAdmitted,
                // Not checked: open, or closed in a dry run.
                None if self.mode(met) == OnStoreFailure::Closed => Outcome::DryRunDenied,
                None => Outcome::FallbackAdmitted,
            };
            self.count(met.policy, outcome);
            result = result.max(outcome.into());
        }
        self.concluded(met, admitted, checked.iter().copied(), result)
    }

    pub(super) fn mode(&self, met: &Met) -> OnStoreFailure {
        self.policies[met.policy].on_store_failure
    }
}
