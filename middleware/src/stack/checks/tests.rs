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

fn told(key: &str, value: &str, why: &str) -> String {
    format!("WARN setting_without_effect key={key} value={value} why={why}")
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
        refused[0].starts_with(
            "`suspicion.exempt.cidrs` cannot be `2001:db8:64::c000:200/120`: allowed is the IPv4"
        ),
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

    let none = "the service declares no stages of the funnel";
    assert_eq!(
        built(said("funnel.visitors = '24h'")),
        [told("funnel.visitors", "1d", none)]
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

    let key = "sessions.on_conviction";
    let ends = |more: &str| format!("[sessions]\non_conviction = 'terminate'\n{more}");
    for (bans, why) in [
        ("", "bans are off, so no client is convicted"),
        (
            "[suspicion.bans]\nkinds = ['abuse']",
            "no client is banned for trying credentials",
        ),
        (
            "[suspicion.bans]\nmode = 'dry_run'",
            "`suspicion.bans.mode` is `dry_run`, so sessions are told of and go on",
        ),
    ] {
        assert_eq!(built(said(&ends(bans))), [told(key, "terminate", why)]);
    }
    assert_eq!(built(said(&ends("[suspicion.bans]"))), [""; 0]);

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

#[test]
fn what_an_exemption_of_everybody_makes_void_is_told() {
    let bans = "[suspicion.bans]\nfor = '5m'\n[suspicion.exempt]\n";
    let key = "suspicion.bans.for";
    for (exempt, everybody) in [
        (
            "cidrs = ['0.0.0.0/0']",
            "cidrs` takes every client with an IPv4 address",
        ),
        (
            "cidrs = ['::/0']",
            "cidrs` takes every client with an IPv6 address",
        ),
        (
            "cidrs = ['0.0.0.0/1', '128.0.0.0/1', '::/0']",
            "cidrs` takes every client",
        ),
        ("routes = ['/*']", "routes` takes every request"),
    ] {
        let why = format!("`suspicion.exempt.{everybody}");
        assert_eq!(
            built(said(&format!("{bans}{exempt}"))),
            [told(key, "5m", &why)]
        );
    }
    for some in [
        "cidrs = ['0.0.0.0/1', '2000::/3']",
        "routes = ['GET /*', '/a*']",
    ] {
        assert_eq!(built(said(&format!("{bans}{some}"))), [""; 0]);
    }
    let why = "`suspicion.exempt.cidrs` takes every client with an IPv4 address";
    let kinds = built(said("suspicion.exempt.cidrs = ['0.0.0.0/0']"));
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    assert!(
        kinds.contains(&told("suspicion.abuse", "20/5m", why)),
        "{kinds:?}"
    );

    let why = "`rate_limit.exempt.cidrs` takes every client with an IPv4 address";
    let policies = ["ip", "user"].map(|it| format!("rate_limit.policies.{it}.quota"));
    let limits = [
        told(&policies[0], "200/1m", why),
        told(&policies[1], "60/1m", why),
    ];
    assert_eq!(
        built(said("rate_limit.exempt.cidrs = ['0.0.0.0/0']")),
        limits
    );

    let open = "maintenance = { mode = 'on', exempt = { routes = ['/*'] } }";
    let why = "`maintenance.exempt.routes` takes every request";
    assert!(built(said(open)).contains(&told("maintenance.mode", "on", why)));
    assert_eq!(built(said("maintenance.exempt.routes = ['/*']")), [""; 0]);
}

#[test]
fn every_setting_beside_segments_that_are_off_is_told() {
    let settings = [
        ("retention", "500d"),
        ("at_risk_after", "20d"),
        ("churned_after", "80d"),
        ("sweep_every", "20s"),
        ("vip_spend", "1"),
        ("vip_orders", "2"),
        ("currency", "EUR"),
        ("spill_file", "/tmp/changes"),
    ];
    let mut text = "[segments]\nenabled = false\n".to_owned();
    for (key, value) in settings {
        let quote = if key.starts_with("vip") { "" } else { "'" };
        text.push_str(&format!("{key} = {quote}{value}{quote}\n"));
    }
    let why = "segments are off";
    let lines = settings.map(|(key, value)| told(&format!("segments.{key}"), value, why));
    assert_eq!(built(said(&text)), lines);
    assert_eq!(built(said("segments.enabled = false")), [""; 0]);
}

#[test]
fn settings_of_sessions_that_cannot_be_met_are_told() {
    let why = "maintenance answers before a session is looked for: exempt a network or a route";
    let exempt = "[sessions]\n[maintenance.exempt]\nusers = ['ada']";
    let key = "maintenance.exempt.users";
    assert_eq!(built(said(exempt)), [told(key, "ada", why)]);
    let by_code = |_: &Parts| None;
    assert_eq!(built(said(exempt).user(by_code)), [""; 0]);
    let elsewhere = "[sessions]\n[suspicion.exempt]\nusers = ['ada']";
    assert_eq!(built(said(elsewhere)), [""; 0]);

    let bearer = "[sessions]\ncookie = false\nallowed_origins = ['https://a.example']";
    let key = "sessions.allowed_origins";
    let why = "`cookie = false` sends no cookie, and a token in a header comes from any origin";
    assert_eq!(built(said(bearer)), [told(key, "https://a.example", why)]);

    let memory = "no Redis is configured, and the memory of this process cannot fail";
    for mode in ["closed", "anonymous"] {
        let text = format!("[sessions]\nknown_for = '5m'\non_store_failure = '{mode}'");
        let why = format!(
            "`sessions.on_store_failure` is `{mode}`, so no session goes on that was known"
        );
        let lines = [
            told("sessions.known_for", "5m", &why),
            told("sessions.on_store_failure", mode, memory),
        ];
        assert_eq!(built(said(&text)), lines);
    }
    let known = built(said("sessions.known_for = '5m'"));
    assert_eq!(known, [told("sessions.known_for", "5m", memory)]);
}

#[test]
fn how_a_limit_meets_a_failing_store_is_told_where_none_can_fail() {
    let text = "rate_limit.on_store_failure = 'closed'\n[rate_limit.policies.user]\non_store_failure = 'open'";
    let why = "no Redis is configured, and the memory of this process cannot fail";
    let key = |policy| format!("rate_limit.policies.{policy}.on_store_failure");
    let lines = [
        told(&key("ip"), "closed", why),
        told(&key("user"), "open", why),
    ];
    assert_eq!(built(said(text)), lines);
    #[cfg(feature = "redis")]
    {
        let redis = format!("{text}\n[store]\nredis_url = 'redis://127.0.0.1:1'");
        assert!(
            !built(said(&redis))
                .iter()
                .any(|line| line.contains("cannot fail"))
        );
    }
}

#[test]
fn routes_that_the_address_pays_for_are_checked_where_somebody_wrote_them() {
    assert_eq!(built(shop("[sessions]\n")), [""; 0], "the default list");
    let by_address = |route: &str| shop(&format!("[sessions]\nby_address = ['{route}']"));
    assert_eq!(
        built(by_address("POST /us/orders")),
        [
            "`sessions.by_address` cannot be `POST /us/orders`: allowed is a route that the service has such as \
             `POST /{country}/orders`, or a path that none of them takes"
        ]
    );
    let lines = built(by_address("/nowhere"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("WARN route_unknown key=sessions.by_address value=/nowhere"),
        "{lines:?}"
    );
    assert_eq!(built(by_address("POST /login")), [""; 0]);
}

#[test]
fn secrets_that_change_nothing_or_give_one_away_are_told_and_none_is_shown() {
    let file = |name: &str, text: &str| {
        let path =
            std::env::temp_dir().join(format!("palisade-{}-checks-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (one, same) = (
        file("one", "a secret of the shop"),
        file("same", "a secret of the shop\n"),
    );
    let other = file("other", "one secret before it");
    let of = |secret: &str, sessions: &str, path: &str| {
        let store = match secret {
            "" => String::new(),
            secret => format!("[store]\nsecret_file = '{secret}'\n"),
        };
        built(said(&format!(
            "{store}[sessions]\n{sessions}_file = '{path}'"
        )))
    };
    let previous = "previous_secret";
    let void = |path: &str, why: &str| [told("sessions.previous_secret_file", path, why)];
    let in_force = "it holds the secret that is in force";
    assert_eq!(of(&one, previous, &same), void(&same, in_force));
    let none = "no secret is configured, so every session ends with its process";
    assert_eq!(of("", previous, &other), void(&other, none));
    assert_eq!(of(&one, previous, &other), [""; 0]);

    let operator = "operator_token";
    for path in [&one, &same] {
        assert_eq!(
            of(&one, operator, path),
            [format!(
                "`sessions.operator_token_file` cannot be `{path}`: allowed is a file with a token of its own: this one holds a \
                 secret of the service, by which whoever has it could make tokens of any user"
            )]
        );
    }
    assert_eq!(of(&one, operator, &other), [""; 0]);
    let both = said(&format!(
        "[store]\nsecret_file = '{one}'\n[sessions]\nprevious_secret_file = '{other}'\noperator_token_file = '{other}'"
    ));
    let lines = built(both);
    assert!(lines[0].contains("operator_token_file"), "{lines:?}");
}

#[test]
fn a_list_of_proxies_that_holds_everybody_is_told() {
    let proxies = |list: &str| built(said(&format!("[client]\ntrusted_proxies = [{list}]")));
    for (list, value) in [
        ("'0.0.0.0/0'", "0.0.0.0/0"),
        ("'0.0.0.0/1', '128.0.0.0/1'", "0.0.0.0/0"),
        ("'::/0', '10.0.0.0/8'", "::/0"),
    ] {
        assert_eq!(
            proxies(list),
            [format!(
                "WARN everybody_is_a_proxy key=client.trusted_proxies value={value}"
            )]
        );
    }
    assert_eq!(proxies("'10.0.0.0/8', '::1'"), [""; 0]);
}
