//! A ban looked up in the call that charges.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use palisade::client::Network;
use palisade::rate_limit::Quota;
use palisade::rate_limit::store::{Admit, Gate, Verdict};
use palisade_tests::redis::RedisServer;

use super::{limits, patient, quota, text};
use crate::charge;

const BAN: &str = "palisade:ban:192.0.2.1";

fn gate(enforced: bool) -> Gate {
    Gate {
        client: Network::of("192.0.2.1".parse().unwrap(), 64),
        user: None,
        enforced,
    }
}

/// Writes a ban until a moment, in microseconds since 1970.
fn ban_until(server: &RedisServer, micros: u64) {
    let script =
        "return redis.call('SET', KEYS[1], struct.pack('>I2I7', 0x9a03, ARGV[1]) .. 'more')";
    let told = server.cli(&["EVAL", script, "1", BAN, &micros.to_string()]);
    assert_eq!(told.trim(), "OK");
}

fn micros_from_now(seconds: u64) -> u64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    (now + Duration::from_secs(seconds)).as_micros() as u64
}

async fn admit(limits: &Arc<dyn Admit>, gate: Gate, quota: Quota) -> Verdict {
    let key = text("ada");
    let charge = charge(1, &key, quota);
    limits.admit_through(gate, &[charge]).await.unwrap()
}

#[tokio::test]
async fn a_banned_client_is_denied_for_as_long_as_the_ban_lasts_and_charged_nothing() {
    let server = RedisServer::start();
    let limits = limits(&patient(&server).build().unwrap());
    let verdict = admit(&limits, gate(true), quota(60, 60)).await;
    assert_eq!((verdict.admitted, verdict.banned.client), (true, None));
    assert_eq!(verdict.tiers[0].remaining, 59);

    ban_until(&server, micros_from_now(600));
    for _ in 0..3 {
        let verdict = admit(&limits, gate(true), quota(60, 60)).await;
        assert!(!verdict.admitted);
        let left = verdict.banned.client.unwrap().as_secs();
        assert!((595..=600).contains(&left), "{left}");
        assert_eq!(
            (verdict.tiers[0].remaining, verdict.tiers[0].retry),
            (59, None)
        );
    }

    ban_until(&server, micros_from_now(0));
    let verdict = admit(&limits, gate(true), quota(60, 60)).await;
    assert_eq!((verdict.admitted, verdict.banned.client), (true, None));
    assert_eq!(verdict.tiers[0].remaining, 58);
}

#[tokio::test]
async fn a_gate_in_a_dry_run_is_told_and_denies_nothing() {
    let server = RedisServer::start();
    let limits = limits(&patient(&server).build().unwrap());
    ban_until(&server, micros_from_now(600));
    let verdict = admit(&limits, gate(false), quota(60, 60)).await;
    assert!(verdict.admitted && verdict.banned.client.is_some());
    assert_eq!(verdict.tiers[0].remaining, 59);
}

#[tokio::test]
async fn a_gate_alone_needs_no_policy() {
    let server = RedisServer::start();
    let limits = limits(&patient(&server).build().unwrap());
    let verdict = limits.admit_through(gate(true), &[]).await.unwrap();
    assert!(verdict.admitted && verdict.tiers.is_empty());
    ban_until(&server, micros_from_now(600));
    let verdict = limits.admit_through(gate(true), &[]).await.unwrap();
    assert!(!verdict.admitted && verdict.banned.client.is_some());
    // As long as a ban of a century may be, an answer holds 12.7 days.
    ban_until(&server, micros_from_now(100 * 365 * 86_400));
    let verdict = limits.admit_through(gate(true), &[]).await.unwrap();
    assert_eq!(
        verdict.banned.client,
        Some(Duration::from_micros((1 << 40) - 2))
    );
}

#[tokio::test]
async fn what_is_no_ban_bans_nobody_and_stays() {
    let server = RedisServer::start();
    let limits = limits(&patient(&server).build().unwrap());
    // Read whole, and by ranges: a log of a million hits would be too long.
    for quota in [quota(60, 60), quota(1_000_000, 60)] {
        for write in [
            &["SET", BAN, "short"][..],
            &["SET", BAN, "something else altogether"],
            &["LPUSH", BAN, "a list"],
        ] {
            server.cli(&["DEL", BAN]);
            server.cli(write);
            let verdict = admit(&limits, gate(true), quota).await;
            assert_eq!(
                (verdict.admitted, verdict.banned.client),
                (true, None),
                "{write:?}"
            );
            assert_eq!(server.cli(&["EXISTS", BAN]).trim(), "1");
        }
        server.cli(&["DEL", BAN]);
        ban_until(&server, micros_from_now(600));
        let verdict = admit(&limits, gate(true), quota).await;
        assert!(!verdict.admitted && verdict.banned.client.is_some());
    }
}

#[tokio::test]
async fn gated_and_plain_requests_of_one_batch_are_told_apart() {
    let server = RedisServer::start();
    let limits = limits(&patient(&server).build().unwrap());
    ban_until(&server, micros_from_now(600));
    let mut asked = Vec::new();
    for i in 0..200 {
        let limits = Arc::clone(&limits);
        asked.push(tokio::spawn(async move {
            let key = text("grace");
            let charge = charge(1, &key, quota(1_000, 60));
            if i % 2 == 0 {
                limits.admit_through(gate(true), &[charge]).await
            } else {
                limits.admit(&[charge]).await
            }
        }));
    }
    for (i, verdict) in asked.into_iter().enumerate() {
        let verdict = verdict.await.unwrap().unwrap();
        assert_eq!(verdict.admitted, i % 2 == 1);
        assert_eq!(verdict.banned.client.is_some(), i % 2 == 0);
        assert_eq!(verdict.tiers.len(), 1);
    }
    let verdict = admit(&limits, gate(false), quota(1_000, 60)).await;
    assert_eq!(verdict.tiers[0].remaining, 999);
    let key = text("grace");
    let charge = charge(1, &key, quota(1_000, 60));
    let verdict = limits.admit(&[charge]).await.unwrap();
    assert_eq!(verdict.tiers[0].remaining, 1_000 - 100 - 1);
}

#[tokio::test]
async fn a_ban_from_the_future_was_left_by_a_clock_that_stepped_back_and_begins_anew() {
    let server = RedisServer::start();
    let limits = limits(&patient(&server).build().unwrap());
    let script = "return redis.call('SET', KEYS[1], struct.pack('>I2I7I2BI7', 0x9a03, ARGV[2], 3, 2, ARGV[1]), 'EX', 9999)";
    let [since, until] = [3_600, 4_200].map(|seconds| micros_from_now(seconds).to_string());
    server.cli(&["EVAL", script, "1", BAN, &since, &until]);
    for _ in 0..2 {
        let verdict = admit(&limits, gate(true), quota(60, 60)).await;
        let left = verdict.banned.client.unwrap().as_secs();
        assert!(!verdict.admitted && (500..=600).contains(&left), "{left}");
    }
    // From now on it is as any other: it ends.
    let read = "local _, ends, strikes, reason, since = struct.unpack('>I2I7I2BI7', redis.call('GET', KEYS[1]))\n\
                return string.format('%.0f %.0f %d %d', since, ends, strikes, reason)";
    let told = server.cli(&["EVAL", read, "1", BAN]);
    let told: Vec<u64> = told.split(' ').map(|n| n.trim().parse().unwrap()).collect();
    assert!(told[0] <= micros_from_now(0));
    assert!(
        told[1].abs_diff(told[0]).abs_diff(600_000_000) < 1_000_000,
        "{told:?}"
    );
    assert_eq!(told[2..], [3, 2]);
    assert!(server.cli(&["PTTL", BAN]).trim().parse::<i64>().unwrap() > 0);
}
