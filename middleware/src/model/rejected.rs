use std::sync::Arc;

use smallvec::SmallVec;

/// The reason why a request was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A quota is used up: 429.
    QuotaExceeded,
    /// The store does not answer, and a policy says to close: 503.
    StoreUnavailable,
    /// The client is [banned](crate::suspicion): 429 or 403. No policy has a part in it.
    Banned,
}

/// Marks a response as a refusal of ours, by the rate limits or a ban; an extension of the response, so that layers further out
/// can tell it from the service's own answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rejected {
    /// The reason.
    pub reason: Reason,
    /// The names of the policies that were violated, or could not be checked.
    pub policies: SmallVec<[Arc<str>; 2]>,
}

impl Rejected {
    /// A refusal for a ban.
    pub(crate) fn banned() -> Self {
        Self {
            reason: Reason::Banned,
            policies: SmallVec::new(),
        }
    }
}

/// The registered name of a reason's problem type, and its title.
pub(crate) const fn problem_type(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::QuotaExceeded => (
            "quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
        ),
        Reason::StoreUnavailable => (
            "temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
        ),
        Reason::Banned => (
            "abnormal-usage-detected",
            "Request not satisfied due to detection of abnormal request pattern",
        ),
    }
}
