//! The panel: the limits as an operator reads them, and their decisions.

use std::sync::Arc;

use serde::Serialize;

use super::{OnStoreFailure, PartitionBy, Policy, PolicyCounts, PolicyTally, RateLimitLayer};
use crate::model::panel::{Fields, Panel};

pub(super) struct RateLimitPanel {
    limits: Vec<Limit>,
    tally: Arc<PolicyTally>,
}

/// A policy's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Limit {
    name: String,
    /// The key: `ip`, `user` or `custom`.
    key: &'static str,
    /// Such as `200/1m`.
    quota: String,
    /// Quotas of segments: segment and quota.
    by_segment: Vec<(&'static str, String)>,
    /// As in the configuration file, such as `POST /{country}/orders`; empty: every route.
    routes: Vec<String>,
    /// `local`, `open` or `closed`.
    on_store_failure: &'static str,
    dry_run: bool,
}

/// A policy's decisions.
#[derive(Debug, Serialize)]
struct Decisions {
    admitted: u64,
    denied: u64,
    dry_run_denied: u64,
    fallback_admitted: u64,
    fallback_denied: u64,
}

impl RateLimitPanel {
    pub(super) fn new(layer: &RateLimitLayer) -> Self {
        Self {
            limits: layer.decider.policies.iter().map(Limit::of).collect(),
            tally: layer.tally(),
        }
    }
}

impl Panel for RateLimitPanel {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    fn hello(&self, fields: &mut Fields) {
        fields.add("policies", &self.limits);
    }

    /// In the order of the policies.
    fn sample(&self, fields: &mut Fields) {
        let decisions = self
            .tally
            .policies()
            .map(|(_, counts)| Decisions::of(&counts));
        fields.add("decisions", &decisions.collect::<Vec<_>>());
    }
}

impl Limit {
    fn of(policy: &Policy) -> Self {
        let by_segment = policy.by_segment.iter();
        Self {
            name: policy.name.to_string(),
            key: match policy.key {
                PartitionBy::Ip => "ip",
                PartitionBy::User => "user",
                PartitionBy::Request(_) => "custom",
            },
            quota: policy.quota.to_string(),
            by_segment: by_segment
                .map(|(segment, quota)| (segment.as_str(), quota.to_string()))
                .collect(),
            routes: policy.routes.iter().map(ToString::to_string).collect(),
            on_store_failure: match policy.on_store_failure {
                OnStoreFailure::Local => "local",
                OnStoreFailure::Open => "open",
                OnStoreFailure::Closed => "closed",
            },
            dry_run: !policy.enforced,
        }
    }
}

impl Decisions {
    fn of(counts: &PolicyCounts) -> Self {
        Self {
            admitted: counts.admitted,
            denied: counts.denied,
            dry_run_denied: counts.dry_run_denied,
            fallback_admitted: counts.fallback_admitted,
            fallback_denied: counts.fallback_denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Segment;

    #[test]
    fn tells_what_was_set() {
        let policy = Policy::new("checkout", PartitionBy::User, "5/1m".parse().unwrap())
            .segment_quota(Segment::Vip, "9/1m".parse().unwrap())
            .routes([
                "POST /{country}/orders".parse().unwrap(),
                "/health".parse().unwrap(),
            ])
            .on_store_failure(OnStoreFailure::Closed)
            .dry_run();
        let limit = Limit {
            name: "checkout".into(),
            key: "user",
            quota: "5/1m".into(),
            by_segment: vec![("vip", "9/1m".into())],
            routes: vec!["POST /{country}/orders".into(), "/health".into()],
            on_store_failure: "closed",
            dry_run: true,
        };
        assert_eq!(Limit::of(&policy), limit);
        assert_eq!(Limit::of(&Policy::ip()).quota, "200/1m");
    }
}
