//! Customers of the whole service: what it calls them in its metrics, and what it keeps of them in Redis.

mod labels;
mod outages;
mod population;
mod processes;

use std::time::{Duration, SystemTime};

use palisade::client::{Secret, UserId};
use palisade::segment::store::CustomerStore;
use palisade::segment::{Change, Criteria, Event, Keeping, Segment, Timestamp};
use palisade::store::redis::RedisStore;
use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::{PATIENT, Webstore};

/// Limits that no test here meets, and a population that is counted each second.
const CONFIG: &str =
    "[rate_limit]\nip = '1000000/1m'\nuser = '1000000/1m'\n[segments]\nsweep_every = '1s'\n";
const COUNTED: &str = "webstore_customer_segment_total";
const POPULATION: &str = "webstore_customers";
const DAY: u64 = 86_400_000;

fn config() -> String {
    format!("{PATIENT}{CONFIG}")
}

/// A visit of a user to a page, which must succeed.
async fn visit(client: &Client, user: &str) {
    let token = format!("Bearer user-token-{user}");
    let reply = client
        .get("/gb/products", &[("authorization", &token)])
        .await;
    assert_eq!(reply.status, 200);
}

/// Fills the user's cart with so many of the first product, and orders it; returns the price of the order in cents.
async fn order(client: &Client, user: &str, id: &str, quantity: u32) -> i64 {
    let token = format!("Bearer user-token-{user}");
    let headers = [("authorization", &*token)];
    let body = format!(r#"{{"product_id": 1, "quantity": {quantity}}}"#);
    let reply = client.post("/gb/cart", &headers, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    checkout(client, user, id).await
}

/// Orders what is in the user's cart, or repeats an order.
async fn checkout(client: &Client, user: &str, id: &str) -> i64 {
    let token = format!("Bearer user-token-{user}");
    let body = format!(r#"{{"order_id": "{id}", "payment_method": "paypal"}}"#);
    let reply = client
        .post("/gb/orders", &[("authorization", &token)], &body)
        .await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()["total"].as_i64().unwrap()
}

/// How often customers of a segment did something.
fn counted(scrape: &Scrape, segment: &str, action: &str) -> f64 {
    scrape.sum(COUNTED, &[("segment", segment), ("action", action)])
}

/// The four gauges, or nothing where another process exports them.
fn population(scrape: &Scrape) -> Option<[f64; 4]> {
    let segments = ["returning", "at_risk", "churned", "vip"];
    match scrape.matching(POPULATION, &[]).count() {
        0 => None,
        4 => Some(segments.map(|it| scrape.sum(POPULATION, &[("segment", it)]))),
        other => panic!("{other} series of the population"),
    }
}

/// A field of a user's record in Redis; empty while there is none.
fn field(redis: &RedisServer, user: &str, field: &str) -> String {
    redis.cli(&["HGET", &format!("palisade:customer:{{{user}}}"), field])
}

/// Waits until a field of a user's record has a value.
async fn until_field(redis: &RedisServer, user: &str, name: &str, value: &str) {
    let has_it = async || field(redis, user, name) == value;
    until(&format!("{name} is {value}"), has_it).await;
}

fn user(name: &str) -> UserId {
    UserId::new(name, &Secret::from_bytes(b"a secret of the tests"))
}

/// Lets a customer be active so many milliseconds ago, as a process of that time would have written it.
async fn seen_ago(redis: &RedisServer, name: &str, millis: u64) {
    let store = RedisStore::builder(&redis.url()).deadline(Duration::from_secs(10));
    let kept = store.build().unwrap().keep_customers(&Keeping::new());
    let now = Timestamp::from(SystemTime::now()).as_millis();
    let change = Change {
        customer: user(name),
        at: Timestamp::from_millis(now - millis),
        event: Event::Activity,
    };
    let applied = kept.apply(&[change]).await.unwrap();
    let standing = Criteria::default().standing(
        applied[0].record.as_ref(),
        Timestamp::from(SystemTime::now()),
    );
    assert_ne!(standing.segment(), Segment::New);
}
