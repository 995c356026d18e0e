//! How many visitors reached each stage of the funnel, and how long each step took.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::Histogram;

use super::instruments::{FUNNEL_REACHES, FUNNEL_STEP, FUNNEL_VISITORS, Instruments};
use crate::funnel::{Fate, VisitorTally};
use crate::model::Country;

/// The tallies that are exported, and the steps' instrument.
#[derive(Clone)]
pub(super) struct VisitorMetrics {
    tallies: Arc<Mutex<Vec<Arc<VisitorTally>>>>,
    steps: Histogram<f64>,
}

impl VisitorMetrics {
    pub(super) fn new(instruments: &Instruments) -> Self {
        let metrics = Self {
            tallies: Arc::default(),
            steps: instruments.histogram(&FUNNEL_STEP),
        };
        let visitors = metrics.clone();
        instruments.counter(&FUNNEL_VISITORS, move |observer| {
            for ((stage, country), count) in visitors.totals() {
                let values = [country.to_string().into(), stage.into()];
                observer.observe(count, &FUNNEL_VISITORS.attributes(values));
            }
        });
        let reaches = metrics.clone();
        instruments.counter(&FUNNEL_REACHES, move |observer| {
            for fate in Fate::ALL {
                if let Some(count) = reaches.sum(fate) {
                    let attributes = FUNNEL_REACHES.attributes([fate.as_str().into()]);
                    observer.observe(count, &attributes);
                }
            }
        });
        metrics
    }

    pub(super) fn watch(&self, tally: Arc<VisitorTally>) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if !tallies.iter().any(|known| Arc::ptr_eq(known, &tally)) {
            tallies.push(tally);
        }
    }

    pub(super) fn record(&self, from: &str, to: &str, took: Duration) {
        let values = [from.to_owned().into(), to.to_owned().into()];
        let attributes = FUNNEL_STEP.attributes(values);
        self.steps.record(took.as_secs_f64(), &attributes);
    }

    /// Layers may share a stage's name, and the SDK keeps the last of two observations of one series, so they are
    /// added here.
    fn totals(&self) -> BTreeMap<(String, Country), u64> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = BTreeMap::new();
        for series in tallies.iter().flat_map(|tally| tally.counts()) {
            let labels = (series.stage.to_owned(), series.country);
            *totals.entry(labels).or_default() += series.count;
        }
        totals
    }

    /// All layers taken together; none when none is watched.
    fn sum(&self, fate: Fate) -> Option<u64> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let reaches = tallies.iter().map(|tally| tally.reaches(fate));
        reaches.reduce(|a, b| a + b)
    }
}

impl fmt::Debug for VisitorMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisitorMetrics").finish_non_exhaustive()
    }
}
