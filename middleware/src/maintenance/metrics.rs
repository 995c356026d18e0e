//! Maintenance as metrics.

use super::MaintenanceTally;
use crate::model::metrics::{Instrument, Metric, Metrics};

impl Metrics for MaintenanceTally {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
            Instrument::counter(
                "maintenance.requests",
                "{request}",
                &["result"],
                "Requests while maintenance is on, by what became of them.",
            ),
            |tally, series| {
                series.add(&["refused"], tally.refused());
                series.add(&["exempt"], tally.exempt());
            },
        ),
        Metric::new(
            Instrument::state("maintenance.on", "Whether maintenance is on, 1 or 0."),
            |tally, series| series.add(&[], tally.is_on().into()),
        ),
    ];
}
