//! Redis: what it is, whether it may be used, and what it will do.

use std::error::Error;
use std::time::Duration;

use palisade::config::Config;
use palisade::store::redis::{Examination, RedisStore};

use super::report::Report;

const CONNECTION: &str = "redis.connection";
const SERVER: &str = "redis.server";
const VERSION: &str = "redis.version";
const COMMANDS: &str = "redis.commands";
const EVICTION: &str = "redis.eviction";
const CLOCK: &str = "redis.clock";
const TLS: &str = "redis.tls";
pub(super) const CHECKS: [&str; 7] = [CONNECTION, SERVER, VERSION, COMMANDS, EVICTION, CLOCK, TLS];

/// The oldest version whose commands suffice.
const OLDEST: [u32; 2] = [6, 2];
/// A difference of clocks that is worth a look, in milliseconds.
const APART: u64 = 1_000;

pub(super) async fn check(config: &Config, report: &mut Report) {
    let after = &CHECKS[1..];
    let skip = |report: &mut Report, checks: &[&'static str], reason: &str| {
        for check in checks {
            report.skip(check, reason);
        }
    };
    let Some(url) = &config.store.redis_url else {
        skip(
            report,
            &[CONNECTION],
            "no store.redis_url: the memory of each process keeps everything",
        );
        return skip(report, after, "no Redis");
    };
    let store = RedisStore::builder(url.as_str())
        .prefix(&config.store.prefix)
        .deadline(config.store.deadline)
        .build();
    let examined = match &store {
        Ok(store) => store.examine().await.map_err(|error| {
            let cause = error.source().map(ToString::to_string);
            cause.unwrap_or_else(|| error.to_string())
        }),
        Err(error) => Err(error.to_string()),
    };
    match examined {
        Ok(found) => {
            report.ok(CONNECTION, format!("{} answers", found.address));
            judge(&found, report);
        }
        Err(cause) => {
            let advice = "check the address, user and password of store.redis_url or REDIS_URL, and whether the server runs \
                          and can be reached from here; meanwhile each policy follows its on_store_failure";
            let of_tls = if url.as_str().starts_with("rediss:") {
                "; a server without TLS may not answer a rediss:// URL at all"
            } else {
                ""
            };
            report.fail(CONNECTION, cause, format!("{advice}{of_tls}"));
            skip(report, after, "Redis was not reached");
        }
    }
}

fn judge(found: &Examination, report: &mut Report) {
    match found.unfit {
        Some(unfit) => report.fail(
            SERVER,
            unfit,
            "change store.redis_url or REDIS_URL to a server that takes writes for all keys",
        ),
        None if found.mode.is_empty() => {
            report.skip(SERVER, "the server does not say what it is (HELLO)");
        }
        None => report.ok(SERVER, format!("{}, {}", found.mode, found.role)),
    }
    version(&found.version, report);
    commands(found, report);
    eviction(found.eviction.as_deref(), found.memory, report);
    clock(found.clock_ahead, found.round_trip, report);
    tls(found.tls, &found.address, report);
}

fn version(version: &str, report: &mut Report) {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if [major, minor] < OLDEST => report.fail(
            VERSION,
            format!("{version} is too old"),
            "update Redis to 6.2 or newer",
        ),
        (Some(Ok(_)), _) => report.ok(VERSION, version),
        _ => report.skip(VERSION, "the server does not say its version"),
    }
}

fn commands(found: &Examination, report: &mut Report) {
    if found.unfit.is_some() {
        return report.skip(COMMANDS, "no use of trying them on this server");
    }
    if found.denied.is_empty() {
        return report.ok(COMMANDS, "all that palisade needs may be run");
    }
    let problems: Vec<_> = found.denied.iter().map(ToString::to_string).collect();
    let meanwhile = if found.can_decide() {
        "suspicion, bans, customers, visitors or the reuse of connections fail without it"
    } else {
        "limits hold in each process alone without it"
    };
    report.fail(
        COMMANDS,
        problems.join("; "),
        format!("give the user the permissions of docs/operations.md, and rename no command; {meanwhile}"),
    );
}

fn eviction(policy: Option<&str>, memory: Option<u64>, report: &mut Report) {
    let Some(policy) = policy else {
        return report.skip(
            EVICTION,
            "unknown: the user may not ask (`+config|get` allows it)",
        );
    };
    if memory == Some(0) {
        return report.warn(
            EVICTION,
            format!("no maxmemory ({policy}): the server grows until the machine is out of memory"),
            "set maxmemory; deploy/redis/redis.conf says how much",
        );
    }
    let bytes = memory.unwrap_or_default();
    if policy == "noeviction" {
        report.ok(
            EVICTION,
            format!("noeviction, {bytes} bytes: a full server is an outage"),
        );
    } else {
        report.warn(
            EVICTION,
            format!("{policy}, {bytes} bytes: a full server forgets limits and bans, and nobody is told"),
            "set maxmemory-policy to noeviction, unless you would rather have forgotten limits than an outage",
        );
    }
}

fn clock(ahead: Option<i64>, round_trip: Duration, report: &mut Report) {
    let Some(ahead) = ahead else {
        return report.skip(CLOCK, "the server's time cannot be asked");
    };
    let apart = ahead.unsigned_abs();
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let text = format!("{apart} ms {side} this machine's");
    if apart < APART + round_trip.as_millis() as u64 / 2 {
        report.ok(CLOCK, text);
    } else {
        report.warn(
            CLOCK,
            text,
            "keep both by NTP: decisions go by the server's clock alone, but times in logs differ",
        );
    }
}

fn tls(is_on: bool, address: &str, report: &mut Report) {
    let is_near = ["127.", "localhost:", "::1:", "[::1]:", "/"];
    if is_on {
        report.ok(TLS, "the server is proved by its certificate");
    } else if is_near.iter().any(|near| address.starts_with(near)) {
        report.ok(TLS, "not needed: the server is on this machine");
    } else {
        report.warn(
            TLS,
            "the password, addresses and user ids cross the network in the clear",
            "use a rediss:// URL, unless the network is yours alone",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(judge: impl FnOnce(&mut Report)) -> String {
        let mut report = Report::new();
        judge(&mut report);
        report
            .table(false)
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_version_below_6_2_fails() {
        for (text, expected) in [
            ("6.0.16", "fail"),
            ("5.0.7", "fail"),
            ("6.2.0", "ok"),
            ("7.4", "ok"),
            ("10.0.1", "ok"),
            ("", "skipped"),
            ("unknown", "skipped"),
        ] {
            assert_eq!(verdict(|report| version(text, report)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_worth_a_look_is_no_failure() {
        for (policy, memory, expected) in [
            (Some("noeviction"), Some(1), "ok"),
            (Some("noeviction"), Some(0), "warn"),
            (Some("allkeys-lru"), Some(1), "warn"),
            (Some("volatile-ttl"), None, "warn"),
            (None, None, "skipped"),
        ] {
            let verdict = verdict(|report| eviction(policy, memory, report));
            assert_eq!(verdict, expected, "{policy:?} {memory:?}");
        }
        for (ahead, expected) in [
            (Some(0), "ok"),
            (Some(-999), "ok"),
            (Some(1_000), "warn"),
            (Some(-86_400_000), "warn"),
            (Some(i64::MIN), "warn"),
            (None, "skipped"),
        ] {
            let verdict = verdict(|report| clock(ahead, Duration::ZERO, report));
            assert_eq!(verdict, expected, "{ahead:?}");
        }
        for (is_on, address, expected) in [
            (true, "redis.internal:6380", "ok"),
            (false, "127.0.0.1:6379", "ok"),
            (false, "localhost:6379", "ok"),
            (false, "/run/redis.sock", "ok"),
            (false, "redis.internal:6379", "warn"),
            (false, "10.127.0.1:6379", "warn"),
        ] {
            assert_eq!(
                verdict(|report| tls(is_on, address, report)),
                expected,
                "{address}"
            );
        }
    }
}
