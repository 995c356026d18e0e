use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::ConfigError;
use crate::model::{Client, PartitionKey, Quota, RouteFilter, Segment, Written};

/// A limit: the requests that it counts, the key that it counts them by, and how much fits in a window.
///
/// ```
/// use palisade::rate_limit::{OnStoreFailure, PartitionBy, Policy};
///
/// let checkout = Policy::new("checkout", PartitionBy::User, "5/1m".parse()?)
///     .routes(["POST /{country}/orders".parse()?])
///     .on_store_failure(OnStoreFailure::Closed)
///     .dry_run();
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Policy {
    pub(super) name: Arc<str>,
    pub(super) key: PartitionBy,
    pub(super) quota: Quota,
    pub(super) by_segment: Vec<(Segment, Quota)>,
    pub(super) cost: Cost,
    pub(super) routes: Vec<RouteFilter>,
    pub(super) on_store_failure: OnStoreFailure,
    pub(super) enforced: bool,
}

/// The key that a policy counts by.
#[derive(Clone)]
#[non_exhaustive]
pub enum PartitionBy {
    /// The client's network: an IPv4 address, an IPv6 prefix.
    Ip,
    /// The verified user; anonymous requests do not meet the policy.
    User,
    /// Any function of the request; see [`PartitionBy::request`].
    Request(Partition),
}

/// A function that finds the key of a request.
type Partition = Arc<dyn Fn(&Parts) -> Option<PartitionKey> + Send + Sync>;

impl PartitionBy {
    /// Any function of the request; requests that yield `None` do not meet the policy.
    pub fn request(
        partition: impl Fn(&Parts) -> Option<PartitionKey> + Send + Sync + 'static,
    ) -> Self {
        Self::Request(Arc::new(partition))
    }
}

/// The cost of a request.
#[derive(Clone)]
pub(super) enum Cost {
    Fixed(u32),
    Request(Arc<dyn Fn(&Parts) -> u32 + Send + Sync>),
}

/// How a policy decides while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// Keeps limiting in this process: an outage neither blocks users nor lifts the limits.
    #[default]
    Local,
    /// Does not check the request, so that this policy refuses nothing.
    Open,
    /// Refuses the request: 503 with problem type `temporary-reduced-capacity`.
    Closed,
}

impl OnStoreFailure {
    /// How configuration files and logs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl Policy {
    /// A policy with cost 1 for every route, enforced, that falls back to this process's own log.
    ///
    /// The name labels metrics, headers and keys: 1 to 32 characters of `a-z0-9_-`, checked by the layer's
    /// builder.
    pub fn new(name: impl Into<Arc<str>>, key: PartitionBy, quota: Quota) -> Self {
        Self {
            name: name.into(),
            key,
            quota,
            by_segment: Vec::new(),
            cost: Cost::Fixed(1),
            routes: Vec::new(),
            on_store_failure: OnStoreFailure::default(),
            enforced: true,
        }
    }

    /// The default policy `ip`: 200 per minute for each client network.
    pub fn ip() -> Self {
        const LIMIT: NonZeroU32 = NonZeroU32::new(200).unwrap();
        Self::new("ip", PartitionBy::Ip, Quota::per_minute(LIMIT))
    }

    /// The default policy `user`: 60 per minute for each verified user.
    pub fn user() -> Self {
        const LIMIT: NonZeroU32 = NonZeroU32::new(60).unwrap();
        Self::new("user", PartitionBy::User, Quota::per_minute(LIMIT))
    }

    /// Another quota.
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// Another quota for customers of a segment, with the policy's own window.
    ///
    /// The segment is the request's extension of that type, which a [`Stack`](crate::stack::Stack) writes before the
    /// limits when it has the customer in its cache; without one the policy's own quota holds. If that denies the request, the
    /// customer's lookup is awaited, and the segment's quota decides. All quotas share one log, so
    /// a customer whose segment changes keeps the history.
    pub fn segment_quota(mut self, segment: Segment, quota: Quota) -> Self {
        self.by_segment.retain(|(known, _)| *known != segment);
        self.by_segment.push((segment, quota));
        self
    }

    /// A fixed cost for each request, from 1 to the quota's limit and to [`Quota::MAX_COST`], checked by the layer's builder.
    pub fn cost(mut self, cost: u32) -> Self {
        self.cost = Cost::Fixed(cost);
        self
    }

    /// A cost that depends on the request; 0 is free. A cost above the limit, or above [`Quota::MAX_COST`], is always denied,
    /// without a `Retry-After`, since it never fits.
    pub fn cost_with(mut self, cost: impl Fn(&Parts) -> u32 + Send + Sync + 'static) -> Self {
        self.cost = Cost::Request(Arc::new(cost));
        self
    }

    /// Only these routes meet the policy; without any, all do.
    pub fn routes(mut self, routes: impl IntoIterator<Item = RouteFilter>) -> Self {
        self.routes = routes.into_iter().collect();
        self
    }

    /// How the policy decides while the store does not answer.
    pub fn on_store_failure(mut self, mode: OnStoreFailure) -> Self {
        self.on_store_failure = mode;
        self
    }

    /// Decides and counts, but lets every request pass and stays out of the response's headers.
    pub fn dry_run(mut self) -> Self {
        self.enforced = false;
        self
    }

    /// The name.
    #[must_use]
    pub fn get_name(&self) -> &str {
        &self.name
    }

    /// The key that it counts by.
    #[must_use]
    pub fn get_key(&self) -> &PartitionBy {
        &self.key
    }

    /// The quota.
    #[must_use]
    pub fn get_quota(&self) -> Quota {
        self.quota
    }

    /// The quotas of segments that have one of their own.
    #[must_use]
    pub fn get_segment_quotas(&self) -> &[(Segment, Quota)] {
        &self.by_segment
    }

    /// The fixed cost of a request; `None` where it depends on the request.
    #[must_use]
    pub fn get_cost(&self) -> Option<u32> {
        match self.cost {
            Cost::Fixed(cost) => Some(cost),
            Cost::Request(_) => None,
        }
    }

    /// The routes that meet it; empty where all do.
    #[must_use]
    pub fn get_routes(&self) -> &[RouteFilter] {
        &self.routes
    }

    /// What happens when the store fails.
    #[must_use]
    pub fn get_on_store_failure(&self) -> OnStoreFailure {
        self.on_store_failure
    }

    /// Whether it only decides and counts.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        !self.enforced
    }

    /// Whether it is [`Policy::user`], with nothing said of it.
    pub(crate) fn is_default_user(&self) -> bool {
        let default = Self::user();
        self.name == default.name && self.quota == default.quota && self.routes.is_empty()
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let name = &*self.name;
        let legal =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if !(1..=32).contains(&name.len()) || !name.bytes().all(legal) {
            return Err(ConfigError::new(
                "name",
                name,
                "1 to 32 characters of `a-z0-9_-`",
            ));
        }
        for (segment, quota) in &self.by_segment {
            if quota.window() != self.quota.window() {
                let window = Written(self.quota.window());
                let allowed = format!("a quota with the policy's own window, {window}");
                let key = format!("by_segment.{segment}");
                return Err(ConfigError::new(key, quota, allowed).under(name));
            }
        }
        let highest = self.quotas().map(|quota| quota.highest_cost()).min();
        match (&self.cost, highest) {
            (Cost::Fixed(cost), Some(highest)) if *cost == 0 || *cost > highest => {
                let allowed = match highest {
                    Quota::MAX_COST => format!("1 to {highest}, whatever the quota's limit"),
                    limit => format!("1 to the quota's limit, {limit}"),
                };
                Err(ConfigError::new("cost", cost, allowed).under(name))
            }
            _ => Ok(()),
        }
    }

    /// The policy's own quota, then those of segments.
    pub(super) fn quotas(&self) -> impl Iterator<Item = Quota> {
        let by_segment = self.by_segment.iter().map(|(_, quota)| *quota);
        std::iter::once(self.quota).chain(by_segment)
    }

    /// The quota for a customer of this segment.
    pub(super) fn quota_for(&self, segment: Option<Segment>) -> Quota {
        let mut by_segment = self.by_segment.iter();
        let own = by_segment.find(|(known, _)| Some(*known) == segment);
        own.map_or(self.quota, |(_, quota)| *quota)
    }

    /// Whether a request of this client meets the policy at all.
    pub(super) fn applies(&self, request: &Parts, client: &Client) -> bool {
        self.routes.is_empty()
            || self
                .routes
                .iter()
                .any(|route| route.matches(&request.method, &client.route, &request.uri))
    }

    pub(super) fn partition(&self, request: &Parts, client: &Client) -> Option<PartitionKey> {
        match &self.key {
            PartitionBy::Ip => Some(client.network.into()),
            PartitionBy::User => client.user.clone().map(PartitionKey::from),
            PartitionBy::Request(key) => key(request),
        }
    }

    pub(super) fn cost_of(&self, request: &Parts) -> u32 {
        match &self.cost {
            Cost::Fixed(cost) => *cost,
            Cost::Request(cost) => cost(request),
        }
    }

    /// How a denial's text names the key: `IP`, or the policy's own name.
    pub(super) fn subject(&self) -> &str {
        if &*self.name == "ip" {
            "IP"
        } else {
            &self.name
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("quota", &format_args!("{}", self.quota))
            .field("enforced", &self.enforced)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PartitionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "Ip",
            Self::User => "User",
            Self::Request(_) => "Request(…)",
        })
    }
}

/// The window as a sentence needs it: `minute`, `10 minutes`, `90 seconds`.
pub(super) fn window_phrase(window: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    if window.subsec_nanos() != 0 {
        return format!("{} seconds", window.as_secs_f64());
    }
    let seconds = window.as_secs();
    let (unit, name) = UNITS
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit))
        .unwrap_or((1, "second"));
    match seconds / unit {
        1 => name.to_owned(),
        count => format!("{count} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_window_as_people_do() {
        let phrases = [
            (1, "second"),
            (60, "minute"),
            (90, "90 seconds"),
            (600, "10 minutes"),
            (3600, "hour"),
        ];
        for (seconds, phrase) in phrases {
            assert_eq!(window_phrase(Duration::from_secs(seconds)), phrase);
        }
        assert_eq!(window_phrase(Duration::from_secs(86_400)), "day");
        assert_eq!(window_phrase(Duration::from_millis(1500)), "1.5 seconds");
    }

    #[test]
    fn refuses_a_name_that_cannot_be_a_label_or_a_cost_that_never_fits() {
        let quota: Quota = "5/1m".parse().unwrap();
        for name in ["", "Ip", "a b", "a\"b", &"x".repeat(33)] {
            let error = Policy::new(name, PartitionBy::Ip, quota)
                .validate()
                .unwrap_err();
            assert_eq!(error.key(), "name");
        }
        assert!(
            Policy::new("p", PartitionBy::Ip, quota)
                .cost(0)
                .validate()
                .is_err()
        );
        assert!(
            Policy::new("p", PartitionBy::Ip, quota)
                .cost(6)
                .validate()
                .is_err()
        );
        assert!(
            Policy::new("p", PartitionBy::Ip, quota)
                .cost(5)
                .validate()
                .is_ok()
        );
        let large =
            |cost| Policy::new("p", PartitionBy::Ip, "1000000/1m".parse().unwrap()).cost(cost);
        assert!(large(Quota::MAX_COST).validate().is_ok());
        assert_eq!(
            large(Quota::MAX_COST + 1)
                .validate()
                .unwrap_err()
                .to_string(),
            "`p.cost` cannot be `10001`: allowed is 1 to 10000, whatever the quota's limit"
        );
    }
}
