//! Several tasks and processes on one store.

use std::sync::Arc;

use palisade_tests::redis::RedisServer;
use tokio::task::JoinSet;

use super::{NOW, at, keep, on_every_store, order, patient, seen, user};

#[tokio::test(flavor = "multi_thread")]
async fn of_the_same_200_orders_by_8_tasks_exactly_200_count() {
    on_every_store(async |name, store| {
        // Binds share their records, as processes do.
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let kept = keep(store);
            tasks.spawn(async move {
                let mut fresh = 0;
                for n in 0..200 {
                    let n = (n * 7 + task * 25) % 200;
                    let order = order("ada", NOW, &n.to_string(), 3);
                    let applied = kept.apply(&[order]).await.unwrap();
                    fresh += usize::from(applied[0].fresh);
                }
                fresh
            });
        }
        let fresh: usize = tasks.join_all().await.into_iter().sum();
        let record = keep(store).fetch(&user("ada")).await.unwrap().unwrap();
        assert_eq!(
            (fresh, record.orders, record.spend),
            (200, 200, 600),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_order_counts_once_over_two_processes() {
    let server = RedisServer::start();
    let stores = [0, 1].map(|_| keep(&patient(&server).build().unwrap()));
    let order = [order("ada", NOW, "1", 700)];
    assert!(stores[0].apply(&order).await.unwrap()[0].fresh);
    let again = stores[1].apply(&order).await.unwrap();
    assert_eq!(
        (again[0].fresh, again[0].record.unwrap().spend),
        (false, 700)
    );
}

#[tokio::test]
async fn erasing_leaves_nothing_behind_but_the_moment() {
    let server = RedisServer::start();
    let kept = keep(&patient(&server).build().unwrap());
    let changes = [
        seen("grace", NOW),
        order("ada", NOW, "1", 50_001),
        seen("bob", NOW),
    ];
    kept.apply(&changes).await.unwrap();
    for name in ["ada", "bob"] {
        assert!(kept.erase(&user(name), at(NOW)).await.unwrap());
        assert!(!kept.erase(&user(name), at(NOW)).await.unwrap());
    }
    let mut keys: Vec<_> = server
        .cli(&["KEYS", "*"])
        .lines()
        .map(str::to_owned)
        .collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "palisade:customer-erased:{ada}",
            "palisade:customer-erased:{bob}",
            "palisade:customer:{grace}",
            "palisade:customers:others"
        ]
    );
    let members = server.cli(&["ZRANGE", "palisade:customers:others", "0", "-1"]);
    assert_eq!(members, "grace");
    let remembered: i64 = server
        .cli(&["PTTL", "palisade:customer-erased:{ada}"])
        .parse()
        .unwrap();
    assert!((1..=600_000).contains(&remembered), "{remembered}");
}

#[tokio::test]
async fn a_change_that_waited_stays_erased_and_a_later_one_begins_anew() {
    on_every_store(async |name, store| {
        let kept = Arc::clone(&keep(store));
        kept.apply(&[order("ada", NOW, "1", 9)]).await.unwrap();
        assert!(
            kept.erase(&user("ada"), at(NOW + 5)).await.unwrap(),
            "{name}"
        );
        let late = kept.apply(&[seen("ada", NOW + 5)]).await.unwrap();
        assert_eq!((late[0].record, late[0].fresh), (None, false), "{name}");
        let back = kept.apply(&[order("ada", NOW + 6, "1", 9)]).await.unwrap();
        assert!(back[0].fresh, "{name}");
        assert_eq!(
            back[0].record.unwrap().first_activity,
            at(NOW + 6),
            "{name}"
        );
    })
    .await;
}
