//! What every store keeps of customers, through the port that the layer uses.

mod alike;
mod faults;
mod load;
mod model;
mod shared;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use palisade::client::{Secret, UserId};
use palisade::segment::store::{CustomerStore, KeepCustomers};
use palisade::segment::{Change, Event, Keeping, OrderKey, Timestamp};
use palisade::store::memory::MemoryStore;
use palisade::store::redis::{RedisStore, RedisStoreBuilder};
use palisade_tests::redis::RedisServer;

const DAY: u64 = 86_400_000;
/// 2026-01-01 00:00 UTC.
const NOW: u64 = 1_767_225_600_000;

/// A store whose deadline no busy machine reaches.
fn patient(server: &RedisServer) -> RedisStoreBuilder {
    RedisStore::builder(&server.url()).deadline(Duration::from_secs(10))
}

fn keep(store: &dyn CustomerStore) -> Arc<dyn KeepCustomers> {
    store.keep_customers(&Keeping::new())
}

/// Runs a test on every store.
async fn on_every_store(test: impl AsyncFn(&str, &dyn CustomerStore)) {
    test("memory", &MemoryStore::new()).await;
    let server = RedisServer::start();
    test("redis", &patient(&server).build().unwrap()).await;
}

fn user(name: &str) -> UserId {
    UserId::new(name, &Secret::from_bytes(b"a secret of the tests"))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn change(name: &str, millis: u64, event: Event) -> Change {
    Change {
        customer: user(name),
        at: at(millis),
        event,
    }
}

fn seen(name: &str, millis: u64) -> Change {
    change(name, millis, Event::Activity)
}

fn order(name: &str, millis: u64, id: &str, amount: i64) -> Change {
    let key = OrderKey::of_order(id);
    change(name, millis, Event::Order { key, amount })
}

fn refund(name: &str, millis: u64, id: &str, amount: i64) -> Change {
    let key = OrderKey::of_refund(id, id);
    change(name, millis, Event::Refund { key, amount })
}
