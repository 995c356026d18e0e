//! A history is loaded in large calls, and twice without harm.

use palisade::segment::store::CustomerStore;
use palisade::segment::{Change, Keeping};
use palisade_tests::redis::RedisServer;

use super::{DAY, NOW, at, order, patient, user};

/// As large as the CDNOW history: three orders a customer, sorted by time.
fn history() -> Vec<Change> {
    let orders = (0..69_659_u64).map(|n| {
        let customer = format!("{:05}", n % 23_570);
        order(
            &customer,
            NOW - 9_000 * DAY + n * 1_000,
            &n.to_string(),
            3_500,
        )
    });
    orders.collect()
}

fn bytes(server: &RedisServer, key: &str) -> u64 {
    server
        .cli(&["MEMORY", "USAGE", key, "SAMPLES", "0"])
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_history_of_70_000_orders_is_loaded_twice_and_counted_once() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let loader = store.customer_loader(&Keeping::new());
    let history = history();
    for expected in [history.len() as u64, 0] {
        let mut counted = 0;
        for chunk in history.chunks(5_000) {
            counted += loader.load(chunk).await.unwrap();
        }
        assert_eq!(counted, expected);
    }
    let kept = store.keep_customers(&Keeping::new());
    let sweep = kept.sweep(at(NOW)).await.unwrap().expect("the lease");
    assert_eq!(sweep.population.churned, 23_570);
    let record = kept.fetch(&user("00000")).await.unwrap().unwrap();
    assert_eq!((record.orders, record.spend), (3, 10_500));
    let index = bytes(&server, "palisade:customers:others") / 23_570;
    let hash = bytes(&server, "palisade:customer:{00000}");
    assert!(hash + index <= 450, "{hash} + {index} bytes a customer");
}

#[tokio::test]
async fn a_customer_with_1_or_10_orders_stays_under_the_memory_that_the_docs_state() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let loader = store.customer_loader(&Keeping::new());
    for (orders, most) in [(1, 250), (10, 600)] {
        let orders: Vec<_> = (0..orders)
            .map(|n| order("00000", NOW, &n.to_string(), 3_500))
            .collect();
        loader.load(&orders).await.unwrap();
        let hash = bytes(&server, "palisade:customer:{00000}");
        assert!(hash <= most, "{hash} bytes");
    }
}
