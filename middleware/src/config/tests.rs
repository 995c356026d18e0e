use std::time::Duration;

use super::*;
use crate::client::ForwardedHeader;
use crate::model::section::Takes;
use crate::rate_limit::Headers;

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
        .watches
        .iter()
        .map(|(kind, watch)| format!("{kind} {}", watch.threshold))
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
             quotes, `*`, `?` or `\\`, and no URL",
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
            "`segments.retention` cannot be `60d`: allowed is more than `segments.churned_after`, 90d",
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
        (
            "rate_limit.ip = 40",
            [
                "`rate_limit.ip` cannot be `40`: allowed is a text in quotes",
                "<count>/<duration>",
                "`200/1m`",
            ],
        ),
        (
            "client.forwarded_header = true",
            ["boolean `true`", "`x-forwarded-for`", "`forwarded`"],
        ),
        (
            "rate_limit.mode = true",
            ["`rate_limit.mode`", "`enforce`", "`dry_run`"],
        ),
        (
            "rate_limit.headers = 11",
            ["integer `11`", "`draft-11`", "`none`"],
        ),
        (
            "rate_limit.on_store_failure = []",
            ["sequence", "`local`", "`closed`"],
        ),
        (
            "rate_limit.policies.p.key = 1",
            ["integer `1`", "`ip`", "`user`"],
        ),
        (
            "rate_limit.policies.p.mode = {}",
            ["map", "`enforce`", "`dry_run`"],
        ),
        (
            "rate_limit.policies.p.on_store_failure = 0.5",
            ["floating point `0.5`", "`open`", "`closed`"],
        ),
        (
            "suspicion.bans.mode = true",
            ["`enforce`", "`dry_run`", "boolean"],
        ),
        (
            "suspicion.bans.response = 403",
            ["`forbidden`", "`too_many_requests`", "integer"],
        ),
        (
            "maintenance.mode = true",
            ["boolean `true`", "`off`", "`on`"],
        ),
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
        "maintenance.exempt",
        "suspicion.exempt",
        "suspicion.bans",
        "sessions.remember",
    ];
    let values = [
        "true",
        "5",
        "1.5",
        "'x'",
        "1979-05-27",
        "[]",
        "['x']",
        "[5]",
        "{}",
    ];
    let tables = tables.map(str::to_owned);
    for table in known("unknown = 1").into_iter().chain(tables) {
        for key in known(&format!("[{table}]\nunknown = 1")) {
            let mut keys = File::KEYS.iter().flat_map(|keys| keys.iter());
            let (_, takes) = keys
                .find(|(known, _)| *known == key)
                .unwrap_or_else(|| panic!("{table}.{key}"));
            let right: &[&str] = match takes {
                Takes::Text(_) => &["'x'"],
                Takes::Texts(_) => &["[]", "['x']"],
                Takes::Number(_) => &["5"],
                Takes::Flag => &["true"],
                Takes::Table(_) => &["{}"],
                Takes::Said => &values,
            };
            for value in values.iter().filter(|it| !right.contains(it)) {
                let error = Config::from_toml(&format!("[{table}]\n{key} = {value}"));
                let error = error.unwrap_err().to_string();
                let key = format!("`{table}.{key}` cannot be `");
                assert!(error.starts_with(&key), "{value}: {error}");
                let (_, allowed) = error.split_once(": allowed is ").unwrap();
                let is_told = allowed.contains(['`', '"']) || allowed.contains(char::is_numeric);
                assert!(is_told || allowed.ends_with("file"), "{error}");
            }
        }
    }
}

#[test]
fn a_value_of_another_type_is_told_wherever_it_stands() {
    for (text, error) in [
        (
            "store = 5",
            "`store` cannot be `5`: allowed is a section, `[store]`",
        ),
        (
            "segments = ['90d']",
            "`segments` cannot be `[…]`: allowed is a section, `[segments]`",
        ),
        (
            "suspicion = { exempt = { cidrs = '10.0.0.0/8' } }",
            "`suspicion.exempt.cidrs` cannot be `10.0.0.0/8`: allowed is a list of texts in quotes: networks such as \
             `10.0.0.0/8`, and addresses",
        ),
        (
            "[rate_limit.policies]\nip = '5/1m'",
            "`rate_limit.policies.ip` cannot be `5/1m`: allowed is a table such as `{ key = \"ip\", quota = \"200/1m\" }`",
        ),
        (
            "[rate_limit.policies.policies]\nkey = 'ip'\nquota = 40",
            "`rate_limit.policies.policies.quota` cannot be `40`: allowed is a text in quotes: `<count>/<duration>`",
        ),
        (
            "[rate_limit.exempt]\nroutes = ['/healthz', 404]",
            "`rate_limit.exempt.routes` cannot be `404`: allowed is a list of texts in quotes",
        ),
        (
            "maintenance.retry_after = 60",
            "`maintenance.retry_after` cannot be `60`: allowed is a text in quotes: a duration of 1s to 7d",
        ),
        (
            "sessions.cookie = 'yes'",
            "`sessions.cookie` cannot be `yes`: allowed is `true` or `false`",
        ),
        (
            "[client]\ntrusted_proxies = 'redis://:hunter2@db'",
            "`client.trusted_proxies` cannot be `redis://…@db`",
        ),
        (
            "suspicion.exempt = ['10.0.0.0/8']",
            "`suspicion.exempt` cannot be `[…]`",
        ),
    ] {
        let said = Config::from_toml(text).unwrap_err().to_string();
        assert!(said.starts_with(error), "{text}\n  {said}");
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
        "[store]\nredis_ulr = \"redis://:hunter2@db\"",
        "[store]\nredis_url = \"\"\"\nhunter2=\n",
    ] {
        let error = Config::from_toml(broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.to_string().contains("line "), "{error}");
    }
    let list = Config::from_toml("store.redis_url = [\"redis://:hunter2@db\"]");
    let error = list.unwrap_err().to_string();
    assert!(
        error.starts_with("`store.redis_url` cannot be `[…]`"),
        "{error}"
    );
}
