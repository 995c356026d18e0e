use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{Countries, Country};

/// How many visitors reached each stage: plain counters, all of them there from the start.
#[derive(Debug)]
pub struct VisitorTally {
    stages: Box<[Box<str>]>,
    /// Sorted. Any other country is `other`, which comes last.
    countries: Box<[Country]>,
    /// By stage, then by country.
    counts: Box<[AtomicU64]>,
    reaches: [AtomicU64; ReachResult::ALL.len()],
}

/// One series: how many visitors since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VisitorCount<'a> {
    /// The stage's name.
    pub stage: &'a str,
    /// One of the configured countries, or [`Country::OTHER`].
    pub country: Country,
    /// Visitors who reached the stage, each once in a window.
    pub count: u64,
}

/// How a response that reached a stage was counted for its visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReachResult {
    /// The visitor's first in the window, after the stage before: counted.
    Counted,
    /// The visitor's stage was counted before, or the same reach was brought to the store less than a second ago.
    Repeated,
    /// The visitor had not reached the stage before.
    OutOfOrder,
    /// Not counted: the queue was full, or the reach had waited there for too long, or the store had no room for a new visitor.
    Dropped,
    /// The store failed: not counted here, though a call that timed out may have been executed.
    Failed,
}

impl ReachResult {
    /// Every result.
    pub const ALL: [Self; 5] = [
        Self::Counted,
        Self::Repeated,
        Self::OutOfOrder,
        Self::Dropped,
        Self::Failed,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Repeated => "repeated",
            Self::OutOfOrder => "out_of_order",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

impl VisitorTally {
    pub(super) fn new(stages: Box<[Box<str>]>, countries: &Countries) -> Self {
        let countries: Box<[_]> = countries.iter().collect();
        let series = stages.len() * (countries.len() + 1);
        Self {
            stages,
            countries,
            counts: (0..series).map(|_| AtomicU64::new(0)).collect(),
            reaches: Default::default(),
        }
    }

    pub(super) fn count(&self, stage: usize, country: Country) {
        let country = self
            .countries
            .binary_search(&country)
            .unwrap_or(self.countries.len());
        let series = stage * (self.countries.len() + 1) + country;
        if let Some(count) = self.counts.get(series) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A reader of the results also sees the visitors that they stand for.
    pub(super) fn add(&self, result: ReachResult, reaches: usize) {
        self.reaches[result as usize].fetch_add(reaches as u64, Ordering::Release);
    }

    pub(super) fn stage(&self, stage: usize) -> Option<&str> {
        self.stages.get(stage).map(|name| &**name)
    }

    /// Responses that reached a stage, by how they were counted; those that still wait are left out.
    #[must_use]
    pub fn reaches(&self, result: ReachResult) -> u64 {
        self.reaches[result as usize].load(Ordering::Acquire)
    }

    /// Every series with its count so far, those at 0 too.
    pub fn counts(&self) -> impl Iterator<Item = VisitorCount<'_>> {
        let countries = || self.countries.iter().copied().chain([Country::OTHER]);
        let labels = self
            .stages
            .iter()
            .flat_map(move |stage| countries().map(move |country| (&**stage, country)));
        labels
            .zip(&self.counts)
            .map(|((stage, country), count)| VisitorCount {
                stage,
                country,
                count: count.load(Ordering::Relaxed),
            })
    }
}
