//! The file as it is written, and its validation.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{
    BansConfig, ClientConfig, Config, CountVisitors, FunnelConfig, RateLimitConfig, RedisUrl,
    SegmentsConfig, StoreConfig, SuspicionConfig,
};
use crate::client::ForwardedHeader;
use crate::funnel::Visitors;
use crate::rate_limit::{
    Exemptions, Headers, OnStoreFailure, PartitionBy, Policy, Quota, RouteFilter,
};
use crate::segment::Segment;
use crate::suspicion::{BanResponse, Kind, Sentence, Threshold};
use crate::{Cidrs, ConfigError};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    store: Store,
    client: Client,
    rate_limit: RateLimit,
    suspicion: Suspicion,
    funnel: Funnel,
    segments: Option<Segments>,
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
struct Suspicion {
    credential_stuffing: Option<String>,
    endpoint_scanning: Option<String>,
    abuse: Option<String>,
    credential_stuffing_slow: Option<String>,
    password_spraying: Option<String>,
    distributed_stuffing: Option<String>,
    success_after_failures: Option<String>,
    exempt: Exempt,
    hash_clients: bool,
    bans: Option<Bans>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Bans {
    r#for: Option<String>,
    longest: Option<String>,
    jitter: Option<i64>,
    kinds: Option<Vec<String>>,
    response: BanResponse,
    mode: Mode,
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
        })
    }
}

impl Store {
    fn validate(self) -> Result<StoreConfig, ConfigError> {
        let default = StoreConfig::default();
        let prefix = self.prefix.unwrap_or(default.prefix);
        // Braces would make a Cluster hash tag of the prefix, and send every key to one slot.
        let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'{' | b'}');
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(legal) {
            let allowed = "1 to 64 visible ASCII characters without `{` and `}`";
            return Err(ConfigError::new("store.prefix", prefix, allowed));
        }
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

impl Suspicion {
    fn validate(self) -> Result<SuspicionConfig, ConfigError> {
        let written = [
            (Kind::CredentialStuffing, self.credential_stuffing),
            (Kind::EndpointScanning, self.endpoint_scanning),
            (Kind::Abuse, self.abuse),
            (Kind::CredentialStuffingSlow, self.credential_stuffing_slow),
            (Kind::PasswordSpraying, self.password_spraying),
            (Kind::DistributedStuffing, self.distributed_stuffing),
            (Kind::SuccessAfterFailures, self.success_after_failures),
        ];
        let mut thresholds = Vec::with_capacity(written.len());
        for (kind, text) in written {
            match text.as_deref() {
                None if kind.is_of_logins() => {}
                None => thresholds.push((kind, kind.default_threshold())),
                Some("off") => {}
                Some(text) => thresholds.push((kind, parse_threshold(kind, text)?)),
            }
        }
        let counted = thresholds.iter().map(|(kind, _)| *kind);
        let counted: Vec<_> = counted.filter(|kind| kind.names_its_client()).collect();
        let bans = self.bans.map(|bans| bans.validate(&counted)).transpose()?;
        Ok(SuspicionConfig {
            thresholds,
            exempt: self.exempt.validate("suspicion.exempt")?,
            hash_clients: self.hash_clients,
            bans,
        })
    }
}

impl Bans {
    fn validate(self, counted: &[Kind]) -> Result<BansConfig, ConfigError> {
        const AT: &str = "suspicion.bans";
        let default = Sentence::default();
        let read = |key: &str, text: Option<String>, default| match text {
            None => Ok(default),
            Some(text) => humantime::parse_duration(&text)
                .map_err(|_| ConfigError::new(format!("{AT}.{key}"), text, DURATION)),
        };
        let longest = read("longest", self.longest, default.longest())?;
        // What is not written follows a maximum that is shorter.
        let first = read("for", self.r#for, default.first().min(longest))?;
        let mut sentence = Sentence::new(first, longest).map_err(|error| error.under(AT))?;
        if let Some(percent) = self.jitter {
            let percent = in_range("suspicion.bans.jitter", percent, 0, 100, "percent")?;
            sentence = sentence.jitter(percent).map_err(|error| error.under(AT))?;
        }
        let kinds = match self.kinds {
            None => counted.to_vec(),
            Some(names) => {
                let read = |name: String| {
                    let kind = counted.iter().find(|kind| kind.as_str() == name);
                    kind.copied().ok_or_else(|| {
                        let counted: Vec<_> = counted.iter().map(|kind| kind.as_str()).collect();
                        let allowed = format!(
                            "a kind that is not `off` and says something of its client: {}",
                            counted.join(", ")
                        );
                        ConfigError::new("suspicion.bans.kinds", name, allowed)
                    })
                };
                names.into_iter().map(read).collect::<Result<_, _>>()?
            }
        };
        Ok(BansConfig {
            sentence,
            kinds,
            response: self.response,
            dry_run: self.mode == Mode::DryRun,
        })
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

fn parse_threshold(kind: Kind, text: &str) -> Result<Threshold, ConfigError> {
    let refused = |allowed| ConfigError::new(format!("suspicion.{kind}"), text, allowed);
    if kind == Kind::SuccessAfterFailures {
        // It has no count of its own: a window alone.
        let threshold = match text {
            "on" => Some(kind.default_threshold()),
            window => format!("1/{window}").parse().ok(),
        };
        let allowed = "`on` (`1h`), a duration of 1s to 24h, or `off`";
        return threshold.ok_or_else(|| refused(allowed.to_owned()));
    }
    let threshold = text.parse::<Threshold>();
    let threshold = threshold.map_err(|_| refused(format!("{}, or `off`", Threshold::ALLOWED)))?;
    match kind.refuses(threshold) {
        None => Ok(threshold),
        Some(allowed) => Err(refused(format!("{allowed}, or `off`"))),
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

/// Where a file is wrong, such as ``line 3, column 8, `[rate_limit] mode`: ``. The line itself stays out of it, since
/// it may hold the password of a Redis address.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (line, column) = (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    );
    let written = |text: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        !text.is_empty() && text.bytes().all(legal)
    };
    // The keys that a file may have; anything else on the left of a `=` might be part of a value.
    let key = text[line_start..]
        .split_once('=')
        .map(|(key, _)| key.trim())
        .filter(|key| {
            written(key)
                && key
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| KEYS.contains(&last))
        });
    let section = before
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix('[')?.strip_suffix(']'))
        .filter(|section| written(section));
    let key = match (section, key) {
        (Some(section), Some(key)) => format!(", `{section}.{key}`"),
        (None, Some(key)) => format!(", `{key}`"),
        (Some(section), None) => format!(", in `[{section}]`"),
        (None, None) => String::new(),
    };
    format!("line {line}, column {column}{key}: ")
}

/// The keys whose values can be of a wrong kind.
const KEYS: [&str; 39] = [
    "redis_url",
    "prefix",
    "deadline",
    "secret_file",
    "trusted_proxies",
    "forwarded_header",
    "ipv6_prefix",
    "ip",
    "user",
    "on_store_failure",
    "mode",
    "headers",
    "exempt",
    "cidrs",
    "users",
    "routes",
    "key",
    "quota",
    "cost",
    "credential_stuffing",
    "endpoint_scanning",
    "abuse",
    "credential_stuffing_slow",
    "hash_clients",
    "bans",
    "for",
    "longest",
    "jitter",
    "kinds",
    "response",
    "visitors",
    "retention",
    "vip_spend",
    "vip_orders",
    "at_risk_after",
    "churned_after",
    "currency",
    "sweep_every",
    "enabled",
];

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
