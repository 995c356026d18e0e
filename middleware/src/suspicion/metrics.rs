//! Failures, incidents and bans, as metrics.

use super::{BanReason, Fate, Kind, Tally, Turned};
use crate::model::metrics::{Instrument, Metric, Metrics};

impl Metrics for Tally {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
            Instrument::counter(
                "security.suspicious_activity",
                "{incident}",
                &["type"],
                "Incidents: clients whose failures reached a threshold, and again for each window that they go on.",
            ),
            |tally, series| {
                for kind in Kind::ALL {
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
                for fate in Fate::ALL {
                    series.add(&[fate.as_str()], tally.failures(fate));
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
