//! Decides a request: from its head to a verdict, and from a verdict or a failure to pass or refuse.

mod conclude;
mod either_way;
mod fallback;
mod forget;
mod known;
mod met;
mod segments;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;

pub(super) use self::conclude::{Conclusion, Refusal};
pub(super) use self::either_way::{EitherAnswer, MetOneWay};
pub(super) use self::met::{AllMet, Violated};
use self::met::{Met, charges};
use super::changes::Changes;
use super::deny_cache::DenyCache;
use super::headers::Renderer;
use super::policy::Policy;
use super::reject::Rejecter;
use super::store::{Admit, AdmitNow, Gate, Reply, Verdict};
use super::tally::PolicyTally;
use crate::model::{Client, Exemptions, Pending, StoreError};

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
}
