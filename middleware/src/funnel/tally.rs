use std::sync::atomic::{AtomicU64, Ordering};

use super::stage::{OTHER, Stage};
use crate::model::{Countries, Country};

/// How many responses reached each stage: a table of plain counters, all of them there from the start.
#[derive(Debug, Default)]
pub struct FunnelTally {
    stages: Box<[Series]>,
    /// Sorted. Any other country is `other`, which comes last.
    countries: Box<[Country]>,
    /// By stage, then by country, then by payment method.
    counts: Box<[AtomicU64]>,
}

/// The series of one stage.
#[derive(Debug)]
struct Series {
    stage: Box<str>,
    /// The last is `other`, for any value that is not listed, or the empty string for a stage without payment methods.
    payment_methods: Box<[Box<str>]>,
    first: usize,
}

/// One series: how many responses since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageCount<'a> {
    /// The stage's name.
    pub stage: &'a str,
    /// One of the configured countries, or [`Country::OTHER`].
    pub country: Country,
    /// One of the stage's payment methods, or `other`; empty for a stage without any.
    pub payment_method: &'a str,
    /// Responses that reached the stage.
    pub count: u64,
}

impl FunnelTally {
    pub(super) fn new(stages: &[Stage], countries: &Countries) -> Self {
        // In the order of the list, which is sorted.
        let countries: Box<[_]> = countries.iter().collect();
        let mut size = 0;
        let stages = stages.iter().map(|stage| {
            let mut payment_methods = stage.payment_methods.clone();
            let rest = if payment_methods.is_empty() {
                ""
            } else {
                OTHER
            };
            payment_methods.push(rest.into());
            let first = size;
            size += (countries.len() + 1) * payment_methods.len();
            Series {
                stage: stage.name.clone(),
                payment_methods: payment_methods.into(),
                first,
            }
        });
        Self {
            stages: stages.collect(),
            counts: (0..size).map(|_| AtomicU64::new(0)).collect(),
            countries,
        }
    }

    pub(super) fn count(&self, stage: usize, country: Country, payment_method: &str) {
        let Series {
            payment_methods,
            first,
            ..
        } = &self.stages[stage];
        let mut methods = payment_methods.iter();
        let method = methods
            .position(|method| **method == *payment_method)
            .unwrap_or(payment_methods.len() - 1);
        let country = self
            .countries
            .binary_search(&country)
            .unwrap_or(self.countries.len());
        let series = first + country * payment_methods.len() + method;
        self.counts[series].fetch_add(1, Ordering::Relaxed);
    }

    /// Every series with its count so far, those at 0 too.
    pub fn counts(&self) -> impl Iterator<Item = StageCount<'_>> {
        let countries = || self.countries.iter().copied().chain([Country::OTHER]);
        let labels = self.stages.iter().flat_map(move |series| {
            countries().flat_map(move |country| {
                let methods = series.payment_methods.iter();
                methods.map(move |method| (&*series.stage, country, &**method))
            })
        });
        labels
            .zip(&self.counts)
            .map(|((stage, country, payment_method), count)| StageCount {
                stage,
                country,
                payment_method,
                count: count.load(Ordering::Relaxed),
            })
    }
}
