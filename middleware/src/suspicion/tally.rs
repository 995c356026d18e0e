use std::sync::atomic::{AtomicU64, Ordering};

use super::Kind;

/// What a layer has seen since start: plain counters.
#[derive(Debug, Default)]
pub struct Tally {
    incidents: [AtomicU64; Kind::ALL.len()],
    failures: [AtomicU64; 3],
}

/// What became of a failed request, or of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// Counted by the store.
    Counted,
    /// The store failed: counted in the memory of this process.
    CountedLocally,
    /// Not counted: the queue was full, or the runtime ended.
    Dropped,
}

impl Fate {
    /// Every fate.
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

impl Tally {
    pub(super) fn report(&self, kind: Kind) {
        self.incidents[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whoever reads the count sees the incidents of the failures that it holds too.
    pub(super) fn settle(&self, fate: Fate, failures: usize) {
        self.failures[fate as usize].fetch_add(failures as u64, Ordering::Release);
    }

    /// Incidents of a kind.
    #[must_use]
    pub fn incidents(&self, kind: Kind) -> u64 {
        self.incidents[kind as usize].load(Ordering::Relaxed)
    }

    /// Failed requests, and logins that a kind counts, by what became of them; those that still wait are in none.
    #[must_use]
    pub fn failures(&self, fate: Fate) -> u64 {
        self.failures[fate as usize].load(Ordering::Acquire)
    }
}
