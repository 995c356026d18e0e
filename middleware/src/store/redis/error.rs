//! The error of a call, and what it means to the breaker and to the caller.

use std::fmt;

use deadpool_redis::PoolError;
use redis::{ErrorKind, RedisError};

use super::answer::MalformedReply;
use crate::model::{Outcome, StoreError, StoreErrorKind};

/// Why a call brought no verdict; cheap to clone, since a batch fails as one.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Timeout,
    Server(RedisError),
    Malformed(MalformedReply),
    /// The runtime that the call ran on went away.
    Abandoned,
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
            Self::Server(error) => {
                !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
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
            Self::Server(error) => error.fmt(f),
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
            Failure::Server(source) => error.with_source(source),
            Failure::Malformed(source) => error.with_source(source),
            Failure::Abandoned => error.with_source(failure.to_string()),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Server(error)
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::Timeout,
            _ => Self::Abandoned,
        }
    }
}

impl From<MalformedReply> for Failure {
    fn from(error: MalformedReply) -> Self {
        Self::Malformed(error)
    }
}
