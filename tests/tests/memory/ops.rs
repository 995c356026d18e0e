//! What the live page takes for hostile clients, seen from outside.

use std::convert::Infallible;
use std::net::Ipv6Addr;

use http::{Request, Response, StatusCode};
use palisade::client::{Peer, Secret};
use palisade::config::Config;
use palisade::ops::Ops;
use palisade::rate_limit::{PartitionBy, PartitionKey, Policy};
use palisade::stack::Stack;
use palisade::store::memory::MemoryStore;
use palisade_tests::memory::{is_alone, resident};
use tower::{Layer, Service, ServiceExt};

const CLIENTS: u32 = 50_000;
/// Two lists of ten summaries take 330 kB; the rest is the allocator's.
const MOST: usize = 2 << 20;

#[tokio::test]
async fn clients_that_each_come_once_are_counted_in_bounded_memory() {
    if !is_alone(clients_that_each_come_once_are_counted_in_bounded_memory) {
        return;
    }
    let mut config = Config::default();
    // One quota for all: the first half fail, and the rest are refused.
    let secret = Secret::random().unwrap();
    let everybody = PartitionBy::request(move |_| Some(PartitionKey::text("all", &secret)));
    let quota = format!("{}/1h", 2 * CLIENTS).parse().unwrap();
    config.rate_limit.policies = vec![Policy::new("all", everybody, quota)];
    let ops = Ops::new("shop");
    let memory = MemoryStore::builder().max_keys(1_000).build().unwrap();
    let stack = Stack::builder().config(config).memory(memory).ops(&ops);
    let mut service = stack
        .build()
        .unwrap()
        .layer(tower::service_fn(async |_: Request<()>| {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok::<_, Infallible>(response)
        }));
    let mut before = 0;
    let mut refused = 0;
    for n in 0..4 * CLIENTS {
        if n == CLIENTS {
            before = resident();
        }
        let network = (0x2001_0db8_u128 << 96) | (u128::from(n) << 64);
        let mut request = Request::new(());
        request
            .extensions_mut()
            .insert(Peer((Ipv6Addr::from_bits(network), 5_000).into()));
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        refused += u32::from(response.status() == StatusCode::TOO_MANY_REQUESTS);
        if n % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(refused, 2 * CLIENTS);
    let taken = resident().saturating_sub(before);
    println!("{taken} bytes");
    assert!(taken < MOST, "{taken} bytes");
}
