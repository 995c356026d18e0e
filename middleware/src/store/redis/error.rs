//! The error of a call, and what it means to the breaker and to the caller.

use std::fmt;
use std::sync::Arc;

use super::answer::MalformedReply;
use crate::model::{Outcome, StoreError, StoreErrorKind};

/// Why a call brought no verdict; cheap to clone, since a batch fails as one.
///
/// No error of the Redis client is in it: what others wrote came through [`words`](super::words), which keep the password out.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Timeout,
    Refused(Refusal),
    Malformed(MalformedReply),
    /// The runtime that the call ran on went away.
    Abandoned,
}

/// What the server answered, or what happened on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) words: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// There was no answer.
    Connection,
    /// The server answers no call of ours, such as one in cluster mode or one that refuses the password.
    Unfit,
    /// The user may not run a command, or use a key.
    Denied,
    /// The key holds something of another type.
    WrongType,
    /// Any other answer.
    Other,
}

impl Refusal {
    pub(super) fn new(cause: Cause, words: impl Into<Arc<str>>) -> Self {
        let words = words.into();
        Self { cause, words }
    }

    /// Whether it stays so until somebody changes the server, although that answers.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.cause, Cause::Unfit | Cause::Denied)
    }
}

impl Failure {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout => Outcome::Timeout,
            _ => Outcome::Error,
        }
    }

    /// Whether it would have met any other call as well: no answer at all, rather than a refusal of this one.
    pub(super) fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Refused(refusal) => {
                matches!(refusal.cause, Cause::Connection | Cause::Unfit)
            }
            Self::Malformed(_) | Self::Abandoned => false,
        }
    }

    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Timeout => StoreErrorKind::Timeout,
            _ => StoreErrorKind::Failed,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer within the deadline"),
            Self::Refused(refusal) => f.write_str(&refusal.words),
            Self::Malformed(error) => error.fmt(f),
            Self::Abandoned => f.write_str("the runtime of the call was shut down"),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.kind());
        match failure {
            Failure::Timeout => error,
            Failure::Malformed(source) => error.with_source(source),
            Failure::Refused(_) | Failure::Abandoned => error.with_source(failure.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<MalformedReply> for Failure {
    fn from(error: MalformedReply) -> Self {
        Self::Malformed(error)
    }
}
