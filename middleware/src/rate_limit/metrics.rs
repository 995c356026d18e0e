//! The policies' decisions, as metrics.

use super::PolicyTally;
use crate::model::metrics::{Instrument, Metric, Metrics};

impl Metrics for PolicyTally {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
            Instrument::counter(
                "rate_limit.requests",
                "{request}",
                &["policy", "result"],
                "Requests that a rate limit policy decided on.",
            ),
            |tally, series| {
                for (policy, counts) in tally.policies() {
                    series.add(&[policy, "admitted"], counts.admitted);
                    series.add(&[policy, "denied"], counts.denied);
                    series.add(&[policy, "dry_run_denied"], counts.dry_run_denied);
                    series.add(&[policy, "fallback_admitted"], counts.fallback_admitted);
                    series.add(&[policy, "fallback_denied"], counts.fallback_denied);
                }
            },
        ),
        Metric::new(
            Instrument::counter(
                "rate_limit.exceeded",
                "{request}",
                &["limit_type"],
                "Requests denied because a rate limit was exceeded.",
            ),
            |tally, series| {
                for (policy, counts) in tally.policies() {
                    series.add(&[policy], counts.exceeded);
                }
            },
        ),
    ];
}
