use std::fmt;
use std::sync::Arc;

use crate::sync::Striped;

/// How often each policy decided what: plain counters, so that counting costs a request next to nothing.
#[derive(Debug)]
pub struct PolicyTally {
    names: Box<[Arc<str>]>,
    /// Of each policy.
    counters: Box<[Striped<6>]>,
}

/// A policy's decision about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Room, and the request was admitted: the policy was charged.
    Admitted,
    /// No room, and the request was denied.
    Denied,
    /// No room, in a dry run, and the request was admitted.
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
    /// Requests that were admitted and charged to the policy.
    pub admitted: u64,
    /// Requests that the policy denied.
    pub denied: u64,
    /// Admitted requests that the policy would have denied, had it been enforced.
    pub dry_run_denied: u64,
    /// Requests admitted while the store failed.
    pub fallback_admitted: u64,
    /// Requests denied while the store failed.
    pub fallback_denied: u64,
    /// Denials for lack of quota, whichever log found it: the sum of `denied` and the local log's.
    pub exceeded: u64,
}

const EXCEEDED: usize = 5;

impl PolicyTally {
    pub(super) fn new(policies: impl IntoIterator<Item = Arc<str>>) -> Self {
        let names: Box<[_]> = policies.into_iter().collect();
        Self {
            counters: names.iter().map(|_| Striped::default()).collect(),
            names,
        }
    }

    pub(super) fn count(&self, policy: usize, outcome: Outcome) {
        self.add(policy, outcome as usize);
    }

    pub(super) fn count_exceeded(&self, policy: usize) {
        self.add(policy, EXCEEDED);
    }

    fn add(&self, policy: usize, counter: usize) {
        self.counters[policy].add(counter, 1);
    }

    /// The policies by name, in their order, with their decisions so far.
    pub fn policies(&self) -> impl Iterator<Item = (&str, PolicyCounts)> {
        self.names
            .iter()
            .enumerate()
            .map(|(policy, name)| (&**name, self.counts(policy)))
    }

    /// A policy's decisions so far.
    pub(super) fn counts(&self, policy: usize) -> PolicyCounts {
        let sum = |counter: usize| self.counters[policy].sum(counter);
        PolicyCounts {
            admitted: sum(Outcome::Admitted as usize),
            denied: sum(Outcome::Denied as usize),
            dry_run_denied: sum(Outcome::DryRunDenied as usize),
            fallback_admitted: sum(Outcome::FallbackAdmitted as usize),
            fallback_denied: sum(Outcome::FallbackDenied as usize),
            exceeded: sum(EXCEEDED),
        }
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
