//! The limits' part of preflight.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Extensions;
use http::request::Parts;

use super::RateLimitLayer;
use super::decide::{self, AllMet, Bound, Conclusion, Decider};
use super::store::Verdict;
use crate::model::{Answer, Ask, Asked, Client, Pending, Screened, StoreError, Turn};

/// The decision of the limits before the request reached their layer, which then only carries it out: an extension of
/// the request. `None` where no policy applies.
#[derive(Clone)]
pub(crate) struct Prepared(pub(super) Option<Conclusion>);

impl Ask for RateLimitLayer {
    fn room(&self) -> &'static str {
        "rate_limit"
    }

    fn turn(&self) -> Turn {
        Turn::Charge
    }

    fn waits(&self) -> bool {
        self.decider.by_segment || self.is_shared()
    }

    /// Begins to decide about a request, and about its client's ban in the same call. In memory nothing is asked: the
    /// layer decides when the request reaches it.
    fn ask(&self, request: &mut Parts) -> Asked {
        let Some(client) = request.extensions.get::<Client>() else {
            return Asked::Known;
        };
        if !self.is_shared() {
            return Asked::Known;
        }
        let screened = request.extensions.get::<Screened>();
        let gate = screened.and_then(Screened::gate);
        match self.decider.ask(gate, request, client) {
            decide::Answer::Free => prepare(None, &mut request.extensions),
            decide::Answer::Concluded(concluded) => {
                if gate.is_some() {
                    // Denied without a question, so that no flood reaches the store: nor about its ban.
                    request.extensions.insert(Screened::Heard(None));
                }
                prepare(Some(concluded), &mut request.extensions)
            }
            decide::Answer::Answered { result, met, sent } => {
                let extensions = &mut request.extensions;
                self.decider.leave_answer(&met, sent, result, extensions)
            }
            decide::Answer::Asked { pending, met, sent } => Asked::Waits(Box::new(Question {
                pending,
                met,
                sent,
                decider: Arc::clone(&self.decider),
            })),
        }
    }
}

impl RateLimitLayer {
    fn is_shared(&self) -> bool {
        matches!(self.decider.store, Bound::Shared { .. })
    }
}

/// What a shared store was asked about a request.
struct Question {
    pending: Pending<Verdict>,
    met: AllMet,
    sent: Duration,
    decider: Arc<Decider>,
}

impl Answer for Question {
    fn poll(&mut self, cx: &mut Context<'_>, extensions: &mut Extensions) -> Poll<()> {
        let result = ready!(self.pending.as_mut().poll(cx));
        self.decider
            .leave_answer(&self.met, self.sent, result, extensions);
        Poll::Ready(())
    }
}

impl Decider {
    /// Leaves what the store said where suspicion and the limits find it.
    fn leave_answer(
        &self,
        met: &AllMet,
        sent: Duration,
        result: Result<Verdict, StoreError>,
        extensions: &mut Extensions,
    ) -> Asked {
        let banned = match &result {
            Ok(verdict) => Ok(verdict.banned),
            Err(error) => Err(error.kind()),
        };
        let gate = extensions.get::<Screened>().and_then(Screened::gate);
        let is_refused = gate.is_some_and(|gate| gate.enforced) && matches!(banned, Ok(Some(_)));
        let asked = if is_refused {
            // The request of a banned client is not to reach the limits.
            Asked::Refused
        } else {
            let concluded = (!met.is_empty()).then(|| self.decide_by(met, sent, result));
            prepare(concluded, extensions)
        };
        if let Some(screened) = extensions.get_mut::<Screened>() {
            screened.hear(banned);
        }
        asked
    }
}

fn prepare(concluded: Option<Conclusion>, extensions: &mut Extensions) -> Asked {
    let is_refused = matches!(concluded, Some(Conclusion::Refuse(_)));
    extensions.insert(Prepared(concluded));
    if is_refused {
        Asked::Refused
    } else {
        Asked::Known
    }
}
