//! Redis killed, hung, restarted, read-only and out of memory, under load: no request fails, and none waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::{undisturbed, until};
use palisade_tests::webstore::{PATIENT, Webstore};
use tokio::task::JoinHandle;

/// Many clients behind a trusted proxy, none of them near its limit.
const CONFIG: &str =
    "[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '1000000/1h'\n";

/// Steady traffic in the background, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<u16>>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let worker = |n: u32| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let client = client.clone();
            tokio::spawn(async move {
                let (mut statuses, mut count) = (Vec::new(), 0_u32);
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    let address = format!("10.{n}.{}.{}", count / 250 % 250, count % 250);
                    let reply = client
                        .get("/us/products", &[("x-forwarded-for", &address)])
                        .await;
                    statuses.push(reply.status.as_u16());
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                statuses
            })
        };
        let workers = (0..4).map(worker).collect();
        Self {
            stop,
            answered,
            workers,
        }
    }

    /// Waits until so many more requests were answered.
    async fn answers(&self, more: usize) {
        let answered = || self.answered.load(Ordering::Relaxed);
        let wanted = answered() + more;
        until("there is traffic", async || answered() >= wanted).await;
    }

    /// Ends the traffic, of which every request must have been answered with 200.
    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            let statuses = worker.await.unwrap();
            assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        }
    }
}

fn count(scrape: &Scrape, result: &str) -> f64 {
    scrape.sum(
        "webstore_rate_limit_requests_total",
        &[("policy", "ip"), ("result", result)],
    )
}

fn breaker_open(scrape: &Scrape) -> bool {
    scrape.sum("webstore_store_breaker_open", &[]) == 1.0
}

/// Breaks Redis under load and mends it again; no request fails, the metrics tell, the limits come back.
async fn survives(
    config: &str,
    break_it: impl AsyncFn(&mut RedisServer),
    mend_it: impl AsyncFn(&mut RedisServer),
) {
    let mut redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), config);
    let load = Load::start(&webstore.client());
    load.answers(50).await;
    assert!(count(&webstore.scrape().await, "admitted") > 0.0);

    break_it(&mut redis).await;
    let tripped = webstore
        .scrape_until("the breaker is open", SOON, breaker_open)
        .await;
    load.answers(200).await;
    let without = webstore.scrape().await;
    assert!(count(&without, "fallback_admitted") >= count(&tripped, "fallback_admitted") + 200.0);

    mend_it(&mut redis).await;
    webstore.until_breaker_closes().await;
    let before = count(&webstore.scrape().await, "admitted");
    webstore
        .scrape_until("Redis decides again", SOON, |scrape| {
            count(scrape, "admitted") > before
        })
        .await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_fails_no_request_in_local() {
    survives(
        &format!("{PATIENT}{CONFIG}on_store_failure = 'local'\n"),
        async |redis| redis.kill(),
        async |redis| redis.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_fails_no_request_in_open() {
    survives(
        &format!("{PATIENT}{CONFIG}on_store_failure = 'open'\n"),
        async |redis| redis.kill(),
        async |redis| redis.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_redis_fails_no_request() {
    // With a deadline, since nothing else ends a call to a server that hangs.
    survives(
        &format!("[store]\ndeadline = '1s'\n{CONFIG}"),
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
    survives(&format!("{PATIENT}{CONFIG}"), read_only, writable).await;
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
    survives(&format!("{PATIENT}{CONFIG}"), full, roomy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_delays_a_request_by_at_most_the_deadline_and_not_at_all_once_the_breaker_is_open() {
    // Long against what a busy machine takes for a request.
    const DEADLINE: Duration = Duration::from_secs(1);
    let redis = RedisServer::start();
    let config = format!("[store]\ndeadline = '1s'\n{CONFIG}");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let client = webstore.client();
    let get = async || {
        let start = Instant::now();
        assert_eq!(client.get("/us/products", &[]).await.status, 200);
        start.elapsed()
    };
    let (mut healthy, mut delayed, mut open) = (Vec::new(), Vec::new(), Vec::new());
    // Alternately, so that whatever else this machine does meets both alike.
    for _ in 0..2 {
        for _ in 0..300 {
            healthy.push(get().await);
        }
        redis.pause();
        for sent in 0.. {
            if breaker_open(&webstore.scrape().await) {
                break;
            }
            assert!(sent < 5, "the breaker is closed after five failures");
            delayed.push(get().await);
        }
        for _ in 0..300 {
            open.push(get().await);
        }
        redis.resume();
        webstore.until_breaker_closes().await;
    }
    // The contract: an open breaker adds less than a millisecond.
    let (healthy, open) = (undisturbed(healthy), undisturbed(open));
    assert!(
        open < healthy + Duration::from_millis(1),
        "{open:?} with an open breaker, {healthy:?} before"
    );
    // Beyond the deadline lies only what this machine takes for a request; a second wait would double the least.
    let least = delayed.iter().min().expect("requests met the hang");
    assert!(
        (DEADLINE..2 * DEADLINE).contains(least),
        "at least {least:?}"
    );
    let most = delayed.iter().max().expect("requests met the hang");
    assert!(*most < 10 * DEADLINE, "at most {most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_with_redis_down_and_uses_it_once_it_is_there() {
    let mut redis = RedisServer::stopped();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{CONFIG}"));
    let client = webstore.client();
    for _ in 0..10 {
        assert_eq!(client.get("/us/products", &[]).await.status, 200);
    }
    let without = webstore.scrape().await;
    assert!(breaker_open(&without));
    assert_eq!(count(&without, "fallback_admitted"), 10.0);
    redis.restart();
    webstore.until_breaker_closes().await;
    assert_eq!(client.get("/us/products", &[]).await.status, 200);
    assert_eq!(count(&webstore.scrape().await, "admitted"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_or_a_lost_script_is_not_noticed() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{CONFIG}"));
    let load = Load::start(&webstore.client());
    for command in [
        &["FLUSHALL"][..],
        &["SCRIPT", "FLUSH"],
        &["FLUSHALL"],
        &["SCRIPT", "FLUSH"],
    ] {
        load.answers(50).await;
        redis.cli(command);
    }
    load.answers(50).await;
    load.stop().await;
    assert_eq!(count(&webstore.scrape().await, "fallback_admitted"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_policy_answers_503_while_redis_is_away() {
    let mut redis = RedisServer::start();
    let webstore = Webstore::start(
        Some(&redis.url()),
        &format!("{PATIENT}[rate_limit]\non_store_failure = 'closed'\n"),
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
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{CONFIG}"));
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
