//! The population and the upkeep of the indices in Redis.

use std::time::{Duration, Instant};

use palisade::segment::store::{CustomerStore, KeepCustomers};
use palisade::segment::{Keeping, Population};
use palisade::store::Analytics;
use palisade::store::redis::RedisStore;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;

use super::{DAY, NOW, at, keep, order, patient, seen};

async fn population(kept: &dyn KeepCustomers) -> Population {
    let sweep = kept.sweep(at(NOW)).await.unwrap().expect("the lease");
    sweep.population
}

#[tokio::test]
async fn the_lease_is_held_by_one_and_passes_on_when_its_holder_is_gone() {
    let server = RedisServer::start();
    let mut keeping = Keeping::new();
    keeping.sweep_every = Duration::from_secs(1);
    let [holder, other] =
        [0, 1].map(|_| patient(&server).build().unwrap().keep_customers(&keeping));
    assert!(holder.sweep(at(NOW)).await.unwrap().is_some());
    assert!(other.sweep(at(NOW)).await.unwrap().is_none());
    assert!(holder.sweep(at(NOW)).await.unwrap().is_some());
    let lasts: i64 = server
        .cli(&["PTTL", "palisade:customers:sweep"])
        .parse()
        .unwrap();
    assert!((1..=3_000).contains(&lasts), "{lasts}");
    let passed_on = async || other.sweep(at(NOW)).await.unwrap().is_some();
    until("the lease is free", passed_on).await;
    assert!(holder.sweep(at(NOW)).await.unwrap().is_none());
}

#[tokio::test]
async fn the_lease_passes_on_at_once_when_its_holder_gives_it_up() {
    let server = RedisServer::start();
    let [holder, other] = [0, 1].map(|_| {
        patient(&server)
            .build()
            .unwrap()
            .keep_customers(&Keeping::new())
    });
    other.end_sweep().await.unwrap();
    assert!(holder.sweep(at(NOW)).await.unwrap().is_some());
    other.end_sweep().await.unwrap();
    assert!(other.sweep(at(NOW)).await.unwrap().is_none());
    holder.end_sweep().await.unwrap();
    assert!(other.sweep(at(NOW)).await.unwrap().is_some());
    assert!(holder.sweep(at(NOW)).await.unwrap().is_none());

    let lease = "palisade:customers:sweep";
    server.cli(&["DEL", lease]);
    server.cli(&["RPUSH", lease, "x"]);
    other.end_sweep().await.unwrap();
    assert_eq!(server.cli(&["LLEN", lease]), "1");
}

/// So many that a step cannot check them all.
async fn many(kept: &dyn KeepCustomers, count: u64) {
    let changes: Vec<_> = (0..count)
        .map(|n| order(&format!("c{n}"), NOW - 500 * DAY + n, &n.to_string(), 1_000))
        .collect();
    for chunk in changes.chunks(500) {
        kept.apply(chunk).await.unwrap();
    }
}

#[tokio::test]
async fn criteria_that_were_changed_are_mended_in_bounded_steps() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    many(&*keep(&store), 3_000).await;
    let mut keeping = Keeping::new();
    keeping.sweep_every = Duration::from_millis(1);
    keeping.criteria.vip_spend = 999;
    let kept = store.keep_customers(&keeping);
    let mut mended = 0;
    for step in 1.. {
        assert!(step < 100, "after {mended}");
        let sweep = kept.sweep(at(NOW)).await.unwrap().expect("the lease");
        assert!(sweep.checked <= 16 * 3 * 1_000, "{sweep:?}");
        mended += sweep.mended;
        let population = sweep.population;
        assert_eq!(population.vip + population.churned, 3_000);
        if population.vip == 3_000 {
            break;
        }
    }
    assert_eq!(mended, 3_000);
    for index in ["palisade:customers:vip", "palisade:customers:sweep"] {
        assert_ne!(server.cli(&["PTTL", index]), "-1", "{index}");
    }
}

#[tokio::test]
async fn records_that_expired_leave_the_population_at_the_next_sweep() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    many(&*keep(&store), 2_000).await;
    // Their last activity is long ago, and one of them has just been written again.
    for n in 1..2_000 {
        server.cli(&["DEL", &format!("palisade:customer:{{c{n}}}")]);
        if n % 100 == 0 {
            let kept = keep(&store);
            kept.apply(&[seen(&format!("d{n}"), NOW)]).await.unwrap();
        }
    }
    let expected = Population {
        returning: 19,
        churned: 1,
        ..Population::default()
    };
    assert_eq!(population(&*keep(&store)).await, expected);
}

#[tokio::test]
async fn a_record_is_kept_for_the_retention_from_the_write() {
    let server = RedisServer::start();
    let store: RedisStore = patient(&server).build().unwrap();
    let mut keeping = Keeping::new();
    keeping.retention = Duration::from_millis(300);
    let kept = store.keep_customers(&keeping);
    keep(&store).apply(&[seen("bob", NOW)]).await.unwrap();
    let written = Instant::now();
    kept.apply(&[seen("ada", NOW - 1_000)]).await.unwrap();
    let gone = async || population(&*kept).await.returning != 2;
    until("a record is gone", gone).await;
    assert!(written.elapsed() >= Duration::from_millis(290));
    assert_eq!(population(&*kept).await.returning, 1);
}

/// A shorter retention of one process does not end the index of the others.
#[tokio::test]
async fn an_index_outlives_its_records() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    keep(&store).apply(&[seen("bob", NOW)]).await.unwrap();
    let mut keeping = Keeping::new();
    keeping.retention = Duration::from_secs(60);
    let kept = store.keep_customers(&keeping);
    kept.apply(&[seen("ada", NOW)]).await.unwrap();
    let ttl = |key| server.cli(&["PTTL", key]).parse::<u64>().unwrap();
    assert!(ttl("palisade:customer:{ada}") <= 60_000);
    assert!(ttl("palisade:customers:others") > 399 * DAY);
    keep(&store).apply(&[seen("ada", NOW)]).await.unwrap();
    assert!(ttl("palisade:customer:{ada}") > 399 * DAY);
}

#[tokio::test]
async fn customers_beyond_their_memory_are_forgotten_longest_inactive_first_and_vips_last() {
    let server = RedisServer::start();
    let store = patient(&server)
        .analytics_memory("1mb".parse().unwrap())
        .build()
        .unwrap();
    let kept = keep(&store);
    // Half a mebibyte is for 1,310 customers.
    for n in 0..6 {
        let vip = order("vip", NOW - 300 * DAY, &format!("v{n}"), 1_000);
        kept.apply(&[vip]).await.unwrap();
    }
    let changes: Vec<_> = (0..2_000)
        .map(|n| seen(&format!("c{n}"), NOW - 200 * DAY + n))
        .collect();
    kept.apply(&changes).await.unwrap();
    // The oldest comes back.
    kept.apply(&[seen("c0", NOW)]).await.unwrap();
    let left = population(&*kept).await;
    let all = left.returning + left.at_risk + left.churned + left.vip;
    assert_eq!((all, left.vip, left.returning), (1_310, 1, 1));
    let gone = 2_001 - 1_310;
    assert_eq!(store.health().over_budget(Analytics::Customers), gone);
    for (customer, stays) in [
        ("vip".to_owned(), true),
        ("c0".to_owned(), true),
        ("c1".to_owned(), false),
        (format!("c{gone}"), false),
        (format!("c{}", gone + 1), true),
    ] {
        let key = format!("palisade:customer:{{{customer}}}");
        assert_eq!(server.cli(&["EXISTS", &key]) == "1", stays, "{customer}");
    }
    // No order is refused.
    let applied = kept.apply(&[order("c1", NOW, "o", 1_000)]).await.unwrap();
    assert!(applied[0].fresh);
}
