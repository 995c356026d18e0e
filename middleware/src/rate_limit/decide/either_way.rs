//! A request that claims a session: one question for both ways in which it may go.

use std::time::Duration;

use super::{AllMet, Bound, Conclusion, Decider, Met, charges};
use crate::model::Pending;
use crate::rate_limit::store::{Gate, Reply, SessionGate, Shown, Way};

/// What a request meets one way: its bans' gate, and its policies.
#[derive(Default)]
pub(in crate::rate_limit) struct MetOneWay {
    pub(in crate::rate_limit) gate: Option<Gate>,
    pub(in crate::rate_limit) met: AllMet,
}

/// The first answer to a request that claims a session.
pub(in crate::rate_limit) enum EitherAnswer {
    /// It is denied whoever it is.
    Concluded(Conclusion),
    /// The store is asked.
    Asked {
        pending: Pending<Shown>,
        sent: Duration,
    },
}

impl Decider {
    /// Asks about a request both ways. `None` where nobody shares the store.
    ///
    /// Of what is remembered of denials only that counts which denies the request either way: what the token names decides
    /// nothing yet. So the store is asked about whatever else the user meets, and nobody's turn to ask is taken for it.
    pub(in crate::rate_limit) fn begin_either_way(
        &self,
        session: &SessionGate,
        proved: &mut MetOneWay,
        otherwise: &mut MetOneWay,
    ) -> Option<EitherAnswer> {
        let Bound::Shared {
            store,
            deny_cache,
            start,
            ..
        } = &self.store
        else {
            return None;
        };
        let sent = start.elapsed();
        if let Some(cache) = deny_cache {
            let met = &mut otherwise.met;
            let mut known = self.known(cache, met, sent, self.store.is_failing());
            let is_met = |other: &Met| proved.met.iter().any(|met| met.is_as(other));
            known.retain(|(place, _)| is_met(&met[*place]));
            if let Some(refusal) = self.refused_by(met, &known) {
                return Some(EitherAnswer::Concluded(Conclusion::Refuse(refusal)));
            }
            // Whatever has room now, nobody is to be denied by what was known of it.
            proved.met.iter_mut().for_each(|met| met.due = true);
        }
        let reply = store.admit_either_way(
            session,
            Way {
                gate: proved.gate.as_ref(),
                charges: &charges(&proved.met),
            },
            Way {
                gate: otherwise.gate.as_ref(),
                charges: &charges(&otherwise.met),
            },
        );
        let pending = match reply {
            Reply::Ready(shown) => Box::pin(std::future::ready(shown)),
            Reply::Pending(pending) => pending,
        };
        Some(EitherAnswer::Asked { pending, sent })
    }
}

impl Met {
    /// Whether what is known of the other's log says the same of this one.
    fn is_as(&self, other: &Self) -> bool {
        (self.policy, self.quota, self.cost, &self.key)
            == (other.policy, other.quota, other.cost, &other.key)
    }
}
