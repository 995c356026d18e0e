//! Where a file is wrong, without what it says there.

/// Where a file is wrong, such as ``line 3, column 8, `[rate_limit] mode`: ``. The line itself stays out of it, since
/// it may hold the password of a Redis address.
pub(super) fn place(text: &str, at: usize) -> String {
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
