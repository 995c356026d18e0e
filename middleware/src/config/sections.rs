//! The file as it is written, and its validation.

mod log;
mod place;
mod suspicion;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use self::log::Log;
use self::place::place;
use self::suspicion::Suspicion;
use super::{
    ClientConfig, Config, CountVisitors, FunnelConfig, RateLimitConfig, RedisUrl, SegmentsConfig,
    StoreConfig,
};
use crate::ConfigError;
use crate::client::ForwardedHeader;
use crate::funnel::Visitors;
use crate::model::{Cidrs, Exemptions, Quota, RouteFilter, Segment};
use crate::rate_limit::{Headers, OnStoreFailure, PartitionBy, Policy};
use crate::store::check_prefix;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    store: Store,
    client: Client,
    rate_limit: RateLimit,
    suspicion: Suspicion,
    funnel: Funnel,
    segments: Option<Segments>,
    log: Log,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Store {
    redis_url: Option<String>,
    prefix: Option<String>,
    deadline: Option<String>,
    secret_file: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Client {
    trusted_proxies: Vec<String>,
    forwarded_header: ForwardedHeader,
    ipv6_prefix: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RateLimit {
    ip: Option<String>,
    user: Option<String>,
    on_store_failure: OnStoreFailure,
    mode: Mode,
    headers: Headers,
    exempt: Exempt,
    policies: BTreeMap<String, PolicySection>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Exempt {
    cidrs: Vec<String>,
    users: Vec<String>,
    routes: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PolicySection {
    key: Option<Key>,
    quota: Option<String>,
    by_segment: BTreeMap<Segment, String>,
    cost: Option<i64>,
    routes: Vec<String>,
    on_store_failure: Option<OnStoreFailure>,
    mode: Option<Mode>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Key {
    Ip,
    User,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Enforce,
    DryRun,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Funnel {
    visitors: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Segments {
    retention: Option<String>,
    vip_spend: Option<i64>,
    vip_orders: Option<i64>,
    at_risk_after: Option<String>,
    churned_after: Option<String>,
    currency: Option<String>,
    sweep_every: Option<String>,
    enabled: Option<bool>,
}

const DURATION: &str = "a duration such as `50ms`, `1m` or `1h30m`";

impl File {
    pub(super) fn read(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let place = error
                .span()
                .map_or_else(String::new, |span| place(text, span.start));
            ConfigError::unreadable(format_args!("{place}{}", error.message().trim_end()))
        })
    }

    pub(super) fn validate(self) -> Result<Config, ConfigError> {
        Ok(Config {
            store: self.store.validate()?,
            client: self.client.validate()?,
            rate_limit: self.rate_limit.validate()?,
            suspicion: self.suspicion.validate()?,
            funnel: self.funnel.validate()?,
            segments: self.segments.map(Segments::validate).transpose()?,
            log: self.log.validate()?,
        })
    }
}

impl Store {
    fn validate(self) -> Result<StoreConfig, ConfigError> {
        let default = StoreConfig::default();
        let prefix = self.prefix.unwrap_or(default.prefix);
        check_prefix(&prefix).map_err(|error| error.under("store"))?;
        let deadline = match self.deadline {
            None => default.deadline,
            Some(text) => {
                let range = Duration::from_millis(1)..=Duration::from_secs(10);
                let allowed = "a duration of `1ms` to `10s`";
                let parsed = humantime::parse_duration(&text)
                    .ok()
                    .filter(|deadline| range.contains(deadline));
                parsed.ok_or_else(|| ConfigError::new("store.deadline", text, allowed))?
            }
        };
        let redis_url = self.redis_url.map(RedisUrl::from);
        Ok(StoreConfig {
            redis_url,
            prefix,
            deadline,
            secret_file: self.secret_file,
        })
    }
}

impl Client {
    fn validate(self) -> Result<ClientConfig, ConfigError> {
        Cidrs::parse(
            "client.trusted_proxies",
            self.trusted_proxies.iter().map(String::as_str),
        )?;
        let ipv6_prefix = match self.ipv6_prefix {
            None => ClientConfig::default().ipv6_prefix,
            Some(bits) => in_range("client.ipv6_prefix", bits, 1, 128, "bits")?,
        };
        Ok(ClientConfig {
            trusted_proxies: self.trusted_proxies,
            forwarded_header: self.forwarded_header,
            ipv6_prefix,
        })
    }
}

impl Exempt {
    fn validate(&self, at: &str) -> Result<Exemptions, ConfigError> {
        let within = |key: &str| format!("{at}.{key}");
        Ok(Exemptions::new()
            .cidrs(self.cidrs.iter().map(String::as_str))
            .map_err(|error| error.at(within("cidrs")))?
            .users(self.users.iter().map(String::as_str))
            .map_err(|error| error.at(within("users")))?
            .routes(routes(&within("routes"), &self.routes)?))
    }
}

impl RateLimit {
    fn validate(mut self) -> Result<RateLimitConfig, ConfigError> {
        let exempt = self.exempt.validate("rate_limit.exempt")?;
        let mut sections = std::mem::take(&mut self.policies);
        let mut policies = Vec::with_capacity(sections.len() + 2);
        for (default, key, short) in [
            (Policy::ip(), Key::Ip, self.ip.take()),
            (Policy::user(), Key::User, self.user.take()),
        ] {
            let name = if key == Key::Ip { "ip" } else { "user" };
            let section = sections.remove(name).unwrap_or_default();
            let at = format!("rate_limit.policies.{name}");
            if section.key.is_some_and(|written| written != key) {
                let (key, written) = (
                    format!("{at}.key"),
                    if key == Key::Ip { "user" } else { "ip" },
                );
                return Err(ConfigError::new(
                    key,
                    written,
                    format!("`{name}`, or another name for the policy"),
                ));
            }
            if let (Some(short), Some(_)) = (&short, &section.quota) {
                let allowed =
                    format!("one of `rate_limit.{name}` and `{at}.quota`, which mean the same");
                return Err(ConfigError::new(
                    format!("rate_limit.{name}"),
                    short,
                    allowed,
                ));
            }
            let default = match short {
                Some(quota) => default.quota(parse_quota(format!("rate_limit.{name}"), &quota)?),
                None => default,
            };
            policies.push(self.finish(&at, default, section)?);
        }
        for (name, section) in sections {
            let at = format!("rate_limit.policies.{name}");
            let missing = |key: &str, allowed: &str| {
                ConfigError::new(format!("{at}.{key}"), "(absent)", allowed)
            };
            let key = match section.key {
                Some(Key::Ip) => PartitionBy::Ip,
                Some(Key::User) => PartitionBy::User,
                None => return Err(missing("key", "`ip` or `user`")),
            };
            let quota = section
                .quota
                .as_deref()
                .ok_or_else(|| missing("quota", Quota::ALLOWED))?;
            let quota = parse_quota(format!("{at}.quota"), quota)?;
            policies.push(self.finish(&at, Policy::new(name, key, quota), section)?);
        }
        Ok(RateLimitConfig {
            policies,
            exempt,
            headers: self.headers,
        })
    }

    /// Applies what a section says beyond name, key and shorthand.
    fn finish(
        &self,
        at: &str,
        mut policy: Policy,
        section: PolicySection,
    ) -> Result<Policy, ConfigError> {
        if let Some(quota) = &section.quota {
            policy = policy.quota(parse_quota(format!("{at}.quota"), quota)?);
        }
        for (segment, quota) in &section.by_segment {
            let quota = parse_quota(format!("{at}.by_segment.{segment}"), quota)?;
            policy = policy.segment_quota(*segment, quota);
        }
        if let Some(cost) = section.cost {
            policy = policy.cost(in_range(
                &format!("{at}.cost"),
                cost,
                1,
                Quota::MAX_LIMIT.into(),
                "",
            )?);
        }
        policy = policy
            .routes(routes(&format!("{at}.routes"), &section.routes)?)
            .on_store_failure(section.on_store_failure.unwrap_or(self.on_store_failure));
        if section.mode.unwrap_or(self.mode) == Mode::DryRun {
            policy = policy.dry_run();
        }
        policy
            .validate()
            .map_err(|error| error.under("rate_limit.policies"))?;
        Ok(policy)
    }
}

impl Funnel {
    fn validate(self) -> Result<FunnelConfig, ConfigError> {
        let visitors = match self.visitors {
            None => CountVisitors::Unsaid,
            Some(text) if text == "off" => CountVisitors::Off,
            Some(text) => {
                let range = Visitors::LEAST_WINDOW..=Visitors::MOST_WINDOW;
                let allowed = "a duration of `1m` to `30d`, or `off`";
                let window = humantime::parse_duration(&text)
                    .ok()
                    .filter(|window| range.contains(window));
                let window =
                    window.ok_or_else(|| ConfigError::new("funnel.visitors", text, allowed))?;
                CountVisitors::Within(window)
            }
        };
        Ok(FunnelConfig { visitors })
    }
}

impl Segments {
    fn validate(self) -> Result<SegmentsConfig, ConfigError> {
        let mut config = SegmentsConfig::default();
        config.enabled = self.enabled.unwrap_or(config.enabled);
        let mut criteria = config.criteria;
        for (key, text, value) in [
            ("retention", &self.retention, &mut config.retention),
            (
                "at_risk_after",
                &self.at_risk_after,
                &mut criteria.at_risk_after,
            ),
            (
                "churned_after",
                &self.churned_after,
                &mut criteria.churned_after,
            ),
            ("sweep_every", &self.sweep_every, &mut config.sweep_every),
        ] {
            if let Some(text) = text {
                *value = humantime::parse_duration(text)
                    .map_err(|_| ConfigError::new(format!("segments.{key}"), text, DURATION))?;
            }
        }
        if criteria.churned_after <= criteria.at_risk_after {
            let (value, allowed) = (
                self.at_risk_after.unwrap_or_else(|| "30d".into()),
                "less than `segments.churned_after`",
            );
            return Err(ConfigError::new("segments.at_risk_after", value, allowed));
        }
        if config.retention <= criteria.churned_after {
            let (value, allowed) = (
                self.retention.unwrap_or_else(|| "400d".into()),
                "more than `segments.churned_after`",
            );
            return Err(ConfigError::new("segments.retention", value, allowed));
        }
        if let Some(text) = self.sweep_every
            && !(Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&config.sweep_every)
        {
            let allowed = "a duration of `1s` to `1h`";
            return Err(ConfigError::new("segments.sweep_every", text, allowed));
        }
        if let Some(spend) = self.vip_spend {
            criteria.vip_spend = in_range("segments.vip_spend", spend, 0, i64::MAX, "")?;
        }
        if let Some(orders) = self.vip_orders {
            criteria.vip_orders = in_range("segments.vip_orders", orders, 0, i64::MAX, "")?;
        }
        if let Some(code) = self.currency {
            criteria.currency = code
                .parse()
                .map_err(|error: ConfigError| error.at("segments.currency"))?;
        }
        config.criteria = criteria;
        Ok(config)
    }
}

fn parse_quota(key: String, text: &str) -> Result<Quota, ConfigError> {
    text.parse::<Quota>().map_err(|error| error.at(key))
}

fn routes(key: &str, texts: &[String]) -> Result<Vec<RouteFilter>, ConfigError> {
    texts
        .iter()
        .map(|text| text.parse::<RouteFilter>().map_err(|error| error.at(key)))
        .collect()
}

/// A number within its bounds, in a type that holds all of them.
fn in_range<T: TryFrom<i64>>(
    key: &str,
    value: i64,
    least: i64,
    most: i64,
    unit: impl Display,
) -> Result<T, ConfigError> {
    let refused = || {
        let allowed = format!("a whole number from {least} to {most} {unit}");
        ConfigError::new(key, value, allowed.trim_end())
    };
    if !(least..=most).contains(&value) {
        return Err(refused());
    }
    T::try_from(value).map_err(|_| refused())
}
