//! What a real webstore writes, line by line.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};
use serde_json::Value;

use super::documented::Documented;

const PROXY: &str = "[client]\ntrusted_proxies = ['127.0.0.0/8']\n";

fn of<'a>(log: &'a [Value], event: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["event"] == event).collect()
}

fn classes(log: &[Value]) -> BTreeSet<&str> {
    log.iter()
        .filter_map(|line| line["class"].as_str())
        .collect()
}

#[tokio::test]
async fn every_line_is_as_documented() {
    let server = RedisServer::start();
    let config = format!(
        "{PATIENT}{PROXY}[rate_limit]\nip = '30/1h'\n[suspicion.bans]\n[log]\naccess = 1000\n\
         [rate_limit.policies.user]\nquota = '3/1h'\n"
    );
    let mut store = Webstore::start(Some(&server.url()), &config);
    let client = store.client();
    let mut sent = 0;
    let mut get = async |path: &str, headers: &[(&str, &str)]| {
        sent += 1;
        client.get(path, headers).await.status.as_u16()
    };
    let from = |address: &'static str| ("x-forwarded-for", address);
    let ada = ("authorization", "Bearer user-token-ada");
    for _ in 0..40 {
        get("/us/products", &[from("203.0.113.1")]).await;
    }
    for _ in 0..4 {
        get("/gb/cart", &[from("203.0.113.2"), ada]).await;
    }
    for n in 0..10 {
        let path = format!("/%0a%1b[2J{n}");
        get(&path, &[from("203.0.113.3")]).await;
    }
    for n in 0..5 {
        let token = format!("Bearer wrong-{n}");
        let wrong = ("authorization", &*token);
        get("/de/cart", &[from("2001:db8::1"), wrong]).await;
    }
    store
        .log_until("two bans", SOON, |log| of(log, "client_banned").len() == 2)
        .await;
    assert_eq!(get("/us/products", &[from("203.0.113.3")]).await, 429);

    // A client that leaves while its request waits for the store.
    server.pause();
    let mut leaving = TcpStream::connect(&store.shop).unwrap();
    leaving
        .write_all(b"GET /us/products HTTP/1.1\r\nhost: shop\r\n\r\n")
        .unwrap();
    sent += 1;
    store
        .scrape_until("a request in flight", SOON, |scrape| {
            scrape.sum("http_server_active_requests", &[]) == 1.0
        })
        .await;
    drop(leaving);
    let seen = ["cancelled", "client_error", "ok", "refused"];
    store
        .log_until("every class", SOON, |log| {
            classes(log) == BTreeSet::from(seen)
        })
        .await;
    server.resume();
    store.signal("TERM");
    assert!(store.wait(SOON).success());
    let log = store
        .log_until("the end", SOON, |log| {
            !of(log, "customers_flushed").is_empty()
        })
        .await;

    let documented = Documented::read();
    let events: BTreeSet<_> = log.iter().map(|line| documented.check(line)).collect();
    let expected = [
        "access",
        "client_banned",
        "customers_flushed",
        "draining",
        "drained",
        "rate_limit_denying",
        "suspicious_activity",
    ];
    assert_eq!(events, expected.map(str::to_owned).into());
    let access = of(&log, "access");
    let represented = access
        .iter()
        .map(|line| line["represents"].as_u64().unwrap());
    assert_eq!(
        represented.sum::<u64>(),
        sent,
        "each request is represented"
    );
    for line in &access {
        let text = line.to_string();
        for private in ["203.0.113", "2001:db8", "ada", "2J"] {
            assert!(!text.contains(private), "{text}");
        }
    }
    let is = |class: &str, result: &str, field: &str, value: &str| {
        access
            .iter()
            .any(|line| line["class"] == class && line["result"] == result && line[field] == value)
    };
    assert!(is("ok", "admitted", "country", "US"));
    assert!(is("ok", "admitted", "segment", "new"));
    assert!(is("refused", "denied", "policies", "ip"));
    assert!(is("refused", "denied", "policies", "user"));
    assert!(is("refused", "banned", "route", "/{country}/products"));
    assert!(is("client_error", "admitted", "route", "unmatched"));
    assert!(is("cancelled", "none", "method", "GET"));
    let denying: BTreeSet<_> = of(&log, "rate_limit_denying")
        .iter()
        .map(|line| line["policy"].as_str().unwrap())
        .collect();
    assert_eq!(denying, BTreeSet::from(["ip", "user"]));
}

/// Breaks the store and mends it again, under traffic: each change is told once, and of nothing else twice.
async fn tells_once(
    config: &str,
    break_it: impl FnOnce(&mut RedisServer),
    mend_it: impl FnOnce(&mut RedisServer),
) {
    let mut server = RedisServer::start();
    let config = format!("{config}{PROXY}[rate_limit]\nip = '1000000/1h'\n[log]\naccess = 'off'\n");
    let store = Webstore::start(Some(&server.url()), &config);
    let client = store.client();
    let mut asked = 0_u32;
    let mut until = async |wanted: &[&str]| loop {
        let log = store.log();
        if wanted.iter().all(|event| !of(&log, event).is_empty()) {
            return log;
        }
        asked += 1;
        assert!(asked < 100_000, "the log still lacks one of {wanted:?}");
        ask(&client, asked).await;
    };
    for request in 0..20 {
        ask(&client, request).await;
    }
    assert!(
        store.log().is_empty(),
        "nothing has changed: {:?}",
        store.log()
    );

    break_it(&mut server);
    until(&["rate_limit_fallback", "store_breaker_opened"]).await;
    for request in 0..200 {
        ask(&client, request).await;
    }
    mend_it(&mut server);
    let log = until(&["store_breaker_closed", "rate_limit_restored"]).await;

    let documented = Documented::read();
    let mut events: Vec<_> = log.iter().map(|line| documented.check(line)).collect();
    events.sort();
    let distinct: BTreeSet<_> = events.iter().cloned().collect();
    assert_eq!(events.len(), distinct.len(), "told twice: {log:?}");
    let outage = &of(&log, "store_breaker_closed")[0]["outage_seconds"];
    assert!(outage.as_f64().unwrap() > 0.0);
    let restored = of(&log, "rate_limit_restored")[0];
    assert_eq!(
        (&restored["policy"], &restored["mode"]),
        (&"ip".into(), &"local".into())
    );
    let counted = store.scrape().await.sum(
        "webstore_rate_limit_requests_total",
        &[("policy", "ip"), ("result", "fallback_admitted")],
    );
    assert_eq!(restored["admitted"].as_f64().unwrap(), counted);
    assert_eq!(restored["denied"], 0);
}

async fn ask(client: &Client, request: u32) {
    let address = format!("10.0.{}.{}", request / 250 % 250, request % 250);
    let reply = client
        .get("/us/products", &[("x-forwarded-for", &address)])
        .await;
    assert_eq!(reply.status, 200);
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_killed_redis_is_told_once_and_once_that_it_is_back() {
    tells_once(PATIENT, RedisServer::kill, RedisServer::restart).await;
}

#[tokio::test]
async fn a_hung_redis_is_told_once_and_once_that_it_is_back() {
    // Five of them pass before the breaker opens.
    let deadline = "[store]\ndeadline = '4s'\n";
    tells_once(deadline, |server| server.pause(), |server| server.resume()).await;
}

#[tokio::test]
async fn without_a_setting_the_webstore_logs_five_requests_a_second_of_a_class() {
    let store = Webstore::start(None, "");
    let client = store.client();
    let asked = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(client.get("/us/products", &[]).await.status, 200);
    }
    let seconds = asked.elapsed().as_secs() + 2;
    let log = store
        .log_until("five lines", SOON, |log| of(log, "access").len() >= 5)
        .await;
    assert!(of(&log, "access").len() as u64 <= 5 * seconds);
}
