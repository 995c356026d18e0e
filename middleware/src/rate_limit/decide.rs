//! What happens to a request: from its head to a verdict, and from a verdict or a failure to pass or refuse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use smallvec::SmallVec;

use super::deny_cache::DenyCache;
use super::exempt::Exemptions;
use super::headers::{Line, Rendered, Renderer};
use super::policy::{OnStoreFailure, Policy};
use super::reject::{Reason, Rejecter};
use super::store::{Admission, Admit, AdmitNow, Charge, StoreError, Tier, Verdict};
use super::tally::{Outcome, Tally};
use super::{PartitionKey, Quota};
use crate::client::Client;

/// Everything that the requests of one layer share.
pub(super) struct Decider {
    pub(super) policies: Box<[Policy]>,
    /// Their names.
    pub(super) names: Arc<[Arc<str>]>,
    pub(super) exempt: Exemptions,
    pub(super) store: Bound,
    pub(super) renderer: Renderer,
    pub(super) rejecter: Rejecter,
    pub(super) tally: Arc<Tally>,
}

/// The store, with what only a store that others share needs.
pub(super) enum Bound {
    Embedded(Arc<dyn AdmitNow>),
    Shared {
        store: Arc<dyn Admit>,
        local: Arc<dyn AdmitNow>,
        deny_cache: Option<DenyCache>,
        start: Instant,
    },
}

/// One policy that a request meets, with what it is charged.
#[derive(Debug, Clone)]
pub(super) struct Met {
    policy: usize,
    key: PartitionKey,
    quota: Quota,
    cost: u32,
    enforced: bool,
}

/// The policies that a request meets, in the layer's order.
pub(super) type AllMet = SmallVec<[Met; 4]>;

/// The first answer to a request.
pub(super) enum Answer {
    /// No policy applies.
    Free,
    Settled(Settled),
    /// The store is asked; [`Decider::settle`] takes what it says.
    Asked {
        pending: Pending,
        met: AllMet,
        sent: Duration,
    },
}

pub(super) type Pending =
    std::pin::Pin<Box<dyn Future<Output = Result<Verdict, StoreError>> + Send>>;

pub(super) enum Settled {
    Pass {
        headers: Rendered,
        decision: Decision,
    },
    Refuse(Refusal),
}

pub(super) struct Refusal {
    reason: Reason,
    violated: SmallVec<[usize; 4]>,
    retry: Option<Duration>,
    headers: Rendered,
}

/// What the limits said of an admitted request; an extension that handlers and inner layers can read.
///
/// It lists the enforced policies that the request met and that were checked: none while the store fails and the
/// failure mode is open.
#[derive(Debug, Clone)]
pub struct Decision {
    names: Arc<[Arc<str>]>,
    states: SmallVec<[State; 2]>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    policy: usize,
    quota: Quota,
    remaining: u32,
    reset: Duration,
}

/// One policy's state after a request was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyState<'a> {
    /// The policy's name.
    pub name: &'a str,
    /// Its quota for this request.
    pub quota: Quota,
    /// How much cost still fits.
    pub remaining: u32,
    /// Until more than `remaining` fits.
    pub reset: Duration,
}

impl Decision {
    /// The policies, in their order.
    pub fn policies(&self) -> impl Iterator<Item = PolicyState<'_>> {
        self.states.iter().map(|state| PolicyState {
            name: &self.names[state.policy],
            quota: state.quota,
            remaining: state.remaining,
            reset: state.reset,
        })
    }
}

impl Decider {
    pub(super) fn ask(&self, request: &Parts, client: &Client) -> Answer {
        let met = self.met(request, client);
        if met.is_empty() {
            return Answer::Free;
        }
        match &self.store {
            Bound::Embedded(store) => {
                let verdict = store.admit_now(&charges(&met));
                Answer::Settled(self.decided(&met, &verdict, false))
            }
            Bound::Shared {
                store,
                deny_cache,
                start,
                ..
            } => {
                let sent = start.elapsed();
                if let Some(refusal) = deny_cache
                    .as_ref()
                    .and_then(|cache| self.known_denial(cache, &met, sent))
                {
                    return Answer::Settled(Settled::Refuse(refusal));
                }
                let admission = store.admit(&charges(&met));
                match admission {
                    Admission::Ready(result) => Answer::Settled(self.settle(&met, sent, result)),
                    Admission::Pending(pending) => Answer::Asked { pending, met, sent },
                }
            }
        }
    }

    /// The policies that apply, and what they charge; none for an exempt request.
    fn met(&self, request: &Parts, client: &Client) -> AllMet {
        if self.exempt.covers(&request.method, client) {
            return AllMet::new();
        }
        let applying = self
            .policies
            .iter()
            .enumerate()
            .filter(|(_, policy)| policy.applies(&request.method, client));
        applying
            .filter_map(|(index, policy)| {
                let cost = Some(policy.cost_of(request)).filter(|cost| *cost > 0)?;
                let key = policy.partition(request, client)?;
                Some(Met {
                    policy: index,
                    key,
                    quota: policy.quota,
                    cost,
                    enforced: policy.enforced,
                })
            })
            .collect()
    }

    /// A denial that needs no question, with all the policies that are known to be violated.
    fn known_denial(&self, cache: &DenyCache, met: &AllMet, now: Duration) -> Option<Refusal> {
        let known: SmallVec<[_; 4]> = met
            .iter()
            .filter(|met| met.enforced)
            .filter_map(|met| {
                Some((
                    met,
                    cache.get(met.policy, &met.key, met.quota, met.cost, now)?,
                ))
            })
            .collect();
        let retry = known.iter().map(|(_, denied)| denied.retry).max()?;
        for (met, _) in &known {
            self.tally.count(met.policy, Outcome::Denied);
            self.tally.count_exceeded(met.policy);
        }
        let lines: SmallVec<[_; 4]> = known
            .iter()
            .map(|(met, denied)| self.line(met, denied.remaining, denied.retry))
            .collect();
        Some(Refusal {
            reason: Reason::QuotaExceeded,
            violated: known.iter().map(|(met, _)| met.policy).collect(),
            retry: Some(retry),
            headers: self.renderer.render(&lines),
        })
    }

    /// Takes what a shared store said of a call that was sent at `sent`.
    pub(super) fn settle(
        &self,
        met: &AllMet,
        sent: Duration,
        result: Result<Verdict, StoreError>,
    ) -> Settled {
        let (local, deny_cache) = match &self.store {
            Bound::Embedded(local) => (local, None),
            Bound::Shared {
                local, deny_cache, ..
            } => (local, deny_cache.as_ref()),
        };
        let Ok(verdict) = result else {
            return self.without_store(met, &**local);
        };
        if let (false, Some(cache)) = (verdict.admitted, deny_cache) {
            for (met, tier) in met
                .iter()
                .zip(&verdict.tiers)
                .filter(|(met, _)| met.enforced)
            {
                if let Some(retry) = tier.retry {
                    cache.insert(
                        met.policy,
                        &met.key,
                        met.quota,
                        met.cost,
                        tier.remaining,
                        sent,
                        retry,
                    );
                }
            }
        }
        self.decided(met, &verdict, false)
    }

    /// The store failed: each policy does as its failure mode says, and the request passes when all let it.
    fn without_store(&self, met: &AllMet, local: &dyn AdmitNow) -> Settled {
        let mode = |met: &Met| self.policies[met.policy].on_store_failure;
        let closed: SmallVec<[usize; 4]> = met
            .iter()
            .filter(|met| met.enforced && mode(met) == OnStoreFailure::Closed)
            .map(|met| met.policy)
            .collect();
        if !closed.is_empty() {
            for policy in &closed {
                self.tally.count(*policy, Outcome::FallbackDenied);
            }
            return Settled::Refuse(Refusal {
                reason: Reason::StoreUnavailable,
                violated: closed,
                retry: None,
                headers: Rendered::default(),
            });
        }
        // What remains are local and open policies, and closed ones in a dry run.
        let (kept, open): (AllMet, AllMet) = met
            .iter()
            .cloned()
            .partition(|met| mode(met) == OnStoreFailure::Local);
        let verdict = local.admit_now(&charges(&kept));
        if verdict.admitted {
            for met in &open {
                let denied = mode(met) == OnStoreFailure::Closed;
                let outcome = if denied {
                    Outcome::DryRunDenied
                } else {
                    Outcome::FallbackAdmitted
                };
                self.tally.count(met.policy, outcome);
            }
        }
        self.decided(&kept, &verdict, true)
    }

    /// Counts a verdict and turns it into pass or refuse.
    fn decided(&self, met: &AllMet, verdict: &Verdict, fallback: bool) -> Settled {
        let (admitted, denied) = if fallback {
            (Outcome::FallbackAdmitted, Outcome::FallbackDenied)
        } else {
            (Outcome::Admitted, Outcome::Denied)
        };
        let tiers = || met.iter().zip(&verdict.tiers);
        for (met, tier) in tiers() {
            match (tier.retry.is_none(), met.enforced) {
                // A policy with room in a request that another one denies is not charged, so it counts nothing.
                (true, _) if verdict.admitted => self.tally.count(met.policy, admitted),
                (true, _) => {}
                (false, false) => self.tally.count(met.policy, Outcome::DryRunDenied),
                (false, true) => {
                    self.tally.count(met.policy, denied);
                    self.tally.count_exceeded(met.policy);
                }
            }
        }
        let lines: SmallVec<[_; 4]> = tiers()
            .filter(|(met, _)| met.enforced)
            .map(|(met, tier)| self.line(met, tier.remaining, tier.reset))
            .collect();
        let headers = self.renderer.render(&lines);
        if verdict.admitted {
            return Settled::Pass {
                headers,
                decision: self.decision(&lines),
            };
        }
        let violated: SmallVec<[(usize, Duration); 4]> = tiers()
            .filter(|(met, _)| met.enforced)
            .filter_map(|(met, Tier { retry, .. })| Some((met.policy, (*retry)?)))
            .collect();
        let retry = violated.iter().map(|(_, retry)| *retry).max();
        Settled::Refuse(Refusal {
            reason: Reason::QuotaExceeded,
            violated: violated.into_iter().map(|(policy, _)| policy).collect(),
            retry: retry.filter(|retry| *retry < Duration::MAX),
            headers,
        })
    }

    fn line(&self, met: &Met, remaining: u32, reset: Duration) -> Line<'_> {
        let name = &*self.policies[met.policy].name;
        Line {
            policy: met.policy,
            name,
            quota: met.quota,
            remaining,
            reset,
        }
    }

    fn decision(&self, lines: &[Line<'_>]) -> Decision {
        let states = lines.iter().map(|line| State {
            policy: line.policy,
            quota: line.quota,
            remaining: line.remaining,
            reset: line.reset,
        });
        Decision {
            names: Arc::clone(&self.names),
            states: states.collect(),
        }
    }

    pub(super) fn respond(&self, refusal: Refusal, request: &Parts) -> Response<Bytes> {
        let Refusal {
            reason,
            violated,
            retry,
            headers,
        } = refusal;
        let mut response = self
            .rejecter
            .respond(&self.policies, reason, &violated, retry, request);
        headers.append_to(response.headers_mut());
        response
    }
}

fn charges(met: &AllMet) -> SmallVec<[Charge<'_>; 4]> {
    met.iter()
        .map(
            |Met {
                 policy,
                 key,
                 quota,
                 cost,
                 enforced,
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
