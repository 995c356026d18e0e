//! From a verdict to pass or refuse: counted, with its headers, and the response to who is refused.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use smallvec::SmallVec;

use super::{AllMet, Decider, Met, Violated};
use crate::model::{PolicyResult, Reason};
use crate::rate_limit::decision::Decision;
use crate::rate_limit::headers::{Line, Rendered, Room};
use crate::rate_limit::store::{Tier, Verdict};
use crate::rate_limit::tally::Outcome;

#[derive(Clone)]
pub(in crate::rate_limit) enum Conclusion {
    Pass {
        headers: Rendered,
        decision: Decision,
        /// For observers.
        result: PolicyResult,
    },
    Refuse(Refusal),
}

#[derive(Clone)]
pub(in crate::rate_limit) struct Refusal {
    pub(super) reason: Reason,
    pub(super) violated: SmallVec<[Violated; 2]>,
    pub(super) retry: Option<Duration>,
    pub(super) headers: Rendered,
    pub(super) result: PolicyResult,
}

impl Conclusion {
    /// The verdict, as observers receive it.
    pub(in crate::rate_limit) fn result(&self) -> PolicyResult {
        match self {
            Self::Pass { result, .. } | Self::Refuse(Refusal { result, .. }) => *result,
        }
    }
}

impl From<Outcome> for PolicyResult {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Admitted => Self::Admitted,
            Outcome::Denied => Self::Denied,
            Outcome::DryRunDenied => Self::DryRunDenied,
            Outcome::FallbackAdmitted => Self::FallbackAdmitted,
            Outcome::FallbackDenied => Self::FallbackDenied,
        }
    }
}

impl Decider {
    /// Counts the store's decision.
    pub(super) fn decided(&self, met: &AllMet, verdict: &Verdict) -> Conclusion {
        let mut result = PolicyResult::None;
        for (met, tier) in met.iter().zip(&verdict.tiers) {
            let outcome = match (tier.retry.is_some(), met.enforced) {
                (true, true) => Outcome::Denied,
                // An enforced policy denied the request, so this one was not charged and decided nothing.
                _ if !verdict.admitted => continue,
                (true, false) => Outcome::DryRunDenied,
                (false, _) => Outcome::Admitted,
            };
            self.count(met.policy, outcome);
            result = result.max(outcome.into());
        }
        self.concluded(
            met,
            verdict.admitted,
            verdict.tiers.iter().copied().map(Some),
            result,
        )
    }

    /// Turns a decision into pass or refuse; a tier is `None` where its policy was not checked.
    pub(super) fn concluded(
        &self,
        met: &AllMet,
        admitted: bool,
        tiers: impl Iterator<Item = Option<Tier>> + Clone,
        result: PolicyResult,
    ) -> Conclusion {
        let enforced = met.iter().zip(tiers).filter(|(met, _)| met.enforced);
        let lines: SmallVec<[_; 2]> = enforced
            .clone()
            .map(|(met, tier)| {
                self.line(
                    met,
                    tier.map(
                        |Tier {
                             remaining, reset, ..
                         }| Room { remaining, reset },
                    ),
                )
            })
            .collect();
        let headers = self.renderer.render(&lines);
        if admitted {
            return Conclusion::Pass {
                headers,
                decision: Decision::new(&self.names, &lines),
                result,
            };
        }
        let denying = enforced.filter_map(|(met, tier)| Some((met, tier?.retry?)));
        let mut longest = Duration::ZERO;
        let violated = denying
            .map(|(met, retry)| {
                self.count_exceeded(met.policy);
                longest = longest.max(retry);
                met.violated()
            })
            .collect();
        Conclusion::Refuse(Refusal {
            reason: Reason::QUOTA_EXCEEDED,
            violated,
            retry: Some(longest).filter(|retry| *retry < Duration::MAX),
            headers,
            result,
        })
    }

    pub(super) fn count(&self, policy: usize, outcome: Outcome) {
        self.tally.count(policy, outcome);
        if matches!(outcome, Outcome::FallbackAdmitted | Outcome::FallbackDenied) {
            self.changes.falls_back(policy);
        }
    }

    pub(super) fn count_exceeded(&self, policy: usize) {
        self.tally.count_exceeded(policy);
        self.changes.denies(policy);
    }

    pub(super) fn line(&self, met: &Met, room: Option<Room>) -> Line<'_> {
        let name = &*self.policies[met.policy].name;
        Line {
            policy: met.policy,
            name,
            quota: met.quota,
            room,
        }
    }

    pub(in crate::rate_limit) fn respond(
        &self,
        refusal: Refusal,
        request: &Parts,
    ) -> Response<Bytes> {
        let Refusal {
            reason,
            violated,
            retry,
            headers,
            ..
        } = refusal;
        let mut response = self
            .rejecter
            .respond(&self.policies, reason, &violated, retry, request);
        headers.append_to(response.headers_mut());
        response
    }
}
