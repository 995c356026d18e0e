use std::sync::atomic::{AtomicU64, Ordering};

use super::{BanReason, IncidentKind};

/// The counts of a layer since start: plain counters.
#[derive(Debug, Default)]
pub struct SuspicionTally {
    incidents: [AtomicU64; IncidentKind::ALL.len()],
    failures: [AtomicU64; 3],
    /// By kind, and by hand.
    bans: [AtomicU64; IncidentKind::ALL.len() + 1],
    turned: [AtomicU64; 2],
}

/// How a failed request, or a login, was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureResult {
    /// Counted by the store.
    Counted,
    /// The store failed, or had no room for a new client: counted in the memory of this process.
    CountedLocally,
    /// Not counted: the queue was full, or the runtime ended.
    Dropped,
}

impl FailureResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Counted, Self::CountedLocally, Self::Dropped];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::CountedLocally => "counted_locally",
            Self::Dropped => "dropped",
        }
    }
}

/// How a banned client's request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Turned {
    /// Refused.
    Denied,
    /// Let pass, since bans are a dry run.
    DryRunDenied,
}

impl Turned {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Denied, Self::DryRunDenied];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::DryRunDenied => "dry_run_denied",
        }
    }
}

impl SuspicionTally {
    pub(super) fn ban(&self, reason: BanReason) {
        self.bans[reason.place()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn turn(&self, turned: Turned) {
        self.turned[turned as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Bans that this process imposed.
    #[must_use]
    pub fn bans(&self, reason: BanReason) -> u64 {
        self.bans[reason.place()].load(Ordering::Relaxed)
    }

    /// Requests of banned clients.
    #[must_use]
    pub fn turned(&self, turned: Turned) -> u64 {
        self.turned[turned as usize].load(Ordering::Relaxed)
    }

    pub(super) fn report(&self, kind: IncidentKind) {
        self.incidents[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A reader of the count also sees the incidents of the failures in it.
    pub(super) fn add(&self, result: FailureResult, failures: usize) {
        self.failures[result as usize].fetch_add(failures as u64, Ordering::Release);
    }

    /// Incidents of a kind.
    #[must_use]
    pub fn incidents(&self, kind: IncidentKind) -> u64 {
        self.incidents[kind as usize].load(Ordering::Relaxed)
    }

    /// Failed requests, and logins that a kind counts, by how they were counted; those that still wait are left out.
    #[must_use]
    pub fn failures(&self, result: FailureResult) -> u64 {
        self.failures[result as usize].load(Ordering::Acquire)
    }
}
