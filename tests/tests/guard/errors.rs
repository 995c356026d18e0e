//! Every key of the configuration with every sort of wrong value: what is said of it.

use palisade::config::Config;
use palisade::stack::Stack;

use crate::recorded::compare;

/// Each key, and what must stand before it.
const KEYS: [(&str, &str); 92] = [
    ("", "unknown"),
    ("", "store"),
    ("", "segments"),
    ("store", "redis_url"),
    ("store", "prefix"),
    ("store", "deadline"),
    ("store", "analytics_memory"),
    ("store", "secret_file"),
    ("store", "unknown"),
    ("client", "trusted_proxies"),
    ("client", "forwarded_header"),
    ("client", "ipv6_prefix"),
    ("client", "nat64_prefixes"),
    ("client", "unknown"),
    ("maintenance", "mode"),
    ("maintenance", "retry_after"),
    ("maintenance", "exempt"),
    ("maintenance", "unknown"),
    ("rate_limit", "ip"),
    ("rate_limit", "user"),
    ("rate_limit", "on_store_failure"),
    ("rate_limit", "mode"),
    ("rate_limit", "headers"),
    ("rate_limit", "exempt"),
    ("rate_limit", "policies"),
    ("rate_limit", "unknown"),
    ("rate_limit.exempt", "cidrs"),
    ("rate_limit.exempt", "users"),
    ("rate_limit.exempt", "routes"),
    ("rate_limit.exempt", "unknown"),
    ("rate_limit.policies", "P p"),
    ("rate_limit.policies.ip", "key"),
    ("rate_limit.policies.p", "key"),
    ("rate_limit.policies.p", "quota"),
    ("rate_limit.policies.user", "quota"),
    ("rate_limit.policies.user", "cost"),
    ("rate_limit.policies.user", "routes"),
    ("rate_limit.policies.user", "on_store_failure"),
    ("rate_limit.policies.user", "mode"),
    ("rate_limit.policies.user", "by_segment"),
    ("rate_limit.policies.user", "unknown"),
    ("rate_limit.policies.user.by_segment", "vip"),
    ("rate_limit.policies.user.by_segment", "unknown"),
    ("suspicion", "credential_stuffing"),
    ("suspicion", "endpoint_scanning"),
    ("suspicion", "abuse"),
    ("suspicion", "credential_stuffing_slow"),
    ("suspicion", "password_spraying"),
    ("suspicion", "distributed_stuffing"),
    ("suspicion", "success_after_failures"),
    ("suspicion", "exempt"),
    ("suspicion.exempt", "preset"),
    ("suspicion.abuse", "threshold"),
    ("suspicion.abuse", "distinct"),
    ("suspicion.abuse", "routes"),
    ("suspicion", "hash_clients"),
    ("suspicion", "bans"),
    ("suspicion", "unknown"),
    ("suspicion.bans", "for"),
    ("suspicion.bans", "longest"),
    ("suspicion.bans", "jitter"),
    ("suspicion.bans", "kinds"),
    ("suspicion.bans", "response"),
    ("suspicion.bans", "mode"),
    ("funnel", "visitors"),
    ("segments", "retention"),
    ("segments", "vip_spend"),
    ("segments", "vip_orders"),
    ("segments", "at_risk_after"),
    ("segments", "churned_after"),
    ("segments", "currency"),
    ("segments", "sweep_every"),
    ("segments", "spill_file"),
    ("sessions", "cookie"),
    ("sessions", "insecure_cookie"),
    ("sessions", "idle"),
    ("sessions", "absolute"),
    ("sessions", "remember"),
    ("sessions", "touch_every"),
    ("sessions", "max_per_user"),
    ("sessions", "on_max"),
    ("sessions", "on_store_failure"),
    ("sessions", "known_for"),
    ("sessions", "on_conviction"),
    ("sessions", "allowed_origins"),
    ("sessions", "by_address"),
    ("sessions", "previous_secret_file"),
    ("sessions", "operator_token_file"),
    ("sessions", "unknown"),
    ("sessions.remember", "idle"),
    ("sessions.remember", "unknown"),
    ("log", "access"),
];

const VALUES: [&str; 22] = [
    "true",
    "-1",
    "0",
    "5",
    "99999999999",
    "1.5",
    "''",
    "'x'",
    "'off'",
    "'ip'",
    "'0s'",
    "'2h'",
    "'400d'",
    "'0/1m'",
    "'5/1m'",
    "'1000001/25h'",
    "'a{b}'",
    "'redis://:hunter2@127.0.0.1:1/x'",
    "[]",
    "['x']",
    "['GET /x', '10.0.0.0/99']",
    "{}",
];

/// Texts that are wrong as a whole, or contradict themselves.
const WHOLE: [&str; 19] = [
    "[store",
    "store = ",
    "[store]\nredis_url = \"\"\"\nhunter2=\n",
    "[store]\nredis_ulr = \"redis://:hunter2@db\"",
    "[[store]]",
    "[store]\nprefix = 'a'\nprefix = 'b'",
    "[rate_limit]\nip = '1/1m'\n[rate_limit.policies.ip]\nquota = '2/1m'",
    "[rate_limit.policies.p]\nkey = 'ip'\nquota = '5/1m'\ncost = 6",
    "[rate_limit.policies.user]\nquota = '60/1m'\n[rate_limit.policies.user.by_segment]\nvip = '120/2m'",
    "[suspicion]\nabuse = 'off'\n[suspicion.bans]\nkinds = ['abuse']",
    "[suspicion]\nabuse = { threshold = '65/5m', distinct = true }",
    "[suspicion]\npassword_spraying = { threshold = '5/5m', routes = ['/login'] }",
    "[maintenance.exempt]\npreset = 'assets'",
    "[suspicion.bans]\nfor = '25h'",
    "[suspicion.bans]\nfor = '2h'\nlongest = '1h'",
    "[segments]\nretention = '60d'",
    "[segments]\nat_risk_after = '90d'",
    "[segments]\ncurrency = 'dollars'",
    "[store]\nredis_url = 'rediss://127.0.0.1:1'",
];

fn said_of(text: &str) -> String {
    match Config::from_toml(text) {
        Err(error) => error.to_string(),
        Ok(config) => match Stack::builder().config(config).build() {
            Err(error) => format!("when built: {error}"),
            Ok(_) => "accepted".to_owned(),
        },
    }
}

#[test]
fn every_error_of_the_configuration_is_as_it_was_recorded() {
    let mut said = String::new();
    for (section, key) in KEYS {
        for value in VALUES {
            let key = if key.contains(' ') {
                format!("'{key}'")
            } else {
                key.to_owned()
            };
            let text = match section {
                "" => format!("{key} = {value}"),
                section => format!("[{section}]\n{key} = {value}"),
            };
            let place = if section.is_empty() {
                key
            } else {
                format!("{section}.{key}")
            };
            said.push_str(&format!("{place} = {value}\n    {}\n", said_of(&text)));
        }
    }
    for text in WHOLE {
        said.push_str(&format!("{text:?}\n    {}\n", said_of(text)));
    }
    let mut answers = said.lines().filter(|line| line.starts_with("    "));
    assert!(answers.all(|line| !line.contains("hunter2")));
    compare("errors.txt", &said);
}
