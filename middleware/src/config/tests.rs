use std::time::Duration;

use super::*;
use crate::client::ForwardedHeader;
use crate::model::{Quota, Segment};
use crate::rate_limit::Headers;
use crate::suspicion::{BanResponse, Kind, Sentence};

/// The file of the documentation, whole.
const FULL: &str = r#"
    [store]
    redis_url = "redis://127.0.0.1:6379"
    prefix = "shop:"
    deadline = "50ms"
    secret_file = "/run/secrets/palisade"

    [client]
    trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]
    forwarded_header = "forwarded"
    ipv6_prefix = 56

    [rate_limit]
    ip = "300/1m"
    user = "60/min"
    on_store_failure = "open"
    mode = "enforce"
    headers = "legacy"
    exempt = { cidrs = ["127.0.0.0/8"], users = ["root"], routes = ["GET /healthz"] }

    [rate_limit.policies.checkout]
    key = "user"
    quota = "5/1m"
    cost = 1
    routes = ["POST /{country}/orders"]
    on_store_failure = "closed"
    mode = "dry_run"

    [suspicion]
    credential_stuffing = "5/5m"
    endpoint_scanning = "30/10m"
    abuse = "off"
    credential_stuffing_slow = "20/2h"
    exempt = { cidrs = ["10.0.0.0/8"], users = ["monitor"] }
    hash_clients = true

    [funnel]
    visitors = "12h"

    [segments]
    retention = "500d"
    vip_spend = 60000
    vip_orders = 6
    at_risk_after = "31d"
    churned_after = "91d"
    currency = "eur"
    sweep_every = "30s"
"#;

#[test]
fn reads_every_setting() {
    let config = Config::from_toml(FULL).unwrap();
    assert_eq!(
        config.store.redis_url.unwrap().as_str(),
        "redis://127.0.0.1:6379"
    );
    assert_eq!(
        (&*config.store.prefix, config.store.deadline),
        ("shop:", Duration::from_millis(50))
    );
    assert_eq!(config.client.trusted_proxies, ["10.0.0.0/8", "192.0.2.1"]);
    assert_eq!(config.client.forwarded_header, ForwardedHeader::Forwarded);
    assert_eq!(config.client.ipv6_prefix, 56);
    assert_eq!(config.rate_limit.headers, Headers::Legacy);
    let policies = format!("{:?}", config.rate_limit.policies);
    let expected = [
        r#"Policy { name: "ip", quota: 300/1m, enforced: true, .. }"#,
        r#"Policy { name: "user", quota: 60/1m, enforced: true, .. }"#,
        r#"Policy { name: "checkout", quota: 5/1m, enforced: false, .. }"#,
    ];
    assert_eq!(policies, format!("[{}]", expected.join(", ")));
    let thresholds: Vec<_> = config
        .suspicion
        .thresholds
        .iter()
        .map(|(kind, threshold)| format!("{kind} {threshold}"))
        .collect();
    assert_eq!(
        thresholds,
        [
            "credential_stuffing 5/5m",
            "endpoint_scanning 30/10m",
            "credential_stuffing_slow 20/2h"
        ]
    );
    assert!(config.suspicion.hash_clients);
    let exempt = format!("{:?}", config.suspicion.exempt);
    assert!(
        exempt.contains("10.0.0.0/8") && exempt.contains("monitor"),
        "{exempt}"
    );
    let segments = config.segments.unwrap();
    let day = Duration::from_secs(86_400);
    assert!(segments.enabled);
    assert_eq!(
        (segments.retention, segments.sweep_every),
        (500 * day, Duration::from_secs(30))
    );
    let criteria = segments.criteria;
    assert_eq!((criteria.vip_spend, criteria.vip_orders), (60_000, 6));
    assert_eq!(
        (criteria.at_risk_after, criteria.churned_after),
        (31 * day, 91 * day)
    );
    assert_eq!(criteria.currency.as_str(), "EUR");
}

#[test]
fn segments_are_on_with_their_section_unless_it_says_otherwise() {
    assert!(Config::from_toml("").unwrap().segments.is_none());
    let is_on = |text: &str| Config::from_toml(text).unwrap().segments.unwrap().enabled;
    assert!(is_on("[segments]"));
    assert!(!is_on("segments.enabled = false"));
}

#[test]
fn an_empty_file_means_the_defaults() {
    let (read, default) = (Config::from_toml("").unwrap(), Config::default());
    assert_eq!(format!("{read:?}"), format!("{default:?}"));
    assert_eq!(
        (&*read.store.prefix, read.client.ipv6_prefix),
        ("palisade:", 64)
    );
    assert!(format!("{:?}", read.rate_limit.policies).contains(r#"name: "ip", quota: 200/1m"#));
}

#[test]
fn refuses_with_the_key_the_value_and_what_is_allowed() {
    let cases = [
        (
            "store.prefix = ''",
            "`store.prefix` cannot be ``: allowed is 1 to 64 visible",
        ),
        ("store.prefix = 'a{b}'", "`store.prefix` cannot be `a{b}`"),
        (
            "store.prefix = 'a*'",
            "`store.prefix` cannot be `a*`: allowed is 1 to 64 visible ASCII characters without `{` and `}`, brackets, \
             quotes, `*`, `?` or `\\`",
        ),
        (
            "store.deadline = '0s'",
            "`store.deadline` cannot be `0s`: allowed is a duration of `1ms` to `10s`",
        ),
        (
            "client.trusted_proxies = ['10.0.0.0/99']",
            "`client.trusted_proxies` cannot be `10.0.0.0/99`",
        ),
        (
            "client.ipv6_prefix = 0",
            "`client.ipv6_prefix` cannot be `0`: allowed is a whole number from 1 to 128 bits",
        ),
        (
            "client.ipv6_prefix = 1000",
            "`client.ipv6_prefix` cannot be `1000`",
        ),
        (
            "rate_limit.ip = '200'",
            "`rate_limit.ip` cannot be `200`: allowed is `<count>/<duration>`",
        ),
        (
            "rate_limit.user = '1000001/1m'",
            "`rate_limit.user` cannot be `1000001/1m`",
        ),
        (
            "rate_limit.ip = '1/25h'",
            "`rate_limit.ip` cannot be `1/25h`",
        ),
        (
            "rate_limit.exempt.cidrs = ['x']",
            "`rate_limit.exempt.cidrs` cannot be `x`",
        ),
        (
            "rate_limit.exempt.users = ['Ada Lovelace']",
            "`rate_limit.exempt.users` cannot be `Ada Lovelace`",
        ),
        (
            "rate_limit.exempt.routes = ['get /x']",
            "`rate_limit.exempt.routes` cannot be `get /x`",
        ),
        (
            "[rate_limit.policies.p]\nquota = '1/1m'",
            "`rate_limit.policies.p.key` cannot be `(absent)`: allowed is `ip` or `user`",
        ),
        (
            "[rate_limit.policies.p]\nkey = 'ip'",
            "`rate_limit.policies.p.quota` cannot be `(absent)`",
        ),
        (
            "[rate_limit.policies.p]\nkey = 'ip'\nquota = '5/1m'\ncost = 6",
            "`rate_limit.policies.p.cost` cannot be `6`: allowed is 1 to the quota's limit, 5",
        ),
        (
            "[rate_limit.policies.'P p']\nkey = 'ip'\nquota = '5/1m'",
            "`rate_limit.policies.name` cannot be `P p`",
        ),
        (
            "[rate_limit]\nip = '1/1m'\n[rate_limit.policies.ip]\nquota = '2/1m'",
            "`rate_limit.ip` cannot be `1/1m`: allowed is one of",
        ),
        (
            "[rate_limit.policies.ip]\nkey = 'user'",
            "`rate_limit.policies.ip.key` cannot be `user`",
        ),
        (
            "suspicion.abuse = 'x'",
            "`suspicion.abuse` cannot be `x`: allowed is `<count>/<duration>`, such as `5/5m`",
        ),
        (
            "suspicion.credential_stuffing_slow = '1001/2h'",
            "`suspicion.credential_stuffing_slow` cannot be `1001/2h`",
        ),
        (
            "suspicion.password_spraying = '65/5m'",
            "`suspicion.password_spraying` cannot be `65/5m`: allowed is a count of at most 64, or `off`",
        ),
        (
            "suspicion.distributed_stuffing = 'on'",
            "`suspicion.distributed_stuffing` cannot be `on`: allowed is `<count>/<duration>`",
        ),
        (
            "suspicion.success_after_failures = '1/1h'",
            "`suspicion.success_after_failures` cannot be `1/1h`: allowed is `on` (`1h`), a duration of 1s to 24h, or `off`",
        ),
        (
            "suspicion.exempt.cidrs = ['x']",
            "`suspicion.exempt.cidrs` cannot be `x`",
        ),
        (
            "segments.retention = '60d'",
            "`segments.retention` cannot be `60d`: allowed is more than `segments.churned_after`",
        ),
        (
            "segments.at_risk_after = '90d'",
            "`segments.at_risk_after` cannot be `90d`",
        ),
        (
            "segments.retention = '90d'",
            "`segments.retention` cannot be `90d`",
        ),
        (
            "segments.currency = 'dollars'",
            "`segments.currency` cannot be `dollars`: allowed is an ISO 4217 code",
        ),
        (
            "segments.sweep_every = '1ms'",
            "`segments.sweep_every` cannot be `1ms`: allowed is a duration of `1s` to `1h`",
        ),
        (
            "segments.vip_spend = -1",
            "`segments.vip_spend` cannot be `-1`",
        ),
    ];
    for (toml, expected) in cases {
        let error = Config::from_toml(toml).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{toml}\n  {error}");
    }
}

#[test]
fn the_kinds_of_logins_are_off_until_they_are_set() {
    let thresholds = |toml: &str| {
        let config = Config::from_toml(toml).unwrap();
        let thresholds = config.suspicion.thresholds.into_iter();
        thresholds
            .filter(|(kind, _)| kind.is_of_logins())
            .map(|(kind, threshold)| format!("{kind} {threshold}"))
            .collect::<Vec<_>>()
    };
    assert!(thresholds("").is_empty());
    let off = "suspicion.password_spraying = 'off'\nsuspicion.success_after_failures = 'off'";
    assert!(thresholds(off).is_empty());
    let on = "[suspicion]\npassword_spraying = '6/10m'\ndistributed_stuffing = '64/24h'\nsuccess_after_failures = ";
    for (written, read) in [("'on'", "1/1h"), ("'30m'", "1/30m")] {
        let expected = [
            "password_spraying 6/10m",
            "distributed_stuffing 64/1day",
            &format!("success_after_failures {read}"),
        ];
        assert_eq!(thresholds(&format!("{on}{written}")), expected);
    }
}

#[test]
fn refuses_an_unknown_key_or_word_with_its_place_and_the_known_ones() {
    let cases = [
        (
            "[rate_limit]\nipp = '1/1m'",
            ["line 2", "unknown field `ipp`", "`ip`"],
        ),
        (
            "stores = 1",
            ["line 1", "unknown field `stores`", "`store`"],
        ),
        (
            "rate_limit.mode = 'off'",
            [
                "line 1, column 19, `rate_limit.mode`",
                "unknown variant `off`",
                "`dry_run`",
            ],
        ),
        (
            "rate_limit.headers = 'draft-7'",
            ["line 1", "unknown variant `draft-7`", "`draft-11`"],
        ),
        (
            "rate_limit.on_store_failure = 'shut'",
            ["line 1", "unknown variant `shut`", "`closed`"],
        ),
        (
            "client.forwarded_header = 'via'",
            ["line 1", "unknown variant `via`", "`x-forwarded-for`"],
        ),
        ("rate_limit.ip = 5", ["line 1", "integer `5`", "a string"]),
    ];
    for (toml, parts) in cases {
        let error = Config::from_toml(toml).unwrap_err().to_string();
        assert!(
            parts.iter().all(|part| error.contains(part)),
            "{toml}\n  {error}"
        );
    }
}

#[test]
fn every_key_of_every_section_is_named_where_its_value_is_wrong() {
    // What may stand in a table, the reader says itself.
    let known = |text: &str| -> Vec<String> {
        let error = Config::from_toml(text).unwrap_err().to_string();
        let (_, known) = error.split_once("expected ").unwrap();
        let keys = known.split('`').skip(1).step_by(2);
        keys.map(str::to_owned).collect()
    };
    let tables = [
        "rate_limit.exempt",
        "rate_limit.policies.p",
        "rate_limit.policies.p.by_segment",
        "suspicion.exempt",
        "suspicion.bans",
    ];
    let tables = tables.map(str::to_owned);
    for table in known("unknown = 1").into_iter().chain(tables) {
        for key in known(&format!("[{table}]\nunknown = 1")) {
            let mut sections = File::KEYS.iter();
            assert!(sections.any(|keys| keys.contains(&&*key)), "{table}.{key}");
        }
    }
}

#[test]
fn names_the_file() {
    let error = Config::from_file(Path::new("/nonexistent/palisade.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("/nonexistent/palisade.toml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn a_broken_file_never_repeats_its_lines() {
    for broken in [
        "[store]\nredis_url = \"redis://:hunter2@db:6379",
        "[store]\nredis_url = [\"redis://:hunter2@db\"]",
        "[store]\nredis_ulr = \"redis://:hunter2@db\"",
        "[store]\nredis_url = \"\"\"\nhunter2=\n",
    ] {
        let error = Config::from_toml(broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.to_string().contains("line "), "{error}");
    }
}

#[test]
fn never_prints_the_redis_url() {
    let config = Config::from_toml("store.redis_url = 'redis://:hunter2@localhost'").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn bans_are_off_without_their_section_and_its_defaults_are_the_documented_ones() {
    let read = |text: &str| Config::from_toml(text).unwrap().suspicion.bans;
    assert!(read("").is_none() && read("[suspicion]").is_none());
    let bans = read("[suspicion.bans]").unwrap();
    assert_eq!(bans.sentence, Sentence::default());
    let counted = SuspicionConfig::default().thresholds.into_iter();
    assert!(counted.map(|(kind, _)| kind).eq(bans.kinds));
    assert_eq!(bans.response, BanResponse::TooManyRequests);
    assert!(!bans.dry_run);
    let bans = read(
        "[suspicion]\nabuse = 'off'\n[suspicion.bans]\nfor = '1h'\nlongest = '7d'\njitter = 0\n\
         kinds = ['endpoint_scanning']\nresponse = 'forbidden'\nmode = 'dry_run'",
    );
    let bans = bans.unwrap();
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let sentence = Sentence::new(hours(1), hours(7 * 24)).unwrap();
    assert_eq!(bans.sentence, sentence.jitter(0).unwrap());
    assert_eq!(bans.kinds, [Kind::EndpointScanning]);
    assert_eq!(bans.response, BanResponse::Forbidden);
    assert!(bans.dry_run);
    // What is off cannot be banned for, and a first ban that is not written is no longer than the longest.
    let bans = read("[suspicion]\nabuse = 'off'\n[suspicion.bans]\nlongest = '1m'").unwrap();
    assert!(bans.kinds.len() == 3 && !bans.kinds.contains(&Kind::Abuse));
    assert_eq!(bans.sentence.first(), Duration::from_secs(60));
}

#[test]
fn who_sprays_can_be_banned_for_it_and_nobody_for_what_an_account_met() {
    let logins = "[suspicion]\npassword_spraying = '5/5m'\ndistributed_stuffing = '4/1h'\nsuccess_after_failures = 'on'\n";
    let read = |bans: &str| Config::from_toml(&format!("{logins}[suspicion.bans]\n{bans}"));
    let kinds = |bans: &str| read(bans).unwrap().suspicion.bans.unwrap().kinds;
    let expected = Kind::BY_STATUS.into_iter().chain([Kind::PasswordSpraying]);
    assert!(kinds("").into_iter().eq(expected));
    let named = kinds("kinds = ['password_spraying']");
    assert_eq!(named, [Kind::PasswordSpraying]);
    for kind in ["distributed_stuffing", "success_after_failures"] {
        let error = read(&format!("kinds = ['{kind}']"))
            .unwrap_err()
            .to_string();
        let expected = format!("`suspicion.bans.kinds` cannot be `{kind}`: allowed is a kind");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn refuses_bans_with_the_key_the_value_and_what_is_allowed() {
    for (line, expected) in [
        (
            "for = '0s'",
            "`suspicion.bans.for` cannot be `0s`: allowed is a duration of 1s to 30d",
        ),
        (
            "for = 'long'",
            "`suspicion.bans.for` cannot be `long`: allowed is a duration such as",
        ),
        (
            "for = '25h'",
            "`suspicion.bans.for` cannot be `1day 1h`: allowed is a duration of 1s to 30d",
        ),
        (
            "longest = '31d'",
            "`suspicion.bans.longest` cannot be `1month",
        ),
        (
            "jitter = 101",
            "`suspicion.bans.jitter` cannot be `101`: allowed is a whole number from 0 to 100 percent",
        ),
        (
            "kinds = ['scanning']",
            "`suspicion.bans.kinds` cannot be `scanning`: allowed is a kind that is not `off` and says something of its \
             client: credential_stuffing, endpoint_scanning, credential_stuffing_slow",
        ),
        (
            "kinds = ['abuse']",
            "`suspicion.bans.kinds` cannot be `abuse`",
        ),
        (
            "response = 'teapot'",
            "line 4, column 12, `suspicion.bans.response`: unknown variant `teapot`, expected `too_many_requests` or \
             `forbidden`",
        ),
        ("until = '1h'", "unknown field `until`"),
    ] {
        let text = format!("[suspicion]\nabuse = 'off'\n[suspicion.bans]\n{line}\n");
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn visitors_are_counted_within_a_window_or_not_at_all_or_as_the_service_says() {
    let read = |text: &str| Config::from_toml(text).map(|config| config.funnel.visitors);
    let within = |seconds| CountVisitors::Within(Duration::from_secs(seconds));
    for (text, visitors) in [
        ("", CountVisitors::Unsaid),
        ("[funnel]", CountVisitors::Unsaid),
        ("funnel.visitors = 'off'", CountVisitors::Off),
        ("funnel.visitors = '1m'", within(60)),
        ("funnel.visitors = '24h'", within(86_400)),
        ("funnel.visitors = '30d'", within(30 * 86_400)),
    ] {
        assert_eq!(read(text).unwrap(), visitors, "{text}");
    }
    for value in ["", "59s", "30d 1s", "on", "24", "Off"] {
        let error = read(&format!("funnel.visitors = '{value}'")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`funnel.visitors` cannot be `{value}`: allowed is a duration of `1m` to `30d`, or `off`"
            )
        );
    }
    let error = read("funnel.visitor = 'off'").unwrap_err();
    assert!(error.to_string().contains("visitor"), "{error}");
}

#[test]
fn a_quota_can_depend_on_the_segment_within_the_policys_own_window() {
    let text = "[rate_limit.policies.user]\nquota = '60/1m'\n[rate_limit.policies.user.by_segment]\n\
                vip = '120/1m'\nat_risk = '1/1m'";
    let config = Config::from_toml(text).unwrap();
    let user = &config.rate_limit.policies[1];
    let quotas: Vec<_> = user.get_segment_quotas().iter().collect();
    let quota = |text: &str| text.parse::<Quota>().unwrap();
    assert_eq!(
        quotas,
        [
            &(Segment::AtRisk, quota("1/1m")),
            &(Segment::Vip, quota("120/1m"))
        ]
    );
    for (line, expected) in [
        (
            "vip = '120/2m'",
            "`rate_limit.policies.user.by_segment.vip` cannot be `120/2m`: allowed is a quota with the policy's own \
             window, 1m",
        ),
        (
            "vip = '0/1m'",
            "`rate_limit.policies.user.by_segment.vip` cannot be `0/1m`",
        ),
        ("vips = '120/1m'", "unknown variant `vips`"),
    ] {
        let text = format!("[rate_limit.policies.user.by_segment]\n{line}");
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn the_access_log_has_its_lines_a_second_or_is_off() {
    let read = |text: &str| Config::from_toml(text).map(|config| config.log.access);
    assert_eq!(read(""), Ok(None));
    assert_eq!(read("[log]"), Ok(None));
    assert_eq!(read("log.access = 'off'"), Ok(Some(0)));
    for lines in [0, 10, 1000] {
        assert_eq!(read(&format!("log.access = {lines}")), Ok(Some(lines)));
    }
    for (written, shown) in [
        ("1001", "1001"),
        ("-1", "-1"),
        ("'on'", "on"),
        ("'10'", "10"),
        ("1.5", "float"),
        ("true", "boolean"),
        ("{}", "table"),
    ] {
        let error = read(&format!("log.access = {written}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`log.access` cannot be `{shown}`: allowed is a whole number from 0 to 1000 lines in a second, or `off`"
            )
        );
    }
    let error = read("log.acces = 10").unwrap_err();
    assert!(error.to_string().contains("acces"), "{error}");
}
