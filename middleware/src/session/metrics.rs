//! What is done to sessions, as metrics.

use super::{SessionOperation, SessionOutcome, SessionTally};
use crate::model::metrics::{Instrument, Metric, Metrics};

impl Metrics for SessionTally {
    const METRICS: &'static [Metric<Self>] = &[Metric::new(
        Instrument::counter(
            "session.operations",
            "{operation}",
            &["operation", "outcome"],
            "What was done to sessions, by how it went.",
        ),
        |tally, series| {
            for operation in SessionOperation::ALL {
                for outcome in SessionOutcome::ALL {
                    let count = tally.operations(operation, outcome);
                    series.add(&[operation.as_str(), outcome.as_str()], count);
                }
            }
        },
    )];
}
