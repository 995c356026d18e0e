//! Settings that could have no effect: refused where that is certain, else said in the log.

use std::fmt::Display;

use http::Method;

use super::builder::StackBuilder;
use crate::ConfigError;
use crate::client::ForwardedHeader;
use crate::client::known_routes::{Fit, KnownRoutes};
use crate::client::unmet::Unmet;
use crate::config::{CountVisitors, StoreConfig};
use crate::model::{Exemptions, Nat64Prefixes, Route, RouteFilter};
use crate::rate_limit::{PartitionBy, Policy};
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
    check_sections(said);
    if !is_shared {
        check_store(&said.config.store);
    }
    check_suspicion(said);
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
    policies
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
    if let Some(segments) = &config.segments
        && !segments.enabled
        && let Some(file) = &segments.spill_file
    {
        without_effect("segments.spill_file", file.display(), "segments are off");
    }
    if let CountVisitors::Within(window) = config.funnel.visitors
        && said.stages.is_empty()
    {
        let why = "the service declares no stages of the funnel";
        without_effect("funnel.visitors", humantime::format_duration(window), why);
    }
    let client = &config.client;
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
        let window = humantime::format_duration(success.threshold.window());
        let why = "every kind of failure that it could follow is off";
        without_effect("suspicion.success_after_failures", window, why);
    }
    let bans_nobody = |(kind, _): &(IncidentKind, _)| kind.is_of_an_account();
    if let Some(bans) = &suspicion.bans
        && (bans.kinds.is_empty() || suspicion.watches.iter().all(bans_nobody))
    {
        let first = humantime::format_duration(bans.sentence.first());
        let why = "every kind that bans is off, so nobody is banned but by code";
        without_effect("suspicion.bans.for", first, why);
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

/// Settings of a Redis that there is not.
fn check_store(store: &StoreConfig) {
    let (default, why) = (StoreConfig::default(), "no Redis is configured");
    if store.prefix != default.prefix {
        without_effect("store.prefix", &store.prefix, why);
    }
    if store.deadline != default.deadline {
        let deadline = humantime::format_duration(store.deadline);
        without_effect("store.deadline", deadline, why);
    }
    if store.analytics_memory != default.analytics_memory {
        without_effect("store.analytics_memory", store.analytics_memory, why);
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

#[cfg(feature = "serde")]
#[cfg(test)]
mod tests {
    use http::Method;
    use http::request::Parts;

    use crate::config::Config;
    use crate::funnel::Stage;
    use crate::log::Lines;
    use crate::segment::Action;
    use crate::stack::{Stack, StackBuilder};

    fn said(text: &str) -> StackBuilder {
        Stack::builder().config(Config::from_toml(text).unwrap())
    }

    fn shop(text: &str) -> StackBuilder {
        said(text).routes([
            "GET /{country}/products",
            "POST /{country}/orders",
            "POST /login",
        ])
    }

    fn policy(routes: &str) -> String {
        format!("[rate_limit.policies.p]\nkey = 'ip'\nquota = '5/1m'\nroutes = [{routes}]")
    }

    /// The lines of a stack that is built, or why it is refused.
    fn built(stack: StackBuilder) -> Vec<String> {
        let (lines, _guard) = Lines::capture();
        match stack.build() {
            Ok(_) => lines.take(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn a_route_that_the_service_does_not_have_is_refused_or_told_wherever_it_stands() {
        let routes = "routes = ['POST /us/orders']";
        for (stack, key) in [
            (
                shop(&policy("'POST /us/orders'")),
                "rate_limit.policies.p.routes",
            ),
            (
                shop(&format!("[rate_limit.exempt]\n{routes}")),
                "rate_limit.exempt.routes",
            ),
            (
                shop(&format!(
                    "[suspicion.endpoint_scanning]\nthreshold = '10/5m'\n{routes}"
                )),
                "suspicion.endpoint_scanning.routes",
            ),
            (
                shop(&format!("[suspicion.exempt]\n{routes}")),
                "suspicion.exempt.routes",
            ),
            (
                shop(&format!("[maintenance.exempt]\n{routes}")),
                "maintenance.exempt.routes",
            ),
            (
                shop("").funnel([Stage::new("ordered").on(Method::POST, "/us/orders")]),
                "funnel.stages.ordered.routes",
            ),
            (
                shop("").actions([Action::new("order").on(Method::POST, "/us/orders")]),
                "segments.actions.order.routes",
            ),
        ] {
            let refused = format!(
                "`{key}` cannot be `POST /us/orders`: allowed is a route that the service has such as `POST /{{country}}/orders`, or a path that none of them takes"
            );
            assert_eq!(built(stack), [refused]);
        }
        assert_eq!(
            built(shop(&policy(
                "'POST /logn', '/wp-login.php', '/log*', 'unmatched'"
            ))),
            [
                "WARN route_unknown key=rate_limit.policies.p.routes nearest=POST /login value=POST /logn",
                "WARN route_unknown key=rate_limit.policies.p.routes value=/wp-login.php",
            ]
        );
        let exempt =
            "[suspicion.exempt]\nroutes = ['/favicon.ico', '/apple-*', '/logn', '/{country}/*']";
        assert_eq!(
            built(shop(exempt)),
            ["WARN route_unknown key=suspicion.exempt.routes nearest=POST /login value=/logn"]
        );
    }

    #[test]
    fn an_exempt_network_of_a_translator_is_refused() {
        let text = "[client]\nnat64_prefixes = ['2001:db8:64::/96']\n\
                    [suspicion.exempt]\ncidrs = ['2001:db8:64::c000:200/120']";
        let refused = built(said(text));
        assert!(
            refused[0].starts_with("`suspicion.exempt.cidrs` cannot be `2001:db8:64::c000:200/120`: allowed is the IPv4"),
            "{refused:?}"
        );
    }

    #[test]
    fn without_the_routes_of_the_service_nothing_is_told_at_start() {
        assert_eq!(
            built(said(&policy("'POST /logn', '/{country}/oders'"))),
            [""; 0]
        );
    }

    #[test]
    fn a_list_of_routes_that_cannot_be_read_is_refused() {
        let refused = built(Stack::builder().routes(["post /login"]));
        assert!(
            refused[0].starts_with("`routes` cannot be `post /login`"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_setting_that_no_request_can_meet_is_told() {
        let exempt = "[suspicion.exempt]\nusers = ['ada', '~0123456789abcdef0123456789abcdef']";
        let why = "the service says of no request which user sent it";
        let told = |key: &str, value: &str, why: &str| {
            format!("WARN setting_without_effect key={key} value={value} why={why}")
        };
        let users = "suspicion.exempt.users";
        let hash = "~0123456789abcdef0123456789abcdef";
        assert_eq!(
            built(said(exempt)),
            [told(users, "ada", why), told(users, hash, why)]
        );
        let user = |_: &Parts| None;
        let changing = "without a configured secret, the hashes of users differ at each start";
        assert_eq!(
            built(said(exempt).user(user)),
            [told(users, hash, changing)]
        );

        let policies =
            "rate_limit.user = '30/1m'\n[rate_limit.policies.p]\nkey = 'user'\nquota = '5/1m'";
        assert_eq!(
            built(said(policies)),
            [
                told("rate_limit.policies.user.quota", "30/1m", why),
                told("rate_limit.policies.p.quota", "5/1m", why),
            ]
        );
        assert_eq!(built(said(policies).user(user)), [""; 0]);

        let segments = "[rate_limit.policies.ip.by_segment]\nvip = '500/1m'\n";
        let off = "segments are off, so no customer has one unless a layer of your own says it";
        let key = "rate_limit.policies.ip.by_segment.vip";
        assert_eq!(built(said(segments)), [told(key, "500/1m", off)]);
        assert_eq!(built(said(&format!("{segments}[segments]"))), [""; 0]);

        let spill = "segments = { enabled = false, spill_file = '/tmp/changes' }";
        let key = "segments.spill_file";
        assert_eq!(
            built(said(spill)),
            [told(key, "/tmp/changes", "segments are off")]
        );

        let none = "the service declares no stages of the funnel";
        assert_eq!(
            built(said("funnel.visitors = '24h'")),
            [told("funnel.visitors", "1day", none)]
        );
        let stages = said("funnel.visitors = '24h'").funnel([Stage::new("looked")]);
        assert_eq!(built(stages), [""; 0]);

        let header = "[client]\nforwarded_header = 'forwarded'\n";
        let nobody = "no proxy is trusted, so no header is read";
        let key = "client.forwarded_header";
        assert_eq!(built(said(header)), [told(key, "forwarded", nobody)]);
        assert_eq!(
            built(said(&format!("{header}trusted_proxies = ['10.0.0.0/8']"))),
            [""; 0]
        );
        assert_eq!(
            built(said("")),
            [""; 0],
            "the defaults are nobody's settings"
        );
    }

    #[test]
    fn a_setting_that_another_one_makes_void_is_told() {
        let told = |key: &str, value: &str, why: &str| {
            format!("WARN setting_without_effect key={key} value={value} why={why}")
        };
        let off = "[suspicion]\ncredential_stuffing = 'off'\ncredential_stuffing_slow = 'off'\n";
        let success = format!("{off}success_after_failures = '30m'");
        let why = "every kind of failure that it could follow is off";
        let key = "suspicion.success_after_failures";
        assert_eq!(built(said(&success)), [told(key, "30m", why)]);
        let after = format!("{success}\npassword_spraying = '5/5m'");
        assert_eq!(built(said(&after)), [""; 0]);

        let bans = "distributed_stuffing = '4/1h'\n[suspicion.bans]\nfor = '5m'";
        let all_off = format!("{off}abuse = 'off'\nendpoint_scanning = 'off'\n{bans}");
        let why = "every kind that bans is off, so nobody is banned but by code";
        let key = "suspicion.bans.for";
        assert_eq!(built(said(&all_off)), [told(key, "5m", why)]);
        assert_eq!(built(said(&format!("{off}{bans}"))), [""; 0]);

        let exempt = "[rate_limit.exempt]\nroutes = ['/log*', 'GET /{country}/products']\n";
        let routes = policy("'POST /login', '/{country}/products', '/{country}/*', '/lo*'");
        let why = "an exemption takes each request of this route";
        let key = "rate_limit.policies.p.routes";
        assert_eq!(
            built(said(&format!("{exempt}{routes}"))),
            [told(key, "POST /login", why)]
        );
        let store = "[store]\nprefix = 'shop:'\ndeadline = '80ms'\nanalytics_memory = '25%'";
        let settings = [
            ("prefix", "shop:"),
            ("deadline", "80ms"),
            ("analytics_memory", "25%"),
        ];
        let why_not = "no Redis is configured";
        let lines = settings.map(|(key, value)| told(&format!("store.{key}"), value, why_not));
        assert_eq!(built(said(store)), lines);
        let scanning = "[suspicion]\nendpoint_scanning = { threshold = '10/5m', routes = ['GET /old/*'] }\n\
                        exempt = { routes = ['/old/*'] }";
        let key = "suspicion.endpoint_scanning.routes";
        assert_eq!(built(said(scanning)), [told(key, "GET /old/*", why)]);
    }
}
