//! A request that claims a session: asked about as the user's and as it is without, in one call, of which one way counts.

use std::mem;
use std::task::{Context, Poll};

use http::request::Parts;

use super::future::{Answers, poll_all};
use super::layer::Layers;
use crate::model::{Asked, AskedEitherWay, Claimed, Client, EitherWay, Found, Proving, StoreError};

/// A request both ways, until it is known whose it is.
pub(super) struct Either {
    claimed: Box<dyn Claimed>,
    proving: Box<dyn Proving>,
    /// The request as the user's.
    users: Parts,
    proved: Way,
    otherwise: Way,
}

/// What is awaited of one way.
#[derive(Default)]
struct Way {
    answers: Answers,
    /// Whether a layer will refuse the request, so that nothing is asked.
    is_refused: bool,
}

/// What became of a claim.
pub(super) enum Forked {
    Either(Box<Either>),
    /// The request is refused either way.
    Refused,
    /// The session is to be proved first.
    Not(Box<dyn Claimed>),
}

impl Layers {
    /// Asks the layers from the `next` on both ways, the limits in one call.
    pub(super) fn fork(
        &self,
        next: usize,
        claimed: Box<dyn Claimed>,
        request: &mut Parts,
    ) -> Forked {
        let between = self.proves.and_then(|limits| self.each.get(next..limits));
        let (Some(between), Some(limits)) = (between, self.each.last()) else {
            return Forked::Not(claimed);
        };
        let Some(client) = request.extensions.get::<Client>() else {
            return Forked::Not(claimed);
        };
        let user = Client {
            user: Some(claimed.gate().user.clone()),
            ..client.clone()
        };
        // A copy, since a question leaves what it knows in the request.
        let mut users = request.clone();
        users.extensions.insert(user);
        let (mut proved, mut otherwise) = (Way::default(), Way::default());
        for layer in between {
            for (way, parts) in [(&mut proved, &mut users), (&mut otherwise, &mut *request)] {
                if way.is_refused {
                    continue;
                }
                match layer.ask(parts) {
                    Asked::Known | Asked::Claims(_) => {}
                    Asked::Waits(answer) => way.answers.push(answer),
                    Asked::Refused => {
                        way.is_refused = true;
                        way.answers.clear();
                    }
                }
            }
        }
        if proved.is_refused && otherwise.is_refused {
            return Forked::Refused;
        }
        let either = EitherWay {
            proved: (!proved.is_refused).then_some(&mut users),
            otherwise: (!otherwise.is_refused).then_some(request),
        };
        match limits.ask_either_way(claimed.gate(), either) {
            None => Forked::Not(claimed),
            Some(AskedEitherWay::Refused) => Forked::Refused,
            Some(AskedEitherWay::Waits(proving)) => Forked::Either(Box::new(Either {
                claimed,
                proving,
                users,
                proved,
                otherwise,
            })),
        }
    }
}

impl Either {
    /// Polls whatever is under way; ready when the session was looked at.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        otherwise: &mut Parts,
    ) -> Poll<Result<Found, StoreError>> {
        poll_all(&mut self.proved.answers, cx, &mut self.users.extensions);
        poll_all(&mut self.otherwise.answers, cx, &mut otherwise.extensions);
        self.proving.poll(cx)
    }

    /// Goes the way that counts; what is still to be awaited of it.
    pub(super) fn go(mut self, found: Result<Found, StoreError>, request: &mut Parts) -> Answers {
        let is_users = self.claimed.hear(found);
        let way = if is_users {
            mem::swap(request, &mut self.users);
            self.proved
        } else {
            self.otherwise
        };
        self.claimed.leave(&mut request.extensions);
        let mut answers = way.answers;
        if !way.is_refused {
            answers.push(self.proving.go(is_users));
        }
        answers
    }
}
