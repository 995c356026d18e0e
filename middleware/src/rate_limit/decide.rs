//! Decides a request: from its head to a verdict, and from a verdict or a failure to pass or refuse.

mod forget;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use smallvec::SmallVec;

use super::changes::Changes;
use super::decision::Decision;
use super::deny_cache::{DenyCache, Known};
use super::headers::{Line, Rendered, Renderer, Room};
use super::policy::{OnStoreFailure, Policy};
use super::reject::Rejecter;
use super::store::{Admit, AdmitNow, Charge, Gate, Reply, Tier, Verdict};
use super::tally::{Outcome, PolicyTally};
use crate::model::{
    Client, Exemptions, PartitionKey, Pending, PolicyResult, Quota, Reason, Segment, StoreError,
};

/// Everything that the requests of one layer share.
pub(super) struct Decider {
    pub(super) policies: Box<[Policy]>,
    /// Their names.
    pub(super) names: Arc<[Arc<str>]>,
    pub(super) exempt: Exemptions,
    /// Whether any policy has quotas for segments.
    pub(super) by_segment: bool,
    pub(super) store: Bound,
    pub(super) renderer: Renderer,
    pub(super) rejecter: Rejecter,
    pub(super) tally: Arc<PolicyTally>,
    pub(super) changes: Arc<Changes>,
}

/// The store, with the parts that only a shared store needs.
pub(super) enum Bound {
    Embedded(Arc<dyn AdmitNow>),
    Shared {
        store: Arc<dyn Admit>,
        local: Arc<dyn AdmitNow>,
        deny_cache: Option<DenyCache>,
        start: Instant,
        /// Whether the last call failed: the breaker may be closed yet.
        failed: AtomicBool,
    },
}

impl Bound {
    /// Whether the shared store does not answer at the moment.
    fn is_failing(&self) -> bool {
        match self {
            Self::Embedded(_) => false,
            Self::Shared { store, failed, .. } => {
                failed.load(Ordering::Relaxed) || store.is_failing()
            }
        }
    }

    /// Notes how a call ended.
    fn note(&self, has_failed: bool) {
        if let Self::Shared { failed, .. } = self
            && failed.load(Ordering::Relaxed) != has_failed
        {
            failed.store(has_failed, Ordering::Relaxed);
        }
    }
}

/// One policy that a request meets, with its charge.
#[derive(Debug, Clone)]
pub(super) struct Met {
    policy: usize,
    key: PartitionKey,
    quota: Quota,
    cost: u32,
    enforced: bool,
    /// Whether the denial that is remembered of it is asked about again.
    due: bool,
}

/// A policy that stands in a request's way, with the quota that it has for this request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Violated {
    pub(super) policy: usize,
    pub(super) quota: Quota,
}

/// The policies that a request meets, in the layer's order. Two, address and user, need no heap; more would make
/// every future larger that is moved on the way.
pub(super) type AllMet = SmallVec<[Met; 2]>;

/// The first answer to a request.
pub(super) enum Answer {
    /// No policy applies.
    Free,
    Concluded(Conclusion),
    /// The store answered at once.
    Answered {
        result: Result<Verdict, StoreError>,
        met: AllMet,
        sent: Duration,
    },
    /// The store is asked; [`Decider::decide_by`] takes its answer.
    Asked {
        pending: Pending<Verdict>,
        met: AllMet,
        sent: Duration,
    },
}

#[derive(Clone)]
pub(super) enum Conclusion {
    Pass {
        headers: Rendered,
        decision: Decision,
        /// For observers.
        result: PolicyResult,
    },
    Refuse(Refusal),
}

#[derive(Clone)]
pub(super) struct Refusal {
    reason: Reason,
    violated: SmallVec<[Violated; 2]>,
    retry: Option<Duration>,
    headers: Rendered,
    result: PolicyResult,
}

impl Conclusion {
    /// The verdict, as observers receive it.
    pub(super) fn result(&self) -> PolicyResult {
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
    /// Asks about a request; about the gate, if there is one, a shared store alone, even where no policy applies.
    pub(super) fn ask(&self, gate: Option<Gate>, request: &Parts, client: &Client) -> Answer {
        self.begin(gate, self.met(request, client))
    }

    /// As [`Decider::ask`], of a request that meets these policies.
    #[inline]
    pub(super) fn begin(&self, gate: Option<Gate>, mut met: AllMet) -> Answer {
        if met.is_empty() && gate.is_none() {
            return Answer::Free;
        }
        match &self.store {
            Bound::Embedded(store) => {
                let verdict = store.admit_now(&charges(&met));
                Answer::Concluded(self.decided(&met, &verdict))
            }
            Bound::Shared {
                store,
                deny_cache,
                start,
                ..
            } => {
                let sent = start.elapsed();
                if let Some(cache) = deny_cache
                    && let Some(refusal) =
                        self.known_denial(cache, &mut met, sent, self.store.is_failing())
                {
                    return Answer::Concluded(Conclusion::Refuse(refusal));
                }
                let admission = match gate {
                    None => store.admit(&charges(&met)),
                    Some(gate) => store.admit_through(gate, &charges(&met)),
                };
                match admission {
                    Reply::Ready(result) => Answer::Answered { result, met, sent },
                    Reply::Pending(pending) => Answer::Asked { pending, met, sent },
                }
            }
        }
    }

    /// The policies that apply, and their charges; none for an exempt request.
    #[inline]
    pub(super) fn met(&self, request: &Parts, client: &Client) -> AllMet {
        if self.exempt.covers(&request.method, &request.uri, client) {
            return AllMet::new();
        }
        let segment = if self.by_segment {
            request.extensions.get::<Segment>().copied()
        } else {
            None
        };
        let applying = self
            .policies
            .iter()
            .enumerate()
            .filter(|(_, policy)| policy.applies(request, client));
        applying
            .filter_map(|(index, policy)| {
                let cost = Some(policy.cost_of(request)).filter(|cost| *cost > 0)?;
                let key = policy.partition(request, client)?;
                Some(Met {
                    policy: index,
                    key,
                    quota: policy.quota_for(segment),
                    cost,
                    enforced: policy.enforced,
                    due: false,
                })
            })
            .collect()
    }

    /// Gives each policy the quota that it has for this segment; whether any is another than before.
    pub(super) fn requote(&self, met: &mut AllMet, segment: Option<Segment>) -> bool {
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
    pub(super) fn hangs_on_segment(
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
    pub(super) fn knows_denial_of_segments(&self, met: &AllMet) -> bool {
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

    /// A denial that needs no question, with all the policies that are known to be violated.
    fn known_denial(
        &self,
        cache: &DenyCache,
        met: &mut AllMet,
        now: Duration,
        failing: bool,
    ) -> Option<Refusal> {
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
            return None;
        }
        let known: SmallVec<[_; 2]> = known
            .into_iter()
            .map(|(place, denied)| (&met[place], denied))
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
    fn heeds(&self, met: &Met, failing: bool) -> bool {
        met.enforced && (!failing || self.mode(met) == OnStoreFailure::Local)
    }

    /// Takes a shared store's answer to a call that was sent at `sent`.
    pub(super) fn decide_by(
        &self,
        met: &AllMet,
        sent: Duration,
        result: Result<Verdict, StoreError>,
    ) -> Conclusion {
        let (local, deny_cache) = match &self.store {
            Bound::Embedded(local) => (local, None),
            Bound::Shared {
                local, deny_cache, ..
            } => (local, deny_cache.as_ref()),
        };
        self.store.note(result.is_err());
        let Ok(verdict) = result else {
            return self.without_store(met, &**local);
        };
        if let Some(cache) = deny_cache
            && (!verdict.admitted || met.iter().any(|met| met.due))
        {
            for (met, tier) in met.iter().zip(&verdict.tiers) {
                if met.due && tier.retry.is_none() {
                    // Its log was cleared: nobody is to be denied by what was known of it.
                    cache.remove(met.policy, &met.key);
                } else if met.enforced && !verdict.admitted {
                    cache.insert(met.policy, &met.key, met.quota, met.cost, tier, sent);
                }
            }
        }
        self.decided(met, &verdict)
    }

    /// The store failed: each policy does as its failure mode says, and the request passes when all let it.
    fn without_store(&self, met: &AllMet, local: &dyn AdmitNow) -> Conclusion {
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

    /// Counts the store's decision.
    fn decided(&self, met: &AllMet, verdict: &Verdict) -> Conclusion {
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
    fn concluded(
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

    fn count(&self, policy: usize, outcome: Outcome) {
        self.tally.count(policy, outcome);
        if matches!(outcome, Outcome::FallbackAdmitted | Outcome::FallbackDenied) {
            self.changes.falls_back(policy);
        }
    }

    fn count_exceeded(&self, policy: usize) {
        self.tally.count_exceeded(policy);
        self.changes.denies(policy);
    }

    fn mode(&self, met: &Met) -> OnStoreFailure {
        self.policies[met.policy].on_store_failure
    }

    fn line(&self, met: &Met, room: Option<Room>) -> Line<'_> {
        let name = &*self.policies[met.policy].name;
        Line {
            policy: met.policy,
            name,
            quota: met.quota,
            room,
        }
    }

    pub(super) fn respond(&self, refusal: Refusal, request: &Parts) -> Response<Bytes> {
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

impl Met {
    fn violated(&self) -> Violated {
        Violated {
            policy: self.policy,
            quota: self.quota,
        }
    }
}

fn charges(met: &AllMet) -> SmallVec<[Charge<'_>; 2]> {
    met.iter()
        .map(
            |Met {
                 policy,
                 key,
                 quota,
                 cost,
                 enforced,
                 ..
             }| Charge {
                policy: *policy,
                key,
                quota: *quota,
                cost: *cost,
                enforced: *enforced,
            },
        )
        .collect()
}
