//! A policy as an operator reads it.

use super::{OnStoreFailure, PartitionBy, Policy, RateLimitLayer};
use crate::segment::Segment;

/// What a policy is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    /// `ip`, `user` or `custom`.
    pub(crate) key: &'static str,
    pub(crate) quota: String,
    pub(crate) by_segment: Vec<(Segment, String)>,
    /// As in the configuration file.
    pub(crate) routes: Vec<String>,
    /// `local`, `open` or `closed`.
    pub(crate) on_store_failure: &'static str,
    pub(crate) dry_run: bool,
}

impl RateLimitLayer {
    /// The policies in their order.
    pub(crate) fn describe(&self) -> Vec<Described> {
        self.decider.policies.iter().map(Policy::describe).collect()
    }
}

impl Policy {
    fn describe(&self) -> Described {
        let by_segment = self.by_segment.iter();
        Described {
            name: self.name.to_string(),
            key: match self.key {
                PartitionBy::Ip => "ip",
                PartitionBy::User => "user",
                PartitionBy::Request(_) => "custom",
            },
            quota: self.quota.to_string(),
            by_segment: by_segment
                .map(|(segment, quota)| (*segment, quota.to_string()))
                .collect(),
            routes: self.routes.iter().map(ToString::to_string).collect(),
            on_store_failure: match self.on_store_failure {
                OnStoreFailure::Local => "local",
                OnStoreFailure::Open => "open",
                OnStoreFailure::Closed => "closed",
            },
            dry_run: !self.enforced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let described = Described {
            name: "checkout".into(),
            key: "user",
            quota: "5/1m".into(),
            by_segment: vec![(Segment::Vip, "9/1m".into())],
            routes: vec!["POST /{country}/orders".into(), "/health".into()],
            on_store_failure: "closed",
            dry_run: true,
        };
        assert_eq!(policy.describe(), described);
        assert_eq!(Policy::ip().describe().quota, "200/1m");
    }
}
