//! What a request's session is: from what it presents, by what this process knows or the store says.

use std::hash::RandomState;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::ACCEPT;
use http::request::Parts;
use tokio::time::Instant;

use super::alerts::{Alerts, Listeners};
use super::ends::Ends;
use super::known::{Asking, KnownSessions};
use super::operator::OperatorToken;
use super::presented::{self, Presented, Via};
use super::store::{Claim, KeepSessions, Proved, Reply};
use super::tally::{SessionOperation as Operation, SessionOutcome as Outcome};
use super::{Keyring, OnStoreFailure, Session, SessionTally, SessionsConfig, cookie, origin};
use crate::log::{Fallback, News};
use crate::model::{Client, Guess, Reason, StoreError};
use crate::task::ticker::Ticker;

/// Everything that the requests and the handles of one layer share.
pub(super) struct Core {
    pub(super) settings: SessionsConfig,
    pub(super) keys: Keyring,
    pub(super) store: Arc<dyn KeepSessions>,
    pub(super) known: KnownSessions,
    pub(super) tally: Arc<SessionTally>,
    pub(super) alerts: Alerts,
    pub(super) ends: Ends,
    pub(super) cookie: Option<&'static str>,
    /// What operators send; `None` unless it is configured.
    #[cfg_attr(not(feature = "session-api"), allow(dead_code))]
    pub(super) operator: Option<OperatorToken>,
    /// The streams of events that are open.
    #[cfg(feature = "session-api")]
    pub(super) streams: super::api::Streams,
    start: Instant,
    /// When the sessions that live are counted.
    pub(super) counts: Ticker,
    /// Whether the store proves sessions.
    fallback: Fallback,
    /// Tells guesses apart.
    hasher: RandomState,
}

/// For how long an answer is believed: an end in another process is seen within a second, with the time of the question.
const FRESH: Duration = Duration::from_millis(900);

/// How often the sessions that live are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// What a request's session comes to; an extension of the request until the layer acts on it.
#[derive(Debug, Clone)]
pub(super) enum Settled {
    /// It goes on without a session; `clear` if its cookie opens nothing any more.
    Anonymous { clear: bool },
    /// It is the session's, proved by this claim.
    Session(Session, Claim),
    /// It is refused.
    Refused(Reason),
    /// It presents a bearer token that this service did not make, which counts as a guess, unless an earlier process may have
    /// made it.
    Forged(Option<Guess>),
}

/// What is known of a request's session at once.
pub(super) enum Looked {
    Settled(Settled),
    /// The store is to say.
    Unproved(Unproved),
}

/// What is to be asked of the store.
pub(super) struct Unproved {
    pub(super) claim: Claim,
    /// Whether the request is an activity.
    pub(super) touch: bool,
    via: Via,
    asking: Asking,
}

/// A question to the store that is under way.
pub(super) struct Question {
    pub(super) reply: Reply<Proved>,
    unproved: Unproved,
}

impl Core {
    pub(super) fn new(
        settings: SessionsConfig,
        keys: Keyring,
        store: Arc<dyn KeepSessions>,
        operator: Option<OperatorToken>,
        listeners: Listeners,
    ) -> Self {
        Self {
            cookie: cookie::name(&settings),
            operator,
            #[cfg(feature = "session-api")]
            streams: super::api::Streams::default(),
            settings,
            keys,
            store,
            known: KnownSessions::new(),
            tally: Arc::default(),
            alerts: Alerts::new(listeners),
            ends: Ends::default(),
            start: Instant::now(),
            counts: Ticker::new(COUNTED_EVERY),
            fallback: Fallback::default(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether limits and bans are to take the request's user for nobody.
    pub(super) fn is_by_address(&self, request: &Parts) -> bool {
        let Some(client) = request.extensions.get::<Client>() else {
            return false;
        };
        let mut filters = self.settings.by_address.iter();
        filters.any(|it| it.matches(&request.method, &client.route, &request.uri))
    }

    /// Looks at a request by what this process knows.
    pub(super) fn look(&self, request: &Parts) -> Looked {
        let headers = &request.headers;
        let (claim, via) = match presented::read(headers, self.cookie, &self.keys, &self.hasher) {
            Presented::Nothing => return Looked::Settled(Settled::Anonymous { clear: false }),
            Presented::Token(claim, via) => (claim, via),
            Presented::Forged(thing) => {
                self.tally.count(Operation::Validate, Outcome::Forged);
                let guess = self.keys.is_lasting().then_some(Guess(thing));
                return Looked::Settled(Settled::Forged(guess));
            }
            Presented::Stale => {
                self.tally.count(Operation::Validate, Outcome::Forged);
                return Looked::Settled(invalid(Via::Cookie, true));
            }
            Presented::Several(via) => {
                self.tally.count(Operation::Validate, Outcome::Forged);
                return Looked::Settled(invalid(via, true));
            }
        };
        if via == Via::Cookie
            && origin::may_act(&request.method, headers)
            && !origin::is_same(request, &self.settings.allowed_origins)
        {
            self.tally.count(Operation::Validate, Outcome::Refused);
            return Looked::Settled(Settled::Refused(Reason::CROSS_SITE));
        }
        let now = self.now();
        if let Some(session) = self.known.get(&claim, now, FRESH) {
            self.tally.count(Operation::Validate, Outcome::Known);
            return Looked::Settled(Settled::Session(session, claim));
        }
        let asking = self.known.ask(&claim, now);
        Looked::Unproved(Unproved {
            claim,
            touch: !is_stream(headers),
            via,
            asking,
        })
    }

    /// Asks the store; what it says at once is there at once.
    pub(super) fn ask(&self, unproved: Unproved) -> ControlFlow<Settled, Question> {
        match self.store.prove(&unproved.claim, unproved.touch) {
            Reply::Ready(answer) => ControlFlow::Break(self.settle(unproved, answer)),
            reply => ControlFlow::Continue(Question { reply, unproved }),
        }
    }

    /// Takes the store's answer to a question.
    pub(super) fn answer(&self, question: Question, answer: Result<Proved, StoreError>) -> Settled {
        self.settle(question.unproved, answer)
    }

    /// Takes the store's answer.
    pub(super) fn settle(&self, unproved: Unproved, answer: Result<Proved, StoreError>) -> Settled {
        let Unproved {
            claim, via, asking, ..
        } = unproved;
        self.heed(answer.as_ref().err());
        let (outcome, settled) = match answer {
            Ok(Proved::Lives(session, left)) => {
                self.known.learn(asking, claim.proof, session.clone(), left);
                (Outcome::Done, Settled::Session(session, claim))
            }
            Ok(Proved::Rotated) => {
                self.known.lose(&claim);
                (Outcome::Refused, invalid(via, false))
            }
            Ok(Proved::Gone) => {
                self.known.lose(&claim);
                (Outcome::Refused, invalid(via, true))
            }
            Err(_) => self.without_store(claim),
        };
        self.tally.count(Operation::Validate, outcome);
        settled
    }

    fn without_store(&self, claim: Claim) -> (Outcome, Settled) {
        let closed = Settled::Refused(Reason::SESSIONS_UNAVAILABLE);
        match self.settings.on_store_failure {
            OnStoreFailure::Closed => (Outcome::Failed, closed),
            OnStoreFailure::Anonymous => (Outcome::Failed, Settled::Anonymous { clear: false }),
            OnStoreFailure::Known => {
                match self.known.get(&claim, self.now(), self.settings.known_for) {
                    Some(session) => (Outcome::FallenBack, Settled::Session(session, claim)),
                    None => (Outcome::Failed, closed),
                }
            }
        }
    }

    /// Writes the two lines of an outage.
    pub(super) fn heed(&self, error: Option<&StoreError>) {
        match self.fallback.heed(error) {
            Some(News::Failed(error, cause)) => tracing::warn!(
                target: "palisade::session",
                event = "sessions_fallback",
                %error,
                cause,
                mode = self.settings.on_store_failure.as_str(),
                "sessions cannot be proved: the shared store does not answer"
            ),
            Some(News::Restored) => tracing::info!(
                target: "palisade::session",
                event = "sessions_restored",
                "sessions are proved by the shared store again"
            ),
            None => {}
        }
    }
}

/// Whether a request wants a stream of events and nothing else, as browsers ask by themselves, again and again: no activity.
fn is_stream(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .is_some_and(|accepted| accepted == "text/event-stream")
}

/// What becomes of a token that opens nothing: a program is told, and a browser goes on without it.
fn invalid(via: Via, clear: bool) -> Settled {
    match via {
        Via::Cookie => Settled::Anonymous { clear },
        Via::Bearer => Settled::Refused(Reason::SESSION_INVALID),
    }
}
