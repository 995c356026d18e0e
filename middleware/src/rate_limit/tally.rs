use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often each policy decided what: plain counters, so that counting costs a request next to nothing.
#[derive(Debug)]
pub struct Tally {
    policies: Box<[(Arc<str>, Counters)]>,
}

#[derive(Debug, Default)]
struct Counters([AtomicU64; 6]);

/// What a policy made of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Room, or a request that another policy denied.
    Admitted,
    /// No room, and the request was denied.
    Denied,
    /// No room, in a dry run: the request passed.
    DryRunDenied,
    /// Admitted while the store failed, by the local log or by an open failure mode.
    FallbackAdmitted,
    /// Denied while the store failed, by the local log or by a closed failure mode.
    FallbackDenied,
}

/// The counts of one policy since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PolicyCounts {
    /// Requests with room under the policy.
    pub admitted: u64,
    /// Requests that the policy denied.
    pub denied: u64,
    /// Requests that the policy would have denied, had it been enforced.
    pub dry_run_denied: u64,
    /// Requests admitted while the store failed.
    pub fallback_admitted: u64,
    /// Requests denied while the store failed.
    pub fallback_denied: u64,
    /// Denials for lack of quota, whichever log found it: the sum of `denied` and the local log's.
    pub exceeded: u64,
}

const EXCEEDED: usize = 5;

impl Tally {
    pub(super) fn new(policies: impl IntoIterator<Item = Arc<str>>) -> Self {
        let policies = policies
            .into_iter()
            .map(|name| (name, Counters::default()))
            .collect();
        Self { policies }
    }

    pub(super) fn count(&self, policy: usize, outcome: Outcome) {
        self.add(policy, outcome as usize);
    }

    pub(super) fn count_exceeded(&self, policy: usize) {
        self.add(policy, EXCEEDED);
    }

    fn add(&self, policy: usize, counter: usize) {
        self.policies[policy].1.0[counter].fetch_add(1, Ordering::Relaxed);
    }

    /// The policies by name, in their order, with what they decided so far.
    pub fn policies(&self) -> impl Iterator<Item = (&str, PolicyCounts)> {
        self.policies.iter().map(|(name, Counters(counters))| {
            let [
                admitted,
                denied,
                dry_run_denied,
                fallback_admitted,
                fallback_denied,
                exceeded,
            ] = counters
                .each_ref()
                .map(|counter| counter.load(Ordering::Relaxed));
            let counts = PolicyCounts {
                admitted,
                denied,
                dry_run_denied,
                fallback_admitted,
                fallback_denied,
                exceeded,
            };
            (&**name, counts)
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admitted => "admitted",
            Self::Denied => "denied",
            Self::DryRunDenied => "dry_run_denied",
            Self::FallbackAdmitted => "fallback_admitted",
            Self::FallbackDenied => "fallback_denied",
        })
    }
}
