//! The limits' part of preflight.

mod either_way;

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Extensions;
use http::request::Parts;

use super::RateLimitLayer;
use super::decide::{self, AllMet, Bound, Conclusion, Decider};
use super::store::Verdict;
use crate::model::{
    Answer, Ask, Asked, AskedEitherWay, Barred, Client, EitherWay, Gate, Pending, Screened,
    Segment, SessionGate, StoreError, StoreErrorKind, Turn,
};

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

    fn bans_in(&self) -> Option<&str> {
        match &self.decider.store {
            Bound::Embedded(_) => None,
            Bound::Shared { store, .. } => Some(store.place()),
        }
    }

    fn sessions_in(&self) -> Option<&str> {
        match &self.decider.store {
            Bound::Embedded(_) => None,
            Bound::Shared { store, .. } => store.sessions_in(),
        }
    }

    fn ask_either_way(&self, gate: &SessionGate, request: EitherWay<'_>) -> Option<AskedEitherWay> {
        either_way::ask(&self.decider, gate, request)
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
        let met = self.decider.met(request, client);
        let question = |asked, met| {
            Asked::Waits(Box::new(Question {
                asked,
                met,
                decider: Arc::clone(&self.decider),
            }))
        };
        if self.decider.by_segment
            && client.user.is_some()
            && request.extensions.get::<Segment>().is_none()
            && self.decider.knows_denial_of_segments(&met)
        {
            return question(Of::Nothing, met);
        }
        let gate = gate(&request.extensions).cloned();
        let answer = self.decider.begin(gate, met);
        match self.decider.leave(answer, &mut request.extensions) {
            ControlFlow::Break(asked) => asked,
            ControlFlow::Continue((asked, met)) => question(asked, met),
        }
    }
}

impl RateLimitLayer {
    fn is_shared(&self) -> bool {
        matches!(self.decider.store, Bound::Shared { .. })
    }
}

/// What is asked about a request.
struct Question {
    asked: Of,
    met: AllMet,
    decider: Arc<Decider>,
}

/// Whom a question waits for.
enum Of {
    /// The store.
    Store {
        pending: Pending<Verdict>,
        sent: Duration,
    },
    /// The customer's segment, which may have another quota than the one that the store's answer is about.
    Segment {
        result: Result<Verdict, StoreError>,
        sent: Duration,
    },
    /// The same, about a denial that is known without a question.
    Nothing,
}

impl Answer for Question {
    /// Waits a second time only for a request that the quota of nobody in particular denies, and that of its segment may
    /// not: it was charged nothing, and is asked about once more.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        extensions: &mut Extensions,
        earlier: bool,
    ) -> Poll<()> {
        loop {
            match &mut self.asked {
                Of::Store { pending, sent } => {
                    let (result, sent) = (ready!(pending.as_mut().poll(cx)), *sent);
                    if is_refused(extensions, &heard(&result))
                        || !self.decider.hangs_on_segment(&self.met, &result)
                    {
                        self.decider
                            .leave_answer(&self.met, sent, result, extensions);
                        return Poll::Ready(());
                    }
                    self.asked = Of::Segment { result, sent };
                }
                _ if earlier => return Poll::Pending,
                asked => {
                    let segment = extensions.get::<Segment>().copied();
                    let is_other = self.decider.requote(&mut self.met, segment);
                    match mem::replace(asked, Of::Nothing) {
                        Of::Segment { result, sent } if !is_other || result.is_err() => {
                            self.decider
                                .leave_answer(&self.met, sent, result, extensions);
                            return Poll::Ready(());
                        }
                        Of::Segment { result, .. } => {
                            if let Some(screened) = extensions.get_mut::<Screened>() {
                                screened.hear(heard(&result));
                            }
                        }
                        _ => {}
                    }
                    let gate = gate(extensions).cloned();
                    let answer = self.decider.begin(gate, mem::take(&mut self.met));
                    match self.decider.leave(answer, extensions) {
                        ControlFlow::Break(_) => return Poll::Ready(()),
                        ControlFlow::Continue((asked, met)) => {
                            (self.asked, self.met) = (asked, met)
                        }
                    }
                }
            }
        }
    }
}

/// The gate that nobody heard of yet.
fn gate(extensions: &Extensions) -> Option<&Gate> {
    extensions.get::<Screened>()?.gate()
}

/// Whether this answer about the gate refuses the request.
fn is_refused(extensions: &Extensions, heard: &Result<Barred, StoreErrorKind>) -> bool {
    gate(extensions).is_some_and(|gate| gate.enforced)
        && matches!(heard, Ok(barred) if barred.left().is_some())
}

/// What a call said of its gate.
fn heard(result: &Result<Verdict, StoreError>) -> Result<Barred, StoreErrorKind> {
    match result {
        Ok(verdict) => Ok(verdict.banned),
        Err(error) => Err(error.kind()),
    }
}

impl Decider {
    /// Leaves what is known at once where suspicion and the limits find it; or else, whom to wait for.
    fn leave(
        &self,
        answer: decide::Answer,
        extensions: &mut Extensions,
    ) -> ControlFlow<Asked, (Of, AllMet)> {
        ControlFlow::Break(match answer {
            decide::Answer::Free => prepare(None, extensions),
            decide::Answer::Concluded(concluded) => {
                if gate(extensions).is_some() {
                    // Denied without a question, so that no flood reaches the store: nor about its ban.
                    extensions.insert(Screened::Heard(None));
                }
                prepare(Some(concluded), extensions)
            }
            decide::Answer::Answered { result, met, sent } => {
                self.leave_answer(&met, sent, result, extensions)
            }
            decide::Answer::Asked { pending, met, sent } => {
                return ControlFlow::Continue((Of::Store { pending, sent }, met));
            }
        })
    }

    /// Leaves what the store said where suspicion and the limits find it.
    fn leave_answer(
        &self,
        met: &AllMet,
        sent: Duration,
        result: Result<Verdict, StoreError>,
        extensions: &mut Extensions,
    ) -> Asked {
        let banned = heard(&result);
        let asked = if is_refused(extensions, &banned) {
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
