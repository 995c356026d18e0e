//! Settings that could have no effect: refused where that is certain, else said in the log.
#[cfg(feature = "serde")]
#[cfg(test)]
mod tests;

use std::fmt::Display;

use http::Method;
use ipnet::IpNet;

use super::builder::StackBuilder;
use crate::ConfigError;
use crate::client::ForwardedHeader;
use crate::client::known_routes::{Fit, KnownRoutes};
use crate::client::unmet::Unmet;
use crate::config::{Config, CountVisitors, SegmentsConfig, SessionsConfig, StoreConfig};
use crate::model::{Cidrs, Exemptions, Nat64Prefixes, Route, RouteFilter, Secret, Written};
use crate::rate_limit::{OnStoreFailure, PartitionBy, Policy};
use crate::session::{self, OnConviction};
use crate::suspicion::IncidentKind;

/// Checks everything that is said. What the routes of requests must show is left for the client layer.
///
/// # Errors
/// A route that the service does not have, if it says which ones it has, and an exempt network that no client lies in.
pub(super) fn check(
    said: &StackBuilder,
    has_secret: bool,
    is_shared: bool,
) -> Result<Option<Unmet>, ConfigError> {
    let prefixes = said.config.client.nat64_prefixes.iter();
    let prefixes = Nat64Prefixes::parse(prefixes.map(String::as_str))
        .map_err(|error| error.under("client"))?;
    for (section, exempt) in exemptions(said) {
        let key = format!("{section}.exempt.cidrs");
        exempt.get_cidrs().refuse_carried(&key, &prefixes)?;
    }
    check_users(said, has_secret);
    check_everybody(said);
    check_sections(said);
    if let Some(segments) = &said.config.segments
        && !segments.enabled
    {
        check_segments(segments);
    }
    if let Some(sessions) = &said.config.sessions {
        check_sessions(sessions);
    }
    if !is_shared {
        check_store(&said.config);
    }
    check_suspicion(said);
    check_conviction(said);
    check_exempt_routes(said);
    let Some(routes) = &said.routes else {
        let filters = filters(said).map(|named| (named.key, named.filter));
        return Ok(Unmet::new(filters));
    };
    let known = KnownRoutes::parse(routes.iter().map(|route| &**route))?;
    for Named {
        key,
        filter,
        is_exemption,
    } in filters(said)
    {
        match known.fit(&filter) {
            Fit::Route => {}
            Fit::Nothing(nearest) => {
                let such = nearest.map_or_else(String::new, |route| format!(" such as `{route}`"));
                let allowed = format!(
                    "a route that the service has{such}, or a path that none of them takes"
                );
                return Err(ConfigError::new(key, filter, allowed));
            }
            Fit::Path(nearest) => {
                // Exemptions are where paths without a route belong: icons that browsers ask for.
                if !is_exemption || nearest.is_some() {
                    unknown_route(&key, &filter, nearest);
                }
            }
        }
    }
    Ok(None)
}

fn unknown_route(key: &str, filter: &RouteFilter, nearest: Option<&RouteFilter>) {
    tracing::warn!(
        target: "palisade::stack",
        event = "route_unknown",
        key,
        value = %filter,
        nearest = nearest.map(tracing::field::display),
        "a setting names no route of the service: only requests without a route can meet it, by their path"
    );
}

/// A setting that names a route.
struct Named {
    key: String,
    filter: RouteFilter,
    is_exemption: bool,
}

fn filters(said: &StackBuilder) -> impl Iterator<Item = Named> {
    let named = |key: String, is_exemption| {
        move |filter: &RouteFilter| Named {
            key: key.clone(),
            filter: filter.clone(),
            is_exemption,
        }
    };
    let policies = said
        .config
        .rate_limit
        .policies
        .iter()
        .flat_map(move |policy| {
            let key = format!("rate_limit.policies.{}.routes", policy.get_name());
            policy.get_routes().iter().map(named(key, false))
        });
    let watches = said
        .config
        .suspicion
        .watches
        .iter()
        .flat_map(move |(kind, watch)| {
            let key = format!("suspicion.{kind}.routes");
            watch.routes.iter().map(named(key, false))
        });
    let exempt = exemptions(said)
        .into_iter()
        .flat_map(move |(section, exempt)| {
            let routes = exempt.get_routes().iter();
            routes.map(named(
                format!("{section}.exempt.routes"),
                section != "maintenance",
            ))
        });
    let stages = said.stages.iter().flat_map(move |stage| {
        let key = format!("funnel.stages.{}.routes", stage.name());
        let named = named(key, false);
        exactly(stage.routes()).map(move |filter| named(&filter))
    });
    let actions = said.actions.iter().flat_map(move |action| {
        let key = format!("segments.actions.{}.routes", action.name());
        let named = named(key, false);
        exactly(action.routes()).map(move |filter| named(&filter))
    });
    // The default is nobody's setting.
    let by_address = said.config.sessions.iter();
    let by_address = by_address
        .filter(|sessions| sessions.by_address != SessionsConfig::default().by_address)
        .flat_map(move |sessions| {
            let named = named("sessions.by_address".to_owned(), false);
            sessions.by_address.iter().map(named)
        });
    policies
        .chain(by_address)
        .chain(watches)
        .chain(exempt)
        .chain(stages)
        .chain(actions)
}

fn exactly<'a>(
    routes: impl Iterator<Item = &'a (Method, Route)>,
) -> impl Iterator<Item = RouteFilter> {
    routes.map(|(method, route)| RouteFilter::exactly(method, route))
}

fn exemptions(said: &StackBuilder) -> [(&'static str, &Exemptions); 3] {
    let config = &said.config;
    [
        ("rate_limit", &config.rate_limit.exempt),
        ("suspicion", &config.suspicion.exempt),
        ("maintenance", &config.maintenance.exempt),
    ]
}

/// Users that no request can have.
fn check_users(said: &StackBuilder, has_secret: bool) {
    let has_user = said.client.has_user() || said.config.sessions.is_some();
    for (section, exempt) in exemptions(said) {
        for user in exempt.get_users() {
            let key = format!("{section}.exempt.users");
            if !has_user {
                without_effect(
                    &key,
                    user,
                    "the service says of no request which user sent it",
                );
            } else if section == "maintenance" && !said.client.has_user() {
                let why = "maintenance answers before a session is looked for: exempt a network or a route";
                without_effect(&key, user, why);
            } else if user.starts_with('~') && !has_secret {
                let why = "without a configured secret, the hashes of users differ at each start";
                without_effect(&key, user, why);
            }
        }
    }
    let by_user = |policy: &&Policy| matches!(policy.get_key(), PartitionBy::User);
    for policy in said.config.rate_limit.policies.iter().filter(by_user) {
        // The default is nobody's setting.
        if !has_user && !policy.is_default_user() {
            let key = format!("rate_limit.policies.{}.quota", policy.get_name());
            let why = "the service says of no request which user sent it";
            without_effect(&key, policy.get_quota(), why);
        }
    }
}

/// Settings that need another one.
fn check_sections(said: &StackBuilder) {
    let config = &said.config;
    if !config
        .segments
        .as_ref()
        .is_some_and(|segments| segments.enabled)
    {
        for policy in &config.rate_limit.policies {
            for (segment, quota) in policy.get_segment_quotas() {
                let key = format!(
                    "rate_limit.policies.{}.by_segment.{segment}",
                    policy.get_name()
                );
                let why =
                    "segments are off, so no customer has one unless a layer of your own says it";
                without_effect(&key, quota, why);
            }
        }
    }
    if let CountVisitors::Within(window) = config.funnel.visitors
        && said.stages.is_empty()
    {
        let why = "the service declares no stages of the funnel";
        without_effect("funnel.visitors", Written(window), why);
    }
    let client = &config.client;
    // What cannot be read is refused by the client layer.
    let trusted = client.trusted_proxies.iter().map(String::as_str);
    let trusted = Cidrs::parse("client.trusted_proxies", trusted).unwrap_or_default();
    for everybody in trusted.whole_families() {
        tracing::warn!(
            target: "palisade::stack",
            event = "everybody_is_a_proxy",
            key = "client.trusted_proxies",
            value = %everybody,
            "every address is trusted as a proxy, so any client can name another address as its own and is never limited nor \
             banned; list the networks of your proxies alone"
        );
    }
    if client.forwarded_header != ForwardedHeader::default() && client.trusted_proxies.is_empty() {
        let why = "no proxy is trusted, so no header is read";
        without_effect(
            "client.forwarded_header",
            client.forwarded_header.as_str(),
            why,
        );
    }
}

/// A kind that follows others, and bans that no kind leads to.
fn check_suspicion(said: &StackBuilder) {
    use IncidentKind::{
        CredentialStuffing, CredentialStuffingSlow, DistributedStuffing, PasswordSpraying,
        SuccessAfterFailures,
    };
    let suspicion = &said.config.suspicion;
    let watch = |wanted: IncidentKind| {
        let mut watches = suspicion.watches.iter();
        watches.find_map(|(kind, watch)| (*kind == wanted).then_some(watch))
    };
    let before = [
        CredentialStuffing,
        CredentialStuffingSlow,
        PasswordSpraying,
        DistributedStuffing,
    ];
    if let Some(success) = watch(SuccessAfterFailures)
        && before.into_iter().all(|kind| watch(kind).is_none())
    {
        let window = Written(success.threshold.window());
        let why = "every kind of failure that it could follow is off";
        without_effect("suspicion.success_after_failures", window, why);
    }
    let bans_nobody = |(kind, _): &(IncidentKind, _)| kind.is_of_an_account();
    if let Some(bans) = &suspicion.bans
        && (bans.kinds.is_empty() || suspicion.watches.iter().all(bans_nobody))
    {
        let first = Written(bans.sentence.first());
        let why = "every kind that bans is off, so nobody is banned but by code";
        without_effect("suspicion.bans.for", first, why);
    }
}

/// Ends of sessions that no ban leads to.
fn check_conviction(said: &StackBuilder) {
    let config = &said.config;
    let on_conviction = config.sessions.as_ref().map(|it| it.on_conviction);
    if let Some(terminate @ OnConviction::Terminate) = on_conviction {
        let why = match &config.suspicion.bans {
            None => "bans are off, so no client is convicted",
            Some(bans) if !bans.kinds.iter().any(|kind| kind.tries_credentials()) => {
                "no client is banned for trying credentials"
            }
            Some(bans) if bans.dry_run => {
                "`suspicion.bans.mode` is `dry_run`, so sessions are told of and go on"
            }
            Some(_) => return,
        };
        without_effect("sessions.on_conviction", terminate.as_str(), why);
    }
}

/// Routes of a policy, or of a kind of failure, that are exempt from it.
fn check_exempt_routes(said: &StackBuilder) {
    let config = &said.config;
    let policies = config.rate_limit.policies.iter().map(|policy| {
        let key = format!("rate_limit.policies.{}.routes", policy.get_name());
        (key, policy.get_routes(), &config.rate_limit.exempt)
    });
    let watches = config.suspicion.watches.iter().map(|(kind, watch)| {
        let key = format!("suspicion.{kind}.routes");
        (key, &*watch.routes, &config.suspicion.exempt)
    });
    for (key, routes, exempt) in policies.chain(watches) {
        for route in routes {
            if exempt
                .get_routes()
                .iter()
                .any(|every| every.contains(route))
            {
                without_effect(&key, route, "an exemption takes each request of this route");
            }
        }
    }
}

/// What is void because an exemption takes every client, or every one of a family of addresses.
fn check_everybody(said: &StackBuilder) {
    let config = &said.config;
    for (section, exempt) in exemptions(said) {
        let all: Vec<_> = exempt.get_cidrs().whole_families();
        let [v4, v6] = [all.iter().any(is_v4), !all.iter().all(is_v4)];
        let every_route = exempt.get_routes().iter().find(|it| it.is_everything());
        let why = match (every_route, v4, v6) {
            (Some(_), ..) => format!("`{section}.exempt.routes` takes every request"),
            (None, true, true) => format!("`{section}.exempt.cidrs` takes every client"),
            (None, true, false) => {
                format!("`{section}.exempt.cidrs` takes every client with an IPv4 address")
            }
            (None, false, true) => {
                format!("`{section}.exempt.cidrs` takes every client with an IPv6 address")
            }
            (None, false, false) => continue,
        };
        match (section, &config.suspicion.bans) {
            ("rate_limit", _) => {
                for policy in &config.rate_limit.policies {
                    let key = format!("rate_limit.policies.{}.quota", policy.get_name());
                    without_effect(&key, policy.get_quota(), &why);
                }
            }
            ("suspicion", Some(bans)) => {
                let first = Written(bans.sentence.first());
                without_effect("suspicion.bans.for", first, &why);
            }
            ("suspicion", None) => {
                for (kind, watch) in &config.suspicion.watches {
                    without_effect(&format!("suspicion.{kind}"), watch.threshold, &why);
                }
            }
            _ if config.maintenance.on => without_effect("maintenance.mode", "on", &why),
            _ => {}
        }
    }
}

fn is_v4(network: &IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}

/// Settings beside `enabled = false`.
fn check_segments(segments: &SegmentsConfig) {
    let (default, why) = (SegmentsConfig::default(), "segments are off");
    let tell =
        |key: &str, value: &dyn Display| without_effect(&format!("segments.{key}"), value, why);
    let durations = |it: &SegmentsConfig| {
        [
            ("retention", it.retention),
            ("at_risk_after", it.criteria.at_risk_after),
            ("churned_after", it.criteria.churned_after),
            ("sweep_every", it.sweep_every),
        ]
    };
    for ((key, value), (_, default)) in durations(segments).into_iter().zip(durations(&default)) {
        if value != default {
            tell(key, &Written(value));
        }
    }
    let (criteria, default) = (&segments.criteria, default.criteria);
    if criteria.vip_spend != default.vip_spend {
        tell("vip_spend", &criteria.vip_spend);
    }
    if criteria.vip_orders != default.vip_orders {
        tell("vip_orders", &criteria.vip_orders);
    }
    if criteria.currency != default.currency {
        tell("currency", &criteria.currency);
    }
    if let Some(file) = &segments.spill_file {
        tell("spill_file", &file.display());
    }
}

/// Settings of cookies that are not sent, and of a failure that is met in another way.
fn check_sessions(sessions: &SessionsConfig) {
    if !sessions.cookie {
        for origin in &sessions.allowed_origins {
            let why =
                "`cookie = false` sends no cookie, and a token in a header comes from any origin";
            without_effect("sessions.allowed_origins", origin, why);
        }
    }
    let known_for = sessions.known_for;
    let mode = sessions.on_store_failure;
    if mode != session::OnStoreFailure::Known && known_for != SessionsConfig::default().known_for {
        let why = format!(
            "`sessions.on_store_failure` is `{}`, so no session goes on that was known",
            mode.as_str()
        );
        without_effect("sessions.known_for", Written(known_for), &why);
    }
}

/// Files of secrets that change nothing, or that give one away.
///
/// # Errors
/// An operator's token that is a secret of the service, or one that cannot be read.
pub(super) fn check_secrets(
    config: &Config,
    secret: Option<&Secret>,
    previous: Option<&Secret>,
) -> Result<(), ConfigError> {
    let Some(sessions) = &config.sessions else {
        return Ok(());
    };
    if let (Some(path), Some(previous)) = (&sessions.previous_secret_file, previous) {
        let why = match secret {
            None => "no secret is configured, so every session ends with its process",
            Some(secret) if secret.is_same(previous) => "it holds the secret that is in force",
            Some(_) => "",
        };
        if !why.is_empty() {
            without_effect("sessions.previous_secret_file", path.display(), why);
        }
    }
    if let Some(path) = &sessions.operator_token_file {
        const KEY: &str = "sessions.operator_token_file";
        let token = Secret::from_file(KEY, path)?;
        let files = [&config.store.secret_file, &sessions.previous_secret_file];
        let is_a_secrets = files.into_iter().flatten().any(|it| it == path);
        let is_a_secret = secret.into_iter().chain(previous);
        if is_a_secrets || is_a_secret.into_iter().any(|it| it.is_same(&token)) {
            let allowed = "a file with a token of its own: this one holds a secret of the service, by which whoever has it \
                           could make tokens of any user";
            return Err(ConfigError::new(KEY, path.display(), allowed));
        }
    }
    Ok(())
}

/// Settings of a Redis that there is not, and of its failures.
fn check_store(config: &Config) {
    const WHY: &str = "no Redis is configured";
    const CANNOT_FAIL: &str = "no Redis is configured, and the memory of this process cannot fail";
    let (store, default) = (&config.store, StoreConfig::default());
    if store.prefix != default.prefix {
        without_effect("store.prefix", &store.prefix, WHY);
    }
    if store.deadline != default.deadline {
        without_effect("store.deadline", Written(store.deadline), WHY);
    }
    if store.analytics_memory != default.analytics_memory {
        without_effect("store.analytics_memory", store.analytics_memory, WHY);
    }
    for policy in &config.rate_limit.policies {
        let mode = policy.get_on_store_failure();
        if mode != OnStoreFailure::default() {
            let key = format!("rate_limit.policies.{}.on_store_failure", policy.get_name());
            without_effect(&key, mode.as_str(), CANNOT_FAIL);
        }
    }
    if let Some(sessions) = &config.sessions {
        let default = SessionsConfig::default();
        let mode = sessions.on_store_failure;
        if mode != default.on_store_failure {
            without_effect("sessions.on_store_failure", mode.as_str(), CANNOT_FAIL);
        } else if sessions.known_for != default.known_for {
            without_effect(
                "sessions.known_for",
                Written(sessions.known_for),
                CANNOT_FAIL,
            );
        }
    }
}

fn without_effect(key: &str, value: impl Display, why: &str) {
    tracing::warn!(
        target: "palisade::stack",
        event = "setting_without_effect",
        key,
        %value,
        why,
        "a setting has no effect"
    );
}
