//! A session that a request claims and that this process does not know, proved in the call that decides the request.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Extensions;
use http::request::Parts;

use super::{Answer, Asked, StoreError, UserId};

/// What a call needs to prove a session: the token's claim, as the store keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionGate {
    /// Whose session it is said to be.
    pub user: UserId,
    /// The session's id.
    pub id: [u8; 16],
    /// The hash of the token's secret.
    pub proof: [u8; 32],
    /// From which age on activity is noted; `None`: it is not.
    pub touch_every: Option<Duration>,
}

/// What such a call found.
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// No such session lives.
    Gone,
    /// The session lives, and has another secret by now.
    Rotated,
    /// The session lives, and this is its secret.
    Lives {
        /// For how long it lives yet without activity.
        left: Duration,
        /// The session, as the store that keeps it reads it.
        record: Vec<u8>,
    },
}

impl fmt::Debug for SessionGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionGate(…)")
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "Gone",
            Self::Rotated => "Rotated",
            Self::Lives { .. } => "Lives(…)",
        })
    }
}

/// A request's claim of a session. Until it is proved, nothing that it names decides or shows anything.
pub trait Claimed: Send {
    /// What is to be proved.
    fn gate(&self) -> &SessionGate;

    /// Asks the store for nothing but this.
    fn alone(self: Box<Self>, request: &mut Parts) -> Asked;

    /// Takes what a call found. Whether the request is the user's from here on.
    fn hear(&mut self, found: Result<Found, StoreError>) -> bool;

    /// Leaves what was heard for the session's layer.
    fn leave(self: Box<Self>, extensions: &mut Extensions);
}

/// A request both ways: as the user's whose session it claims, and as it is without. `None` of a way that is decided.
pub struct EitherWay<'a> {
    /// As the user's.
    pub proved: Option<&'a mut Parts>,
    /// Without the session.
    pub otherwise: Option<&'a mut Parts>,
}

/// What asking about a request both ways led to.
pub enum AskedEitherWay {
    /// The request is refused both ways, whoever it is; this is left in the request without the session.
    Refused,
    /// The call is under way.
    Waits(Box<dyn Proving>),
}

/// A call under way that proves a session and decides the request the one way or the other.
pub trait Proving: Send {
    /// What was found of the session.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, StoreError>>;

    /// What is left to await of the way that the request goes; called once the session was heard of.
    fn go(self: Box<Self>, is_users: bool) -> Box<dyn Answer>;
}
