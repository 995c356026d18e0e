//! The limits' part of the one wait for the store, for a layer further out that waits for more than them.

use std::time::Duration;

use http::request::Parts;

use super::RateLimitLayer;
use super::decide::{AllMet, Answer, Settled};
use super::store::{Gate, Verdict};
use crate::model::{Client, Pending, StoreError, StoreErrorKind};

/// The decision of the limits before the request reached their layer, which then only carries it out: an extension of
/// the request. `None` where no policy applies.
#[derive(Clone)]
pub(crate) struct Prepared(pub(super) Option<Settled>);

/// The answer that a request must wait for.
pub(crate) enum Preparation {
    /// Nothing.
    Done(Resolved),
    /// The store's; [`RateLimitLayer::resolve`] takes it.
    Asked(Question),
}

/// The question to the store about a request.
pub(crate) struct Question {
    pub(crate) pending: Pending<Verdict>,
    asked: Asked,
}

struct Asked {
    met: AllMet,
    sent: Duration,
    gate: Option<Gate>,
}

/// The store's answer about a request.
pub(crate) struct Resolved {
    /// How long the client is still banned; an error where the store failed, and `None` where it was not asked.
    pub(crate) banned: Option<Result<Option<Duration>, StoreErrorKind>>,
    /// `None` for a banned client, whose request is not to reach the limits.
    pub(crate) prepared: Option<Prepared>,
}

impl Resolved {
    /// Whether the limits refuse the request.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.prepared, Some(Prepared(Some(Settled::Refuse(_)))))
    }
}

impl RateLimitLayer {
    /// Begins to decide about a request, and about its client's ban in the same call.
    pub(crate) fn prepare(
        &self,
        gate: Option<Gate>,
        request: &Parts,
        client: &Client,
    ) -> Preparation {
        let prepared = |settled| {
            Preparation::Done(Resolved {
                banned: None,
                prepared: Some(Prepared(settled)),
            })
        };
        match self.decider.ask(gate, request, client) {
            Answer::Free => prepared(None),
            // Decided without the store, which is then not asked about a ban either.
            Answer::Settled(settled) => prepared(Some(settled)),
            Answer::Answered { result, met, sent } => {
                Preparation::Done(self.conclude(Asked { met, sent, gate }, result))
            }
            Answer::Asked { pending, met, sent } => Preparation::Asked(Question {
                pending,
                asked: Asked { met, sent, gate },
            }),
        }
    }

    /// Takes the store's answer.
    pub(crate) fn resolve(
        &self,
        question: Question,
        result: Result<Verdict, StoreError>,
    ) -> Resolved {
        self.conclude(question.asked, result)
    }

    fn conclude(&self, asked: Asked, result: Result<Verdict, StoreError>) -> Resolved {
        let Asked { met, sent, gate } = asked;
        let banned = gate.map(|_| match &result {
            Ok(verdict) => Ok(verdict.banned),
            Err(error) => Err(error.kind()),
        });
        if gate.is_some_and(|gate| gate.enforced) && matches!(banned, Some(Ok(Some(_)))) {
            return Resolved {
                banned,
                prepared: None,
            };
        }
        let settled = (!met.is_empty()).then(|| self.decider.settle(&met, sent, result));
        Resolved {
            banned,
            prepared: Some(Prepared(settled)),
        }
    }
}
