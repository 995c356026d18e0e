use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;

use super::PolicyResult;

/// `google.rpc.Code` values that a rejection can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// The reason why a request was rejected. The room that rejects has its own, such as [`Reason::QUOTA_EXCEEDED`].
///
/// ```
/// use palisade::rate_limit::Reason;
///
/// assert_eq!(Reason::QUOTA_EXCEEDED.as_str(), "quota_exceeded");
/// assert_eq!(Reason::QUOTA_EXCEEDED.status(), 429);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Reason {
    name: &'static str,
    status: StatusCode,
    pub(crate) code: Code,
    /// The [registered](https://www.iana.org/assignments/http-problem-types) problem type, and its title.
    pub(crate) problem: (&'static str, &'static str),
    pub(crate) result: PolicyResult,
}

impl Reason {
    /// A reason with its own status, problem type and verdict; `PolicyResult::None` unless it is a limit's or a ban's.
    pub(crate) const fn new(
        name: &'static str,
        status: StatusCode,
        code: Code,
        problem: (&'static str, &'static str),
        result: PolicyResult,
    ) -> Self {
        Self {
            name,
            status,
            code,
            problem,
            result,
        }
    }

    /// The same reason, told by another status.
    pub(crate) const fn told_as(mut self, status: StatusCode, code: Code) -> Self {
        self.status = status;
        self.code = code;
        self
    }

    /// How it is written, such as `quota_exceeded`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// The status of the response, unless the request is a gRPC call.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.status
    }
}

/// By name: a reason is the same by whatever status it is told.
impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Reason {}

impl Hash for Reason {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Marks a response as a refusal of ours, whichever layer refused; an extension of the response, so that layers further out
/// can tell it from the service's own answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rejected {
    /// The reason.
    pub reason: Reason,
    /// The names of the policies that were violated, or could not be checked.
    pub policies: SmallVec<[Arc<str>; 2]>,
}

/// A refusal for this reason, with no policy to name: what a service leaves in a response with which it refuses as a layer would.
///
/// ```
/// use palisade::rate_limit::{Reason, Rejected};
///
/// let mut response = http::Response::new(());
/// *response.status_mut() = Reason::CROSS_SITE.status();
/// response.extensions_mut().insert(Rejected::from(Reason::CROSS_SITE));
/// ```
impl From<Reason> for Rejected {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            policies: SmallVec::new(),
        }
    }
}
