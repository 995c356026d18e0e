//! `[rate_limit]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

use super::{Headers, Policy};
use crate::model::Exemptions;

/// The limits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// The policies: `ip`, `user`, then any others by name.
    pub policies: Vec<Policy>,
    /// Clients, users and routes that meet no policy.
    pub exempt: Exemptions,
    /// Which headers responses carry.
    pub headers: Headers,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            policies: vec![Policy::ip(), Policy::user()],
            exempt: Exemptions::new(),
            headers: Headers::default(),
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::{Headers, Policy, RateLimitConfig};
    use crate::ConfigError;
    use crate::model::section::{
        EXEMPT, Exempt, Keys, Mode, NETWORKS, PRESET, ROUTES, Section, Takes, USERS, in_range,
        named, named_if_any, quota, routes,
    };
    use crate::model::{Quota, Segment};
    use crate::rate_limit::{OnStoreFailure, PartitionBy};

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct RateLimit {
        ip: Option<String>,
        user: Option<String>,
        #[serde(deserialize_with = "named")]
        on_store_failure: OnStoreFailure,
        #[serde(deserialize_with = "named")]
        mode: Mode,
        #[serde(deserialize_with = "named")]
        headers: Headers,
        exempt: Exempt,
        policies: BTreeMap<String, PolicySection>,
    }

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct PolicySection {
        #[serde(deserialize_with = "named_if_any")]
        key: Option<Key>,
        quota: Option<String>,
        by_segment: BTreeMap<Segment, String>,
        cost: Option<i64>,
        routes: Vec<String>,
        #[serde(deserialize_with = "named_if_any")]
        on_store_failure: Option<OnStoreFailure>,
        #[serde(deserialize_with = "named_if_any")]
        mode: Option<Mode>,
    }

    #[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
    #[serde(rename_all = "snake_case")]
    enum Key {
        Ip,
        User,
    }

    impl Section for RateLimitConfig {
        type Written = RateLimit;

        const KEYS: Keys = &[
            ("ip", Takes::Text(Quota::ALLOWED)),
            ("user", Takes::Text(Quota::ALLOWED)),
            ("on_store_failure", Takes::Said),
            ("mode", Takes::Said),
            ("headers", Takes::Said),
            ("exempt", EXEMPT),
            ("cidrs", NETWORKS),
            ("users", USERS),
            ("routes", ROUTES),
            ("preset", PRESET),
            (
                "policies",
                Takes::Table(
                    "a table with one for each policy, such as `[rate_limit.policies.ip]`",
                ),
            ),
            ("key", Takes::Said),
            ("quota", Takes::Text(Quota::ALLOWED)),
            (
                "by_segment",
                Takes::Table("a table of quotas, such as `{ vip = \"500/1m\" }`"),
            ),
            ("new", Takes::Text(Quota::ALLOWED)),
            ("returning", Takes::Text(Quota::ALLOWED)),
            ("at_risk", Takes::Text(Quota::ALLOWED)),
            ("churned", Takes::Text(Quota::ALLOWED)),
            ("vip", Takes::Text(Quota::ALLOWED)),
            (
                "cost",
                Takes::Number("a whole number, 1 to the quota's limit"),
            ),
        ];

        fn read(mut written: RateLimit) -> Result<Self, ConfigError> {
            let exempt = written.exempt.read()?;
            let mut sections = std::mem::take(&mut written.policies);
            let mut policies = Vec::with_capacity(sections.len() + 2);
            for (default, key, short) in [
                (Policy::ip(), Key::Ip, written.ip.take()),
                (Policy::user(), Key::User, written.user.take()),
            ] {
                let name = if key == Key::Ip { "ip" } else { "user" };
                let section = sections.remove(name).unwrap_or_default();
                let at = format!("policies.{name}");
                if section.key.is_some_and(|other| other != key) {
                    let other = if key == Key::Ip { "user" } else { "ip" };
                    let allowed = format!("`{name}`, or another name for the policy");
                    return Err(ConfigError::new(format!("{at}.key"), other, allowed));
                }
                if let (Some(short), Some(_)) = (&short, &section.quota) {
                    let allowed = format!(
                        "one of `rate_limit.{name}` and `rate_limit.{at}.quota`, which mean the same"
                    );
                    return Err(ConfigError::new(name, short, allowed));
                }
                let default = match short {
                    Some(text) => default.quota(quota(name, &text)?),
                    None => default,
                };
                policies.push(written.finish(&at, default, section)?);
            }
            for (name, section) in sections {
                let at = format!("policies.{name}");
                let missing = |key: &str, allowed: &str| {
                    ConfigError::new(format!("{at}.{key}"), "(absent)", allowed)
                };
                let key = match section.key {
                    Some(Key::Ip) => PartitionBy::Ip,
                    Some(Key::User) => PartitionBy::User,
                    None => return Err(missing("key", "`ip` or `user`")),
                };
                let text = section.quota.as_deref();
                let text = text.ok_or_else(|| missing("quota", Quota::ALLOWED))?;
                let quota = quota(format!("{at}.quota"), text)?;
                policies.push(written.finish(&at, Policy::new(name, key, quota), section)?);
            }
            Ok(Self {
                policies,
                exempt,
                headers: written.headers,
            })
        }
    }

    impl RateLimit {
        /// Applies what a section says beyond name, key and shorthand.
        fn finish(
            &self,
            at: &str,
            mut policy: Policy,
            section: PolicySection,
        ) -> Result<Policy, ConfigError> {
            if let Some(text) = &section.quota {
                policy = policy.quota(quota(format!("{at}.quota"), text)?);
            }
            for (segment, text) in &section.by_segment {
                let quota = quota(format!("{at}.by_segment.{segment}"), text)?;
                policy = policy.segment_quota(*segment, quota);
            }
            if let Some(cost) = section.cost {
                let (key, most) = (format!("{at}.cost"), Quota::MAX_COST.into());
                policy = policy.cost(in_range(&key, cost, 1, most, "")?);
            }
            policy = policy
                .routes(routes(&format!("{at}.routes"), &section.routes)?)
                .on_store_failure(section.on_store_failure.unwrap_or(self.on_store_failure));
            if section.mode.unwrap_or(self.mode) == Mode::DryRun {
                policy = policy.dry_run();
            }
            policy.validate().map_err(|error| error.under("policies"))?;
            Ok(policy)
        }
    }
}
