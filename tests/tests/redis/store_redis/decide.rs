//! What the store decides, and what it leaves in Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use palisade_tests::redis::RedisServer;

use super::script::log_of;
use super::{Request, limits, patient, quota, text};
use crate::charge;

const IP_LOG: &str = "palisade:rate:ip:60s:ip:{192.0.2.1}";
const USER_LOG: &str = "palisade:rate:user:60s:text:{ada}";

/// Every key of the server has an expiry, and there are so many.
fn assert_keys_expire(server: &RedisServer, keys: usize) {
    let names = server.cli(&["KEYS", "*"]);
    let names: Vec<_> = names.lines().filter(|name| !name.is_empty()).collect();
    assert_eq!(names.len(), keys, "{names:?}");
    for name in names {
        let ttl: i64 = server.cli(&["PTTL", name]).parse().unwrap();
        assert!(ttl > 0, "{name} expires in {ttl} ms");
    }
}

#[tokio::test]
async fn denies_the_61st_request_of_a_user_and_charges_it_to_nobody() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let ada = Request::of("192.0.2.1", "ada");
    for i in 1..=60 {
        let verdict = ada.admit(&limits).await.unwrap();
        assert!(verdict.admitted);
        assert_eq!(
            (verdict.tiers[0].remaining, verdict.tiers[1].remaining),
            (200 - i, 60 - i)
        );
        assert!(verdict.tiers.iter().all(|tier| tier.retry.is_none()));
    }
    for _ in 0..10 {
        let verdict = ada.admit(&limits).await.unwrap();
        assert!(!verdict.admitted);
        let retry = verdict.tiers[1].retry.unwrap();
        assert!(retry > Duration::from_secs(1) && retry <= Duration::from_secs(60));
        assert_eq!(retry, verdict.tiers[1].reset);
        assert_eq!(
            (verdict.tiers[0].remaining, verdict.tiers[0].retry),
            (140, None)
        );
    }
    let neighbour = Request::of("192.0.2.1", "grace")
        .admit(&limits)
        .await
        .unwrap();
    assert_eq!(neighbour.tiers[0].remaining, 139);
    assert_keys_expire(&server, 3);
}

#[tokio::test]
async fn a_thousand_requests_at_once_from_two_stores_share_one_quota() {
    let server = RedisServer::start();
    let stores = [
        patient(&server).build().unwrap(),
        patient(&server).build().unwrap(),
    ];
    let limits = stores.each_ref().map(limits);
    let mut asked = Vec::new();
    for i in 0..1000 {
        let limits = limits[i % 2].clone();
        asked.push(tokio::spawn(async move {
            let user = i % 50;
            let request = Request::of("192.0.2.1", &format!("user-{user}"));
            let verdict = request.admit(&limits).await.unwrap();
            verdict.admitted.then_some(user)
        }));
    }
    let mut admitted = Vec::new();
    for request in asked {
        admitted.extend(request.await.unwrap());
    }
    assert_eq!(admitted.len(), 200);
    // Who came too late left nothing.
    let users = admitted.into_iter().collect::<BTreeSet<_>>().len();
    assert_keys_expire(&server, 1 + users);
}

#[tokio::test]
async fn a_dry_run_denies_nothing_and_is_charged_only_while_it_has_room() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let mut request = Request::of("192.0.2.1", "ada");
    request.quotas[1] = quota(2, 60);
    request.enforced[1] = false;
    for i in 0..5 {
        let verdict = request.admit(&limits).await.unwrap();
        assert!(verdict.admitted);
        assert_eq!(verdict.tiers[1].retry.is_some(), i >= 2);
    }
    assert_eq!(server.cli(&["STRLEN", USER_LOG]), "12");
    // Denied by the address: the dry run is not charged although it has room.
    request.quotas = [quota(5, 60), quota(9, 60)];
    assert!(!request.admit(&limits).await.unwrap().admitted);
    assert_eq!(server.cli(&["STRLEN", USER_LOG]), "12");
}

#[tokio::test]
async fn a_cost_above_the_limit_never_fits_and_writes_nothing() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let mut request = Request::of("192.0.2.1", "ada");
    request.cost = 61;
    let verdict = request.admit(&limits(&store)).await.unwrap();
    assert!(!verdict.admitted);
    assert_eq!(verdict.tiers[0].retry, None);
    assert_eq!(verdict.tiers[1].retry, Some(Duration::MAX));
    assert_eq!(verdict.tiers[1].reset, Duration::ZERO);
    assert_keys_expire(&server, 0);
}

#[tokio::test]
async fn keeps_the_history_when_a_quota_changes_between_short_and_long_logs() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let mut request = Request::of("192.0.2.1", "ada");
    request.quotas = [quota(1_000_000, 60), quota(1_000_000, 60)];
    request.cost = 500;
    for _ in 0..3 {
        assert!(request.admit(&limits).await.unwrap().admitted);
    }
    request.cost = 1;
    request.quotas[0] = quota(100, 60);
    assert_eq!(request.admit(&limits).await.unwrap().tiers[0].remaining, 0);
    request.quotas[0] = quota(2000, 60);
    assert_eq!(
        request.admit(&limits).await.unwrap().tiers[0].remaining,
        499
    );
    assert_keys_expire(&server, 2);
}

#[tokio::test]
async fn decides_in_the_same_call_after_script_flush() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let ada = Request::of("192.0.2.1", "ada");
    for i in 1..=3 {
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
        assert_eq!(ada.admit(&limits).await.unwrap().tiers[1].remaining, 60 - i);
    }
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_eval:calls=3,"), "{stats}");
}

#[tokio::test]
async fn begins_afresh_after_flushall() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let ada = Request::of("192.0.2.1", "ada");
    ada.admit(&limits).await.unwrap();
    server.cli(&["FLUSHALL"]);
    assert_eq!(ada.admit(&limits).await.unwrap().tiers[1].remaining, 59);
    assert_eq!(store.health().broken_logs(), 0);
}

/// What may have been long has another name, and expires within a second.
fn remove_dropped(server: &RedisServer, key: &str) {
    let dropped = server.cli(&["KEYS", &format!("{key}:dropped:*")]);
    for key in dropped.lines() {
        let left: i64 = server.cli(&["PTTL", key]).parse().unwrap();
        assert!(left == -2 || (0..=1_000).contains(&left), "{left}");
        server.cli(&["DEL", key]);
    }
}

#[tokio::test]
async fn drops_keys_of_the_wrong_type_and_counts_them() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    for (i, limit) in [200, 5000].into_iter().enumerate() {
        let mut request = Request::of("192.0.2.1", "ada");
        request.quotas[0] = quota(limit, 60);
        server.cli(&["FLUSHALL"]);
        server.cli(&["LPUSH", IP_LOG, "x"]);
        server.cli(&["HSET", USER_LOG, "x", "y"]);
        let verdict = request.admit(&limits).await.unwrap();
        assert!(verdict.admitted);
        assert_eq!(
            (verdict.tiers[0].remaining, verdict.tiers[1].remaining),
            (limit - 1, 59)
        );
        assert_eq!(store.health().broken_logs(), 2 * (i as u64 + 1));
        remove_dropped(&server, USER_LOG);
        assert_keys_expire(&server, 2);
    }
}

#[tokio::test]
async fn drops_garbage_of_any_length_and_counts_it() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let mut connection = redis::Client::open(server.admin_url())
        .unwrap()
        .get_connection()
        .unwrap();
    let mut garbage: Vec<Vec<u8>> = (1..40).map(|length| vec![b'7'; length]).collect();
    garbage.extend([4095, 4096, 4097, 5000, 70_002].map(|length| vec![0xff; length]));
    // With the right head: a stamp too few, half a stamp, stamps that run backwards.
    garbage.extend((2..7).map(|length| log_of([9])[..length].to_vec()));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = now.as_micros() as u64;
    garbage.push(log_of([now, now - 1_000_000]));
    garbage.push(log_of((0..2000).map(|i| now - i * 1000)));
    let count = garbage.len() as u64;
    for (i, garbage) in garbage.into_iter().enumerate() {
        redis::cmd("SET")
            .arg(IP_LOG)
            .arg(&garbage)
            .exec(&mut connection)
            .unwrap();
        let mut request = Request::of("192.0.2.1", &format!("user-{i}"));
        // Both ways of reading.
        request.quotas[0] = quota([200, 5000][i % 2], 60);
        let verdict = request.admit(&limits).await.unwrap();
        assert!(verdict.admitted);
        let fresh = request.quotas[0].limit() - 1;
        assert_eq!(
            verdict.tiers[0].remaining,
            fresh,
            "{} bytes: {garbage:?}",
            garbage.len()
        );
        assert_eq!(store.health().broken_logs(), i as u64 + 1);
        assert_eq!(server.cli(&["STRLEN", IP_LOG]), "7");
    }
    remove_dropped(&server, IP_LOG);
    assert_keys_expire(&server, count as usize + 1);
}

#[tokio::test]
async fn a_key_with_200_hits_takes_at_most_1400_bytes_however_it_was_filled() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let user = "u".repeat(64);
    let address = "2001:db8:1234:5678::1";
    // One by one, ten at a time, all at once; and shrunk from a log of 700 that the shorter window lets go.
    for (cost, first) in [(1, 0), (10, 0), (200, 0), (1, 700)] {
        server.cli(&["FLUSHALL"]);
        let mut request = Request::of(address, &user);
        if first > 0 {
            request.quotas = [quota(819, 60), quota(819, 60)];
            request.cost = first;
            assert!(request.admit(&limits).await.unwrap().admitted);
            request.quotas = [quota(1, 1), quota(1, 1)];
            request.cost = 1;
            let retry = request.admit(&limits).await.unwrap().tiers[0]
                .retry
                .unwrap();
            tokio::time::sleep(retry).await;
            while !request.admit(&limits).await.unwrap().admitted {}
            request.quotas = [quota(200, 60), quota(200, 60)];
            request.cost = 199;
            assert!(request.admit(&limits).await.unwrap().admitted);
        }
        request.quotas = [quota(200, 60), quota(200, 60)];
        request.cost = cost;
        while request.admit(&limits).await.unwrap().admitted {}
        assert!(!request.admit(&limits).await.unwrap().admitted);
        let keys = [
            "palisade:rate:ip:60s:ip:{2001:db8:1234:5678::/64}".to_owned(),
            format!("palisade:rate:user:60s:text:{{{user}}}"),
        ];
        for key in keys {
            let bytes: u64 = server.cli(&["MEMORY", "USAGE", &key]).parse().unwrap();
            assert!(
                (1000..=1400).contains(&bytes),
                "{key} takes {bytes} bytes at cost {cost}"
            );
        }
    }
}

#[tokio::test]
async fn a_request_that_goes_away_takes_nothing_along() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let key = text("ada");
    let charge = charge(1, &key, quota(1000, 60));
    for _ in 0..50 {
        // Dropped before it is sent, and while others of its batch wait.
        drop(limits.admit(&[charge]));
        let kept = limits.admit(&[charge]);
        drop(limits.admit(&[charge]));
        assert!(kept.await.unwrap().admitted);
    }
    assert!(!store.health().is_breaker_open());
    let remaining = limits.admit(&[charge]).await.unwrap().tiers[0].remaining;
    // Those sent before they went away were charged, the others not.
    assert!((849..=949).contains(&remaining), "{remaining}");
}

#[tokio::test]
async fn answers_requests_without_charges_and_with_unknown_policies() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    let verdict = limits.admit(&[]).await.unwrap();
    assert!(verdict.admitted && verdict.tiers.is_empty());
    let key = text("ada");
    let charge = charge(2, &key, quota(1, 60));
    assert!(limits.admit(&[charge]).await.is_err());
}
