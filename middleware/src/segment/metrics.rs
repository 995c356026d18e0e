//! Actions of customers, their number, and the result of their records, as metrics.

use super::{ChangeKind, ChangeResult, SegmentTally};
use crate::model::{
    Segment,
    metrics::{Instrument, Metric, Metrics},
};

impl Metrics for SegmentTally {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
            Instrument::counter(
                "customer.segment",
                "{response}",
                &["action", "country", "segment"],
                "Actions of identified customers that succeeded, by what the customers were before.",
            ),
            |tally, series| {
                for counted in tally.counts() {
                    let country = counted.country;
                    let labels = [counted.action, country.as_str(), counted.segment.as_str()];
                    series.add(&labels, counted.count);
                }
            },
        ),
        Metric::new(
            Instrument::gauge(
                "customers",
                "{customer}",
                &["segment"],
                "Known customers by segment; exported by the one process that holds the sweep.",
            ),
            |tally, series| {
                // Read once: a sweep that comes meanwhile must not be told in part.
                let Some(population) = tally.population() else {
                    return;
                };
                // No known customer is new.
                for segment in Segment::ALL.into_iter().filter(|it| *it != Segment::New) {
                    series.add(&[segment.as_str()], population.of(segment));
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "customer.unclassified",
                "{request}",
                &[],
                "Requests of identified customers that passed without a segment: the store did not answer.",
            ),
            |tally, series| series.add(&[], tally.unclassified()),
        ),
        Metric::new(
            Instrument::counter(
                "customer.changes",
                "{change}",
                &["kind", "result"],
                "Changes to customers' records by kind and by what became of them.",
            ),
            |tally, series| {
                for kind in ChangeKind::ALL {
                    for result in ChangeResult::ALL {
                        series.add(
                            &[kind.as_str(), result.as_str()],
                            tally.changes(kind, result),
                        );
                    }
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "customer.unconverted",
                "{amount}",
                &[],
                "Amounts in another currency that could not be converted and added nothing to spend.",
            ),
            |tally, series| series.add(&[], tally.unconverted()),
        ),
        Metric::new(
            Instrument::counter(
                "customer.swept",
                "{entry}",
                &["result"],
                "Index entries that this process's sweeps checked against their records, and those mended.",
            ),
            |tally, series| {
                series.add(&["checked"], tally.checked());
                series.add(&["mended"], tally.mended());
            },
        ),
    ];
}
