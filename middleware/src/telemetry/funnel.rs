//! How many responses reached each stage of the funnel, as a counter.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::instruments::{FUNNEL_STAGE, Instruments};
use crate::funnel::Tally;
use crate::model::Country;

/// The tallies that are exported.
#[derive(Debug, Clone, Default)]
pub(super) struct Funnels(Arc<Mutex<Vec<Arc<Tally>>>>);

impl Funnels {
    pub(super) fn new(instruments: &Instruments) -> Self {
        let funnels = Self::default();
        let watched = funnels.clone();
        instruments.counter(&FUNNEL_STAGE, move |observer| {
            for ((stage, country, payment_method), count) in watched.totals() {
                let country = country.to_string();
                let values = [country.into(), payment_method.into(), stage.into()];
                observer.observe(count, &FUNNEL_STAGE.attributes(values));
            }
        });
        funnels
    }

    pub(super) fn watch(&self, tally: Arc<Tally>) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tallies.iter().any(|known| Arc::ptr_eq(known, &tally)) {
            tallies.push(tally);
        }
    }

    /// The counts by stage, country and payment method. Layers may share a stage's name, and the SDK keeps the last
    /// of two observations of one series, so they are added here.
    fn totals(&self) -> BTreeMap<(String, Country, String), u64> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = BTreeMap::new();
        for series in tallies.iter().flat_map(|tally| tally.counts()) {
            let labels = (
                series.stage.to_owned(),
                series.country,
                series.payment_method.to_owned(),
            );
            *totals.entry(labels).or_default() += series.count;
        }
        totals
    }
}
