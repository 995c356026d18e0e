//! What hangs on the customer's segment, which may become known after the question.

use super::{AllMet, Bound, Decider, Met};
use crate::model::{Segment, StoreError};
use crate::rate_limit::deny_cache::Known;
use crate::rate_limit::store::Verdict;

impl Decider {
    /// Gives each policy the quota that it has for this segment; whether any is another than before.
    pub(in crate::rate_limit) fn requote(
        &self,
        met: &mut AllMet,
        segment: Option<Segment>,
    ) -> bool {
        let mut changed = false;
        for met in met {
            let quota = self.policies[met.policy].quota_for(segment);
            changed |= quota != met.quota;
            met.quota = quota;
        }
        changed
    }

    /// Whether the outcome may be another for another segment: nothing but quotas of segments denied the request, or the
    /// store failed and they decide here.
    pub(in crate::rate_limit) fn hangs_on_segment(
        &self,
        met: &AllMet,
        result: &Result<Verdict, StoreError>,
    ) -> bool {
        self.by_segment
            && match result {
                Ok(verdict) if verdict.admitted => false,
                Ok(verdict) => self.are_of_segments(
                    met.iter()
                        .zip(&verdict.tiers)
                        .filter(|(met, tier)| met.enforced && tier.retry.is_some())
                        .map(|(met, _)| met),
                ),
                Err(_) => true,
            }
    }

    /// Whether a denial is known that may be none for another segment.
    pub(in crate::rate_limit) fn knows_denial_of_segments(&self, met: &AllMet) -> bool {
        let Bound::Shared {
            deny_cache: Some(cache),
            start,
            ..
        } = &self.store
        else {
            return false;
        };
        if !self.by_segment {
            return false;
        }
        let (now, failing) = (start.elapsed(), self.store.is_failing());
        // It takes nobody's turn to ask.
        let is_known = |met: &&Met| {
            let known = cache.get(met.policy, &met.key, met.quota, met.cost, now, false);
            self.heeds(met, failing) && matches!(known, Known::Denied(_))
        };
        self.are_of_segments(met.iter().filter(is_known))
    }

    /// Whether there are policies that stand in the way, and each has quotas of segments.
    fn are_of_segments<'a>(&self, mut violated: impl Iterator<Item = &'a Met>) -> bool {
        let varies = |met: &Met| !self.policies[met.policy].by_segment.is_empty();
        violated.next().is_some_and(varies) && violated.all(varies)
    }
}
