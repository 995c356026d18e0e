//! What is done to sessions, as metrics.

use super::{EndReason, SessionOperation, SessionOutcome, SessionTally};
use crate::model::AlertKind;
use crate::model::metrics::{Instrument, Metric, Metrics};

impl Metrics for SessionTally {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
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
        ),
        Metric::new(
            Instrument::gauge(
                "sessions.active",
                "{session}",
                &[],
                "Sessions that live in the store, of all processes that share it; each of them exports this number.",
            ),
            |tally, series| {
                if let Some(active) = tally.active() {
                    series.add(&[], active);
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "sessions.ended",
                "{session}",
                &["reason"],
                "Sessions that this process ended, by reason; those that expired are not among them.",
            ),
            |tally, series| {
                for reason in EndReason::ALL {
                    series.add(&[reason.as_str()], tally.ends(reason));
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "session.security_events",
                "{event}",
                &["type"],
                "Security events of sessions, by type.",
            ),
            |tally, series| {
                for kind in AlertKind::ALL {
                    series.add(&[kind.as_str()], tally.alerts(kind));
                }
            },
        ),
    ];
}
