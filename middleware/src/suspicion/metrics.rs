//! Failures, incidents and bans, as metrics.

use super::{BanReason, FailureResult, IncidentKind, SuspicionTally, Turned};
use crate::model::metrics::{Instrument, Metric, Metrics};

impl Metrics for SuspicionTally {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
            Instrument::counter(
                "security.suspicious_activity",
                "{incident}",
                &["type"],
                "Incidents: clients whose failures reached a threshold, and again for each window that they go on.",
            ),
            |tally, series| {
                for kind in IncidentKind::ALL {
                    series.add(&[kind.as_str()], tally.incidents(kind));
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "security.failures",
                "{request}",
                &["result"],
                "Failed requests by whether they were counted towards suspicious activity.",
            ),
            |tally, series| {
                for result in FailureResult::ALL {
                    series.add(&[result.as_str()], tally.failures(result));
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "security.bans",
                "{ban}",
                &["reason"],
                "Bans that this process imposed, by what for.",
            ),
            |tally, series| {
                for reason in BanReason::all() {
                    series.add(&[reason.as_str()], tally.bans(reason));
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "security.banned_requests",
                "{request}",
                &["result"],
                "Requests of banned clients, by whether they were refused.",
            ),
            |tally, series| {
                for turned in Turned::ALL {
                    series.add(&[turned.as_str()], tally.turned(turned));
                }
            },
        ),
    ];
}
