//! Sessions of the whole service, over real HTTP, in memory and on real Redis servers.

mod asvs;
mod canary;
mod ended_elsewhere;
mod endpoints;
mod forged;
mod outages;
mod processes;
mod refused;
mod stream;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::Method;
use palisade::client::{Secret, UserId};
use palisade::config::Config;
use palisade::session::store::{Claim, Proof};
use palisade::session::{SessionId, Sessions};
use palisade::stack::Stack;
use palisade_tests::http::{Client, Reply};
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};

const SESSIONS: &str = "/api/v1/users/me/sessions";
const CURRENT: &str = "/api/v1/users/me/sessions/current";
const PRODUCTS: &str = "/us/products";
/// What every process of these tests has.
const SECRET: &[u8] = b"a secret that the tests share";
/// Limits that no request meets.
const WIDE: &str = "[rate_limit]\nip = '1000000/1h'\nuser = '1000000/1h'\n";

/// Nobody is an attacker.
const NO_SUSPICION: &str =
    "[suspicion]\ncredential_stuffing = 'off'\ncredential_stuffing_slow = 'off'\nabuse = 'off'\n";

/// A shop on this Redis, whose requests meet no limit, with more settings of sessions.
fn start(redis: &RedisServer, more: &str) -> Webstore {
    let config = format!("{PATIENT}{WIDE}[sessions]\n{more}");
    Webstore::start(Some(&redis.url()), &config)
}

/// Runs a test against a shop on each store.
async fn on_both_stores(config: &str, test: impl AsyncFn(&Webstore, Option<&RedisServer>)) {
    test(&Webstore::start(None, config), None).await;
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{config}"));
    test(&webstore, Some(&redis)).await;
}

/// The token and the id of a new session.
async fn log_in(shop: &Client, user: &str) -> (String, String) {
    let body = format!(r#"{{"user":"{user}","password":"palisade"}}"#);
    let reply = shop.post("/login", &[], &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answer = reply.json();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("token"), text("session_id"))
}

/// A request of a token's, from an address behind a trusted proxy.
async fn ask(shop: &Client, path: &str, token: &str, from: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer), ("x-forwarded-for", from)];
    shop.get(path, &headers).await
}

async fn status(shop: &Client, path: &str, token: &str) -> u16 {
    ask(shop, path, token, "").await.status.as_u16()
}

/// Ends a session by its own token.
async fn end(shop: &Client, token: &str, id: &str) {
    let bearer = format!("Bearer {token}");
    let path = format!("{SESSIONS}/{id}");
    let headers = [("authorization", &*bearer)];
    let ended = shop.send(Method::DELETE, &path, &headers, "").await;
    assert_eq!(ended.status, 204, "{}", ended.body);
}

/// The token with another end, which the service did not make.
fn forged(token: &str) -> String {
    let (kept, last) = token.split_at(token.len() - 1);
    format!("{kept}{}", if last == "A" { "B" } else { "A" })
}

/// Another process of the service on this Redis, as far as sessions are concerned.
fn elsewhere(redis: &RedisServer) -> Sessions {
    let config = format!("{PATIENT}redis_url = '{}'\n[sessions]\n", redis.url());
    let config = Config::from_toml(&config).unwrap();
    let stack = Stack::builder()
        .config(config)
        .secret(Secret::from_bytes(SECRET))
        .build()
        .unwrap();
    stack.sessions().unwrap()
}

/// What a part of a token holds.
fn bytes(part: &str) -> Vec<u8> {
    BASE64.decode(part).unwrap()
}

/// What a token claims.
fn claim(token: &str) -> Claim {
    let mut parts = token.strip_prefix("pls_").unwrap().split('.');
    let mut part = || bytes(parts.next().unwrap());
    let (user, id, secret) = (part(), part(), part());
    let user = UserId::new(str::from_utf8(&user).unwrap(), &Secret::from_bytes(SECRET));
    Claim {
        user,
        id: SessionId::kept(&id).unwrap(),
        proof: Proof::of(secret[..32].try_into().unwrap()),
    }
}
