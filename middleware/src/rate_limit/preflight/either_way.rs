//! The limits' call that proves a session, and decides the request as its user's only if it is.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll, ready as ready_or_wait};
use std::time::Duration;

use http::request::Parts;

use super::{Of, Question, gate};
use crate::model::{
    Answer, AskedEitherWay, Client, EitherWay, Found, Pending, Proving, SessionGate, StoreError,
};
use crate::rate_limit::decide::{Answer as Answered, Decider, EitherAnswer, MetOneWay};
use crate::rate_limit::store::{Shown, Verdict};

/// Begins to ask about a request both ways. `None` where nobody shares the store.
pub(super) fn ask(
    decider: &Arc<Decider>,
    session: &SessionGate,
    request: EitherWay<'_>,
) -> Option<AskedEitherWay> {
    let EitherWay { proved, otherwise } = request;
    let of = |request: Option<&Parts>| {
        let Some(request) = request else {
            return Some(MetOneWay::default());
        };
        let client = request.extensions.get::<Client>()?;
        Some(MetOneWay {
            gate: gate(&request.extensions).cloned(),
            met: decider.met(request, client),
        })
    };
    let (mut users, mut others) = (of(proved.as_deref())?, of(otherwise.as_deref())?);
    match decider.begin_either_way(session, &mut users, &mut others)? {
        EitherAnswer::Concluded(concluded) => {
            if let Some(request) = otherwise {
                let _ = decider.leave(Answered::Concluded(concluded), &mut request.extensions);
            }
            Some(AskedEitherWay::Refused)
        }
        EitherAnswer::Asked { pending, sent } => Some(AskedEitherWay::Waits(Box::new(Both {
            pending,
            sent,
            users,
            others,
            verdict: None,
            decider: Arc::clone(decider),
        }))),
    }
}

/// A question that is answered one way.
struct Both {
    pending: Pending<Shown>,
    sent: Duration,
    users: MetOneWay,
    others: MetOneWay,
    /// Once it is answered; `None` where nothing was decided.
    verdict: Option<Result<Verdict, StoreError>>,
    decider: Arc<Decider>,
}

impl Proving for Both {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, StoreError>> {
        Poll::Ready(match ready_or_wait!(self.pending.as_mut().poll(cx)) {
            Ok(Shown { session, verdict }) => {
                self.verdict = verdict;
                session
            }
            Err(error) => {
                // The limits need to know no more of it.
                self.verdict = Some(Err(StoreError::new(error.kind())));
                Err(error)
            }
        })
    }

    fn go(self: Box<Self>, is_users: bool) -> Box<dyn Answer> {
        let Self {
            sent,
            users,
            others,
            verdict,
            decider,
            ..
        } = *self;
        let MetOneWay { met, .. } = if is_users { users } else { others };
        Box::new(Question {
            asked: match verdict {
                Some(result) => Of::Store {
                    pending: Box::pin(ready(result)),
                    sent,
                },
                None => Of::Nothing,
            },
            met,
            decider,
        })
    }
}
