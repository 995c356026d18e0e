//! Redis killed, hung, flushed, restarted, read-only and out of memory, under load.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::Webstore;
use tokio::task::JoinHandle;

/// Many clients behind a trusted proxy, none of them near its limit.
const CONFIG: &str =
    "[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '1000000/1h'\n";
/// The contract: closed within two seconds of the store's return.
const RECOVERY: Duration = Duration::from_secs(2);

/// Steady traffic in the background, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Vec<(u16, Instant, Duration)>>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = |n: u32| {
            let (stop, client) = (Arc::clone(&stop), client.clone());
            tokio::spawn(async move {
                let (mut replies, mut count) = (Vec::new(), 0_u32);
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    let address = format!("10.{n}.{}.{}", count / 250 % 250, count % 250);
                    let at = Instant::now();
                    let reply = client
                        .get("/us/products", &[("x-forwarded-for", &address)])
                        .await;
                    replies.push((reply.status.as_u16(), at, at.elapsed()));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                replies
            })
        };
        let workers = (0..4).map(worker).collect();
        Self { stop, workers }
    }

    /// Every reply as (status, sent, latency).
    async fn stop(self) -> Vec<(u16, Instant, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut replies = Vec::new();
        for worker in self.workers {
            replies.extend(worker.await.unwrap());
        }
        replies
    }
}

fn assert_all_ok(replies: &[(u16, Instant, Duration)]) {
    assert!(replies.len() > 50, "hardly any traffic: {}", replies.len());
    let failed: Vec<_> = replies
        .iter()
        .filter(|(status, ..)| *status != 200)
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} failed: {:?}",
        failed.len(),
        replies.len(),
        failed[0]
    );
}

async fn count(webstore: &Webstore, result: &str) -> f64 {
    webstore.scrape().await.sum(
        "webstore_rate_limit_requests_total",
        &[("policy", "ip"), ("result", result)],
    )
}

async fn breaker_open(webstore: &Webstore) -> bool {
    webstore
        .scrape()
        .await
        .sum("webstore_store_breaker_open", &[])
        == 1.0
}

/// Waits until the breaker is as wanted, at most `within`.
async fn until_breaker(webstore: &Webstore, open: bool, within: Duration) {
    let start = Instant::now();
    while breaker_open(webstore).await != open {
        assert!(
            start.elapsed() < within,
            "the breaker is not {} after {within:?}",
            if open { "open" } else { "closed" }
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Breaks Redis under load and mends it again; no request fails, the metrics tell, the limits come back.
async fn survives(
    mode: &str,
    break_it: impl AsyncFn(&mut RedisServer),
    mend_it: impl AsyncFn(&mut RedisServer),
) {
    let mut redis = RedisServer::start();
    let config = format!("{CONFIG}on_store_failure = '{mode}'\n");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let client = webstore.client();
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(count(&webstore, "admitted").await > 0.0);

    break_it(&mut redis).await;
    until_breaker(&webstore, true, Duration::from_secs(5)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(count(&webstore, "fallback_admitted").await > 0.0);

    mend_it(&mut redis).await;
    until_breaker(&webstore, false, RECOVERY).await;
    let before = count(&webstore, "admitted").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        count(&webstore, "admitted").await > before,
        "Redis decides again"
    );
    assert_all_ok(&load.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_fails_no_request_in_local() {
    survives(
        "local",
        async |redis| redis.kill(),
        async |redis| redis.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_fails_no_request_in_open() {
    survives(
        "open",
        async |redis| redis.kill(),
        async |redis| redis.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_redis_fails_no_request() {
    survives(
        "local",
        async |redis| redis.pause(),
        async |redis| redis.resume(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_redis_fails_no_request() {
    let read_only = async |redis: &mut RedisServer| {
        // A replica of nobody: port 1 is never a Redis server.
        redis.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    };
    let writable = async |redis: &mut RedisServer| {
        redis.cli(&["REPLICAOF", "NO", "ONE"]);
    };
    survives("local", read_only, writable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_out_of_memory_fails_no_request() {
    let full = async |redis: &mut RedisServer| {
        redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    };
    let roomy = async |redis: &mut RedisServer| {
        redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    };
    survives("local", full, roomy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_delays_a_request_by_at_most_the_deadline_and_not_at_all_once_the_breaker_is_open() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), CONFIG);
    let client = webstore.client();
    let get = async || {
        let start = Instant::now();
        assert_eq!(client.get("/us/products", &[]).await.status, 200);
        start.elapsed()
    };
    for _ in 0..20 {
        get().await;
    }
    redis.pause();
    let mut delayed = 0;
    while !breaker_open(&webstore).await {
        let latency = get().await;
        // The deadline is 50 ms; the rest is what a busy machine may add.
        assert!(latency < Duration::from_millis(50 + 200), "{latency:?}");
        delayed += 1;
        assert!(delayed <= 6, "the breaker opens after five failures");
    }
    let mut open: Vec<_> = Vec::new();
    for _ in 0..200 {
        open.push(get().await);
    }
    open.sort();
    // Far below the deadline: no request waits for the server any more.
    assert!(
        open[100] < Duration::from_millis(20),
        "median {:?}",
        open[100]
    );
    redis.resume();
    until_breaker(&webstore, false, RECOVERY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_with_redis_down_and_uses_it_once_it_is_there() {
    let mut redis = RedisServer::start();
    redis.kill();
    let webstore = Webstore::start(Some(&redis.url()), CONFIG);
    let client = webstore.client();
    for _ in 0..10 {
        assert_eq!(client.get("/us/products", &[]).await.status, 200);
    }
    assert!(breaker_open(&webstore).await);
    assert_eq!(count(&webstore, "fallback_admitted").await, 10.0);
    redis.restart();
    until_breaker(&webstore, false, RECOVERY).await;
    assert_eq!(client.get("/us/products", &[]).await.status, 200);
    assert_eq!(count(&webstore, "admitted").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_or_a_lost_script_is_not_noticed() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), CONFIG);
    let load = Load::start(&webstore.client());
    for command in [
        &["FLUSHALL"][..],
        &["SCRIPT", "FLUSH"],
        &["FLUSHALL"],
        &["SCRIPT", "FLUSH"],
    ] {
        tokio::time::sleep(Duration::from_millis(150)).await;
        redis.cli(command);
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_all_ok(&load.stop().await);
    assert_eq!(count(&webstore, "fallback_admitted").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_in_an_outage_and_all_losses_together_add_at_most_one_quota_for_each_process() {
    let mut redis = RedisServer::start();
    let config = "[rate_limit]\nip = '30/1m'\n";
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), config));
    let clients = processes.each_ref().map(Webstore::client);
    let mut admitted = 0;
    for outage in 0..3 {
        for _ in 0..80 {
            for client in &clients {
                let status = client.get("/us/products", &[]).await.status.as_u16();
                assert!(status == 200 || status == 429, "{status}");
                admitted += u32::from(status == 200);
            }
        }
        // In one window: Redis hangs, comes back with its log, hangs again.
        if outage % 2 == 0 {
            redis.pause();
        } else {
            redis.resume();
            for webstore in &processes {
                until_breaker(webstore, false, RECOVERY).await;
            }
        }
    }
    assert!(
        (30..=90).contains(&admitted),
        "{admitted} admitted in one window of 30"
    );
    redis.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_policy_answers_503_while_redis_is_away() {
    let mut redis = RedisServer::start();
    let webstore = Webstore::start(
        Some(&redis.url()),
        "[rate_limit]\non_store_failure = 'closed'\n",
    );
    let client = webstore.client();
    assert_eq!(client.get("/us/products", &[]).await.status, 200);
    redis.kill();
    let refused = client.get("/us/products", &[]).await;
    assert_eq!(refused.status, 503);
    let problem = refused.json();
    assert_eq!(
        problem["type"],
        "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    );
    assert_eq!(problem["violated-policies"], serde_json::json!(["ip"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_busy_service_has_a_ttl() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), CONFIG);
    let client = webstore.client();
    for n in 0..50 {
        let address = format!("203.0.113.{n}");
        let token = format!("Bearer user-token-u{n}");
        client
            .get(
                "/us/products",
                &[("x-forwarded-for", &address), ("authorization", &token)],
            )
            .await;
    }
    let keys = redis.cli(&["KEYS", "*"]);
    assert_eq!(
        keys.lines()
            .filter(|key| key.starts_with("palisade:rate:"))
            .count(),
        100,
        "{keys}"
    );
    for key in keys.lines() {
        let ttl: i64 = redis.cli(&["PTTL", key]).trim().parse().unwrap();
        assert!(ttl > 0, "{key} has TTL {ttl}");
    }
}
