//! Suspicious activity of real clients of the whole service: incidents in its metrics, and nothing that waits for them.

use std::time::{Duration, Instant};

use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::undisturbed;
use palisade_tests::webstore::{PATIENT, Webstore};

/// Clients behind a trusted proxy, none of them near its limit.
const CONFIG: &str =
    "[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '1000000/1h'\n";

const KINDS: [&str; 4] = [
    "credential_stuffing",
    "endpoint_scanning",
    "abuse",
    "credential_stuffing_slow",
];

/// Incidents of each of [`KINDS`].
fn incidents(scrape: &Scrape) -> [f64; 4] {
    KINDS.map(|kind| {
        let labels = [("type", kind)];
        let name = "webstore_security_suspicious_activity_total";
        assert_eq!(scrape.matching(name, &labels).count(), 1, "{kind}");
        scrape.sum(name, &labels)
    })
}

fn failures(scrape: &Scrape, result: &str) -> f64 {
    scrape.sum("webstore_security_failures_total", &[("result", result)])
}

/// Waits until so many failures were counted, and tells the incidents.
async fn counted(webstore: &Webstore, failed: f64) -> [f64; 4] {
    let scrape = webstore
        .scrape_until("every failure is counted", SOON, |scrape| {
            failures(scrape, "counted") + failures(scrape, "counted_locally") >= failed
        })
        .await;
    assert_eq!(failures(&scrape, "dropped"), 0.0);
    incidents(&scrape)
}

async fn guess(client: &Client, address: &str) {
    let body = r#"{"user":"ada","password":"guess"}"#;
    let reply = client
        .post("/login", &[("x-forwarded-for", address)], body)
        .await;
    assert_eq!(reply.status, 401);
}

async fn probe(client: &Client, address: &str, n: u32) {
    let path = format!("/wp-admin/{n}.php");
    let reply = client.get(&path, &[("x-forwarded-for", address)]).await;
    assert_eq!(reply.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_one_incident_at_its_threshold_on_both_stores() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        let webstore = Webstore::start(url.as_deref(), &format!("{PATIENT}{CONFIG}"));
        let client = webstore.client();
        assert_eq!(incidents(&webstore.scrape().await), [0.0; 4]);
        for _ in 0..4 {
            guess(&client, "203.0.113.1").await;
        }
        assert_eq!(counted(&webstore, 4.0).await, [0.0; 4]);
        guess(&client, "203.0.113.1").await;
        assert_eq!(counted(&webstore, 5.0).await, [1.0, 0.0, 0.0, 0.0]);
        for n in 0..19 {
            probe(&client, "203.0.113.2", n).await;
        }
        assert_eq!(counted(&webstore, 24.0).await, [1.0, 1.0, 0.0, 0.0]);
        probe(&client, "203.0.113.2", 19).await;
        assert_eq!(counted(&webstore, 25.0).await, [1.0, 1.0, 1.0, 0.0]);
        for _ in 0..100 {
            guess(&client, "203.0.113.1").await;
        }
        assert_eq!(counted(&webstore, 125.0).await, [1.0, 1.0, 2.0, 1.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_redis_tell_each_incident_once() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{CONFIG}");
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config));
    let clients = processes.each_ref().map(Webstore::client);
    for n in 0..30 {
        probe(&clients[n % 2], "203.0.113.1", n as u32).await;
    }
    let mut sum = [0.0; 4];
    for process in &processes {
        let incidents = counted(process, 15.0).await;
        sum = std::array::from_fn(|kind| sum[kind] + incidents[kind]);
    }
    assert_eq!(sum, [0.0, 1.0, 1.0, 0.0]);
}

/// The kinds of logins, one network each below its limits.
const LOGINS: &str = "[suspicion]\npassword_spraying = '5/5m'\ndistributed_stuffing = '4/1h'\nsuccess_after_failures = 'on'\n";
const LOGIN_KINDS: [&str; 3] = [
    "password_spraying",
    "distributed_stuffing",
    "success_after_failures",
];

/// Incidents of each of [`LOGIN_KINDS`], of all processes, once they have counted so many failures.
async fn of_logins(processes: &[Webstore], failed: f64) -> [f64; 3] {
    let start = Instant::now();
    loop {
        let (mut counted, mut sum) = (0.0, [0.0; 3]);
        for process in processes {
            let scrape = process.scrape().await;
            counted += failures(&scrape, "counted") + failures(&scrape, "counted_locally");
            let name = "webstore_security_suspicious_activity_total";
            sum = std::array::from_fn(|n| sum[n] + scrape.sum(name, &[("type", LOGIN_KINDS[n])]));
        }
        if counted >= failed {
            return sum;
        }
        assert!(start.elapsed() < SOON, "{counted} counted of {failed}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn login(client: &Client, address: &str, user: &str, password: &str) -> u16 {
    let body = format!(r#"{{"user":"{user}","password":"{password}"}}"#);
    let headers = [("x-forwarded-for", address)];
    client.post("/login", &headers, &body).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_a_redis_agree_on_logins_and_one_alone_does_on_memory() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{CONFIG}{LOGINS}");
    let shared = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config));
    let alone = [Webstore::start(None, &config)];
    for processes in [&shared[..], &alone[..]] {
        let clients: Vec<_> = processes.iter().map(Webstore::client).collect();
        let client = |n: usize| &clients[n % clients.len()];
        for n in 0..3 {
            let address = format!("203.0.113.{n}");
            assert_eq!(login(client(n), &address, "ada", "guess").await, 401);
        }
        assert_eq!(of_logins(processes, 3.0).await, [0.0; 3]);
        assert_eq!(login(client(3), "203.0.113.3", "Ada", "guess").await, 401);
        assert_eq!(of_logins(processes, 4.0).await, [0.0, 1.0, 0.0]);
        // Whichever process is asked steps up, and lets the owner in.
        for n in 0..2 {
            let asked = Instant::now();
            assert_eq!(
                login(client(n), "203.0.113.9", "ada", "palisade").await,
                200
            );
            assert!(
                asked.elapsed() >= Duration::from_secs(1),
                "{:?}",
                asked.elapsed()
            );
        }
        assert_eq!(of_logins(processes, 6.0).await, [0.0, 1.0, 1.0]);
        for n in 0..8 {
            let user = format!("user{n}");
            assert_eq!(login(client(n), "203.0.113.100", &user, "guess").await, 401);
        }
        assert_eq!(of_logins(processes, 14.0).await, [1.0, 1.0, 1.0]);
        assert_eq!(
            login(client(1), "203.0.113.100", "bob", "palisade").await,
            200
        );
        assert_eq!(of_logins(processes, 15.0).await, [1.0, 1.0, 2.0]);
    }
    for key in redis.cli(&["KEYS", "palisade:suspicious:*"]).lines() {
        assert!(!key.contains("ada") && !key.contains("user"), "{key}");
        let ttl: i64 = redis.cli(&["PTTL", key]).parse().unwrap();
        assert!(ttl > 0, "{key} has TTL {ttl}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_refusals_are_no_failures_of_the_client() {
    let webstore = Webstore::start(None, "[rate_limit]\nip = '5/1h'\n");
    let client = webstore.client();
    for n in 0..100 {
        let reply = client.get("/us/products", &[]).await;
        assert_eq!(reply.status, if n < 5 { 200 } else { 429 });
    }
    let scrape = webstore.scrape().await;
    assert_eq!(scrape.sum("webstore_security_failures_total", &[]), 0.0);
    assert_eq!(incidents(&scrape), [0.0; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_count_on_in_this_process_while_redis_is_killed() {
    let mut redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{CONFIG}"));
    let client = webstore.client();
    probe(&client, "203.0.113.1", 0).await;
    counted(&webstore, 1.0).await;
    redis.kill();
    for n in 0..10 {
        probe(&client, "203.0.113.2", n).await;
    }
    assert_eq!(counted(&webstore, 11.0).await, [0.0, 1.0, 0.0, 0.0]);
    let scrape = webstore.scrape().await;
    assert_eq!(failures(&scrape, "counted_locally"), 10.0);
    redis.restart();
    webstore.until_breaker_closes().await;
    for n in 0..10 {
        probe(&client, "203.0.113.3", n).await;
    }
    assert_eq!(counted(&webstore, 21.0).await, [0.0, 2.0, 0.0, 0.0]);
    let scrape = webstore.scrape().await;
    assert_eq!(failures(&scrape, "counted_locally"), 10.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_delays_no_failed_response_once_the_breaker_is_open() {
    no_failed_response_waits_for_a_hung_redis(CONFIG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_delays_no_login_and_nobody_whom_a_ban_might_refuse_either() {
    let bans = "[suspicion.bans]\nmode = 'dry_run'\n";
    no_failed_response_waits_for_a_hung_redis(&format!("{CONFIG}{LOGINS}{bans}")).await;
}

async fn no_failed_response_waits_for_a_hung_redis(config: &str) {
    let redis = RedisServer::start();
    let shared = Webstore::start(Some(&redis.url()), config);
    let alone = Webstore::start(None, config);
    let clients = [shared.client(), alone.client()];
    probe(&clients[0], "203.0.113.1", 0).await;
    redis.pause();
    // Nobody is denied, so each of these asks Redis, until the breaker leaves it alone.
    for n in 0..6 {
        probe(&clients[0], "203.0.113.1", n).await;
    }
    shared.until_breaker_opens().await;
    let mut latencies = [Vec::new(), Vec::new()];
    // Alternately, so that whatever else this machine does meets both alike.
    for n in 0..500 {
        for (client, latencies) in clients.iter().zip(&mut latencies) {
            let start = Instant::now();
            probe(client, "203.0.113.1", n).await;
            // An account each, since what comes later to one under attack is meant to.
            let user = format!("user{n}");
            assert_eq!(login(client, "203.0.113.1", &user, "guess").await, 401);
            latencies.push(start.elapsed());
        }
    }
    let [hung, memory] = latencies.map(undisturbed);
    println!("{hung:?}, on memory {memory:?}");
    assert!(
        hung < memory * 3 / 2 + Duration::from_millis(1),
        "{hung:?}, on memory {memory:?}"
    );
    counted(&shared, 1_007.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_failure_has_a_ttl_and_a_success_has_none() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{CONFIG}"));
    let client = webstore.client();
    for _ in 0..20 {
        client
            .get("/us/products", &[("x-forwarded-for", "203.0.113.9")])
            .await;
    }
    guess(&client, "203.0.113.1").await;
    probe(&client, "203.0.113.2", 0).await;
    counted(&webstore, 2.0).await;
    let keys = redis.cli(&["KEYS", "palisade:suspicious:*"]);
    let mut keys: Vec<_> = keys.lines().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "palisade:suspicious:401-slow:20/7200s:203.0.113.1",
            "palisade:suspicious:401:5/300s:203.0.113.1",
            "palisade:suspicious:404:10/300s:203.0.113.2",
            "palisade:suspicious:4xx:20/300s:203.0.113.1",
            "palisade:suspicious:4xx:20/300s:203.0.113.2",
        ]
    );
    for key in keys {
        let ttl: i64 = redis.cli(&["PTTL", key]).parse().unwrap();
        assert!(ttl > 0, "{key} has TTL {ttl}");
    }
}
