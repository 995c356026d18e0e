use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::action::Actions;
use super::{Event, Population};
use crate::model::{Countries, Country, Segment};
use crate::segment::store::Sweep;

/// The counts of a layer since start: a table of plain counters, all of them there from the start.
#[derive(Debug, Default)]
pub struct SegmentTally {
    actions: Box<[Box<str>]>,
    /// Sorted. Any other country is `other`, which comes last.
    countries: Box<[Country]>,
    /// By segment, then by action, then by country.
    counts: Box<[AtomicU64]>,
    unclassified: AtomicU64,
    unconverted: AtomicU64,
    changes: [[AtomicU64; ChangeResult::ALL.len()]; ChangeKind::ALL.len()],
    checked: AtomicU64,
    mended: AtomicU64,
    population: Mutex<Option<Held>>,
}

/// The population, as long as this process holds the sweep.
#[derive(Debug)]
struct Held {
    population: Population,
    since: Instant,
    lease: Duration,
}

/// One series: how often customers of a segment did something in a country since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActionCount<'a> {
    /// The customers' segment before the request.
    pub segment: Segment,
    /// One of the declared actions.
    pub action: &'a str,
    /// One of the configured countries, or [`Country::OTHER`].
    pub country: Country,
    /// Successful responses.
    pub count: u64,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The customer was seen.
    Activity,
    /// An order.
    Order,
    /// A refund.
    Refund,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeResult {
    /// The store has it.
    Written,
    /// The store had counted it before, or has erased the customer since.
    Repeated,
    /// The amount was below zero or beyond 2^53 - 1: not recorded.
    Refused,
    /// The queue to the store had no room for it, or its layer is gone and the store did not take it.
    Lost,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Activity, Self::Order, Self::Refund];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Order => "order",
            Self::Refund => "refund",
        }
    }
}

impl From<&Event> for ChangeKind {
    fn from(event: &Event) -> Self {
        match event {
            Event::Activity => Self::Activity,
            Event::Order { .. } => Self::Order,
            Event::Refund { .. } => Self::Refund,
        }
    }
}

impl ChangeResult {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Written, Self::Repeated, Self::Refused, Self::Lost];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

impl SegmentTally {
    pub(super) fn new(actions: &Actions, countries: &Countries) -> Self {
        let actions: Box<[Box<str>]> = actions.names().map(Into::into).collect();
        // In the order of the list, which is sorted.
        let countries: Box<[_]> = countries.iter().collect();
        let size = Segment::ALL.len() * actions.len() * (countries.len() + 1);
        Self {
            counts: (0..size).map(|_| AtomicU64::new(0)).collect(),
            actions,
            countries,
            ..Self::default()
        }
    }

    pub(super) fn count(&self, segment: Segment, action: usize, country: Country) {
        let country = self
            .countries
            .binary_search(&country)
            .unwrap_or(self.countries.len());
        let row = segment as usize * self.actions.len() + action;
        self.counts[row * (self.countries.len() + 1) + country].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unclassify(&self) {
        self.unclassified.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave_unconverted(&self) -> u64 {
        self.unconverted.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns how many had this result before.
    pub(super) fn add(&self, kind: ChangeKind, result: ChangeResult) -> u64 {
        self.changes[kind as usize][result as usize].fetch_add(1, Ordering::Release)
    }

    /// How many changes the store has taken.
    pub(super) fn taken(&self) -> u64 {
        ChangeKind::ALL
            .into_iter()
            .flat_map(|kind| {
                [ChangeResult::Written, ChangeResult::Repeated]
                    .map(|result| self.changes(kind, result))
            })
            .sum()
    }

    /// A sweep that was asked for at that moment; `None` when another process holds the lease.
    pub(super) fn swept(&self, sweep: Option<&Sweep>, asked: Instant, lease: Duration) {
        let held = sweep.map(|sweep| {
            self.checked.fetch_add(sweep.checked, Ordering::Relaxed);
            self.mended.fetch_add(sweep.mended, Ordering::Relaxed);
            Held {
                population: sweep.population,
                since: asked,
                lease,
            }
        });
        *self
            .population
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// This process counts the population no more.
    pub(super) fn leave_population(&self) {
        *self
            .population
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Every series with its count so far, those at 0 too.
    pub fn counts(&self) -> impl Iterator<Item = ActionCount<'_>> {
        let countries = || self.countries.iter().copied().chain([Country::OTHER]);
        let labels = Segment::ALL.into_iter().flat_map(move |segment| {
            let actions = self.actions.iter();
            actions.flat_map(move |action| {
                countries().map(move |country| (segment, &**action, country))
            })
        });
        labels
            .zip(&self.counts)
            .map(|((segment, action, country), count)| ActionCount {
                segment,
                action,
                country,
                count: count.load(Ordering::Relaxed),
            })
    }

    /// Requests of identified customers that passed without a segment, because the store did not answer.
    #[must_use]
    pub fn unclassified(&self) -> u64 {
        self.unclassified.load(Ordering::Relaxed)
    }

    /// Amounts in another currency that could not be converted, and so added nothing to spend.
    #[must_use]
    pub fn unconverted(&self) -> u64 {
        self.unconverted.load(Ordering::Relaxed)
    }

    /// Changes by how they ended; changes that still wait are not counted.
    #[must_use]
    pub fn changes(&self, kind: ChangeKind, result: ChangeResult) -> u64 {
        self.changes[kind as usize][result as usize].load(Ordering::Acquire)
    }

    /// Index entries that this process's sweeps checked.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    /// Index entries that this process's sweeps mended or dropped.
    #[must_use]
    pub fn mended(&self) -> u64 {
        self.mended.load(Ordering::Relaxed)
    }

    /// The population as of the last sweep; `None` where another process sweeps, or nobody has for three intervals.
    #[must_use]
    pub fn population(&self) -> Option<Population> {
        let population = self
            .population
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held = population.as_ref()?;
        (held.since.elapsed() < held.lease).then_some(held.population)
    }
}
