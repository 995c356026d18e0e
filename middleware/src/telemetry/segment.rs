//! What customers do by segment, how many there are, and whether their records are kept.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::instruments::{
    CUSTOMER_CHANGES, CUSTOMER_SEGMENT, CUSTOMER_SWEPT, CUSTOMER_UNCLASSIFIED,
    CUSTOMER_UNCONVERTED, CUSTOMERS, Instruments,
};
use crate::model::{Country, Segment};
use crate::segment::{ChangeKind, Fate, Population, Tally};

/// The tallies that are exported.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments(Arc<Mutex<Vec<Arc<Tally>>>>);

impl Segments {
    pub(super) fn new(instruments: &Instruments) -> Self {
        let segments = Self::default();
        let watched = segments.clone();
        instruments.counter(&CUSTOMER_SEGMENT, move |observer| {
            for ((segment, action, country), count) in watched.totals() {
                let country = country.to_string();
                let values = [action.into(), country.into(), segment.as_str().into()];
                observer.observe(count, &CUSTOMER_SEGMENT.attributes(values));
            }
        });
        let watched = segments.clone();
        instruments.gauge(&CUSTOMERS, move |observer| {
            // Read once: a sweep that comes meanwhile must not be told in part.
            let populations = watched.populations();
            if populations.is_empty() {
                return;
            }
            // Nobody who is known is new.
            for segment in Segment::ALL.into_iter().filter(|it| *it != Segment::New) {
                let counts = populations.iter().map(|population| population.of(segment));
                let attributes = CUSTOMERS.attributes([segment.as_str().into()]);
                observer.observe(counts.sum(), &attributes);
            }
        });
        let watched = segments.clone();
        instruments.counter(&CUSTOMER_UNCLASSIFIED, move |observer| {
            if let Some(count) = watched.sum(|tally| Some(tally.unclassified())) {
                observer.observe(count, &[]);
            }
        });
        let watched = segments.clone();
        instruments.counter(&CUSTOMER_CHANGES, move |observer| {
            for kind in ChangeKind::ALL {
                for fate in Fate::ALL {
                    if let Some(count) = watched.sum(|tally| Some(tally.changes(kind, fate))) {
                        let values = [kind.as_str().into(), fate.as_str().into()];
                        observer.observe(count, &CUSTOMER_CHANGES.attributes(values));
                    }
                }
            }
        });
        let watched = segments.clone();
        instruments.counter(&CUSTOMER_UNCONVERTED, move |observer| {
            if let Some(count) = watched.sum(|tally| Some(tally.unconverted())) {
                observer.observe(count, &[]);
            }
        });
        let watched = segments.clone();
        instruments.counter(&CUSTOMER_SWEPT, move |observer| {
            for (result, of) in [
                ("checked", Tally::checked as fn(&Tally) -> u64),
                ("mended", Tally::mended),
            ] {
                if let Some(count) = watched.sum(|tally| Some(of(tally))) {
                    observer.observe(count, &CUSTOMER_SWEPT.attributes([result.into()]));
                }
            }
        });
        segments
    }

    pub(super) fn watch(&self, tally: Arc<Tally>) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tallies.iter().any(|known| Arc::ptr_eq(known, &tally)) {
            tallies.push(tally);
        }
    }

    /// The populations that this process counts.
    fn populations(&self) -> Vec<Population> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.iter().filter_map(|it| it.population()).collect()
    }

    /// All layers taken together; none when none has a value.
    fn sum(&self, of: impl Fn(&Tally) -> Option<u64>) -> Option<u64> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies
            .iter()
            .filter_map(|tally| of(tally))
            .reduce(|a, b| a + b)
    }

    /// The counts by segment, action and country. Layers may share an action's name, and the SDK keeps the last of two
    /// observations of one series, so they are added here.
    fn totals(&self) -> BTreeMap<(Segment, String, Country), u64> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = BTreeMap::new();
        for series in tallies.iter().flat_map(|tally| tally.counts()) {
            let labels = (series.segment, series.action.to_owned(), series.country);
            *totals.entry(labels).or_default() += series.count;
        }
        totals
    }
}
