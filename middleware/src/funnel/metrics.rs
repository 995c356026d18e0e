//! Stages reached, visitors and the time between stages, as metrics.

use std::time::Duration;

#[cfg(doc)]
use super::Visitors;
use super::{FunnelTally, ReachResult, VisitorTally};
use crate::model::metrics::{Durations, Instrument, Metric, Metrics, Stopwatch};

impl Metrics for FunnelTally {
    const METRICS: &'static [Metric<Self>] = &[Metric::new(
        Instrument::counter(
            "funnel.stage",
            "{response}",
            &["country", "payment_method", "stage"],
            "Responses that reached a stage of the funnel.",
        ),
        |tally, series| {
            for counted in tally.counts() {
                let country = counted.country;
                let labels = [country.as_str(), counted.payment_method, counted.stage];
                series.add(&labels, counted.count);
            }
        },
    )];
}

impl Metrics for VisitorTally {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
            Instrument::counter(
                "funnel.visitors",
                "{visitor}",
                &["country", "stage"],
                "Visitors who reached a stage of the funnel after the stages before it, each once in a window.",
            ),
            |tally, series| {
                for counted in tally.counts() {
                    let country = counted.country;
                    series.add(&[country.as_str(), counted.stage], counted.count);
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "funnel.reaches",
                "{response}",
                &["result"],
                "Responses that reached a stage of the funnel, by whether they counted for their visitor.",
            ),
            |tally, series| {
                for result in ReachResult::ALL {
                    series.add(&[result.as_str()], tally.reaches(result));
                }
            },
        ),
    ];
}

/// How long visitors take from the first reach of a stage to that of the next; for [`Visitors::observer`].
#[derive(Debug)]
pub struct Steps;

impl Durations for Steps {
    // From a script's half second to the longest that one window of a day holds.
    const INSTRUMENT: &'static Instrument = &Instrument::histogram(
        "funnel.step.duration",
        &["from", "to"],
        &[
            0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
            21_600.0, 43_200.0, 86_400.0,
        ],
        "Time from a visitor's first reach of a stage of the funnel to that of the next.",
    );
    type Observer = dyn Fn(&str, &str, Duration) + Send + Sync;

    fn observer(stopwatch: Box<Stopwatch>) -> Box<Self::Observer> {
        Box::new(move |from, to, took| {
            stopwatch(&[from.to_owned().into(), to.to_owned().into()], took);
        })
    }
}
