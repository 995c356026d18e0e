//! Security events of sessions, over real HTTP, on both stores.

use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::{PATIENT, Webstore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CURRENT: &str = "/api/v1/users/me/sessions/current";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
const HOME: &str = "198.51.100.23";
const AWAY: &str = "203.0.113.77";

/// A shop behind a proxy that says where requests come from; in memory, or in a Redis that is kept.
fn shops(more: &str) -> [(Option<RedisServer>, Webstore); 2] {
    let config = format!(
        "{PATIENT}[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '1000000/1h'\nuser = '1000000/1h'\n{more}"
    );
    let redis = RedisServer::start();
    let over_redis = Webstore::start(Some(&redis.url()), &config);
    [
        (None, Webstore::start(None, &config)),
        (Some(redis), over_redis),
    ]
}

async fn login(shop: &Client, user: &str, password: &str, from: &str) -> (u16, Value) {
    let body = format!(r#"{{"user":"{user}","password":"{password}"}}"#);
    let headers = [("x-forwarded-for", from), ("user-agent", FIREFOX)];
    let reply = shop.post("/login", &headers, &body).await;
    let status = reply.status.as_u16();
    (status, reply.json())
}

/// The token of a new session.
async fn log_in(shop: &Client, user: &str, from: &str) -> String {
    let (status, answer) = login(shop, user, "palisade", from).await;
    assert_eq!(status, 200);
    answer["token"].as_str().unwrap().to_owned()
}

async fn asked(shop: &Client, token: &str, from: &str, agent: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", &*bearer),
        ("x-forwarded-for", from),
        ("user-agent", agent),
    ];
    shop.get(CURRENT, &headers).await.status.as_u16()
}

async fn told(webstore: &Webstore, kind: &str, times: f64) {
    until(kind, async || {
        let labels = [("type", kind)];
        let scrape = webstore.scrape().await;
        scrape.sum("webstore_session_security_events_total", &labels) == times
    })
    .await;
}

/// The user's own stream, read until it has a text.
async fn stream(webstore: &Webstore, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&webstore.shop).await.unwrap();
    let request = format!(
        "GET /api/v1/users/me/sessions/events HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\n\
         x-forwarded-for: {HOME}\r\nuser-agent: {FIREFOX}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut stream, "retry: 3000").await;
    stream
}

async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut part = [0; 4_096];
        let many = stream.read(&mut part).await.unwrap();
        assert!(many > 0, "closed before {text:?}: {read}");
        read.push_str(str::from_utf8(&part[..many]).unwrap());
    }
    read
}

/// No agent's text and no secret anywhere, and addresses in security events alone.
async fn is_clean(webstore: &Webstore, secrets: &[&str]) {
    let metrics = Client::new(&webstore.admin).get("/metrics", &[]).await.body;
    let mut said = vec![("metrics".to_owned(), metrics)];
    for line in webstore.log() {
        let of_security = line["target"] == "palisade::security";
        let what = if of_security { "security" } else { "log" };
        said.push((what.to_owned(), line.to_string()));
    }
    for (what, text) in said {
        for secret in secrets {
            assert!(!text.contains(secret), "{what} has {secret}: {text}");
        }
        if what != "security" {
            for address in [HOME, AWAY, "198.51.100.0", "203.0.113.0"] {
                assert!(!text.contains(address), "{what} has {address}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_stolen_token_shows_in_the_log_the_metrics_and_its_users_stream() {
    for (_redis, webstore) in shops("[sessions]\nmax_per_user = 1") {
        let shop = webstore.client();
        let metrics = Client::new(&webstore.admin).get("/metrics", &[]).await.body;
        let of_events = |it: &&str| it.starts_with("webstore_session_security_events_total{");
        let kinds: Vec<_> = metrics.lines().filter(of_events).collect();
        assert_eq!(kinds.len(), 6);
        assert!(kinds.iter().all(|it| it.ends_with(" 0")), "{kinds:?}");
        let token = log_in(&shop, "ada", HOME).await;
        let mut own = stream(&webstore, &token).await;
        assert_eq!(asked(&shop, &token, HOME, FIREFOX).await, 200);
        // The thief has another program in another network, and the owner goes on.
        assert_eq!(asked(&shop, &token, AWAY, "canary/1.0 zvxq").await, 200);
        assert_eq!(asked(&shop, &token, HOME, FIREFOX).await, 200);
        for kind in ["user_agent_changed", "concurrent_networks"] {
            told(&webstore, kind, 1.0).await;
            let event = format!(r#"event: alert{}data: {{"type":"{kind}""#, '\n');
            if kind == "user_agent_changed" {
                let mut read = read_until(&mut own, &event).await;
                let other = r#""type":"concurrent_networks""#;
                if !read.contains(other) {
                    read.push_str(&read_until(&mut own, other).await);
                }
                for text in [HOME, AWAY, "canary", "zvxq"] {
                    assert!(!read.contains(text), "{read}");
                }
            }
            let is_told = |lines: &[Value]| lines.iter().any(|line| line["kind"] == kind);
            webstore.log_until("session_alert", SOON, is_told).await;
        }
        // Another login takes its place, which is told too; the stream says why it ended.
        log_in(&shop, "ada", HOME).await;
        told(&webstore, "concurrent_sessions", 1.0).await;
        read_until(&mut own, r#""reason":"evicted""#).await;
        is_clean(&webstore, &["canary", "zvxq", &token, "Mozilla"]).await;
        until("one session lives", async || {
            webstore.scrape().await.sum("webstore_sessions_active", &[]) == 1.0
        })
        .await;
    }
}

#[tokio::test]
async fn the_session_of_a_client_that_tried_credentials_is_told_or_ends() {
    for (mode, ended) in [("alert", false), ("terminate", true)] {
        let more = format!("[sessions]\non_conviction = '{mode}'\n[suspicion.bans]\n");
        for (_redis, webstore) in shops(&more) {
            let shop = webstore.client();
            let others = log_in(&shop, "bob", HOME).await;
            // One password was right.
            let broken_into = log_in(&shop, "ada", AWAY).await;
            for n in 0..5 {
                assert_eq!(login(&shop, &format!("eve{n}"), "wrong", AWAY).await.0, 401);
            }
            told(&webstore, "session_from_convicted_client", 1.0).await;
            let status = if ended { 401 } else { 200 };
            assert_eq!(asked(&shop, &broken_into, HOME, FIREFOX).await, status);
            assert_eq!(asked(&shop, &others, HOME, FIREFOX).await, 200);
            let ends = webstore.scrape().await;
            let ends = ends.sum("webstore_sessions_ended_total", &[("reason", "conviction")]);
            assert_eq!(ends, f64::from(u8::from(ended)));
            is_clean(&webstore, &[&broken_into, "Mozilla"]).await;
        }
    }
}

#[tokio::test]
async fn a_login_after_failures_is_told_to_its_user() {
    let more = "[sessions]\n[suspicion]\nsuccess_after_failures = 'on'";
    for (_redis, webstore) in shops(more) {
        let shop = webstore.client();
        let watching = log_in(&shop, "ada", HOME).await;
        let mut own = stream(&webstore, &watching).await;
        for _ in 0..5 {
            assert_eq!(login(&shop, "ada", "wrong", AWAY).await.0, 401);
        }
        until("the failures are an incident", async || {
            let kind = [("type", "credential_stuffing")];
            let scrape = webstore.scrape().await;
            scrape.sum("webstore_security_suspicious_activity_total", &kind) == 1.0
        })
        .await;
        log_in(&shop, "ada", AWAY).await;
        told(&webstore, "success_after_failures", 1.0).await;
        read_until(&mut own, r#""type":"success_after_failures""#).await;
        is_clean(&webstore, &[&watching, "Mozilla"]).await;
    }
}
