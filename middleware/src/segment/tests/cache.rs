//! Bounds: a flood of customers, with the store there and away.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_flood_of_customers_keeps_the_cache_bounded_and_loses_no_activity() {
    let shop = Shop::with(|builder| builder.cache(1_000, Duration::from_secs(60)));
    let registry = shop.layer.registry().unwrap();
    for n in 0..5_000 {
        shop.visit(&format!("user-{n}")).await;
        assert!(registry.cache.len() <= 1_000);
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    shop.flush().await;
    for n in 0..5_000 {
        assert!(shop.store.record(&format!("user-{n}")).is_some(), "{n}");
    }
    let tally = shop.tally();
    assert_eq!(tally.changes(ChangeKind::Activity, ChangeResult::Lost), 0);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_a_flood_loses_what_has_no_room_and_nothing_that_had() {
    let shop = Shop::with(|builder| builder.cache(100, Duration::from_secs(60)).queue(50));
    shop.store.fail(true);
    let registry = shop.layer.registry().unwrap();
    for n in 0..1_000 {
        let name = format!("user-{n}");
        shop.respond(&name, StatusCode::OK, order("A-1", 1)).await;
    }
    assert_eq!(registry.cache.len(), 100);
    assert!(registry.writer.left() <= 150, "{}", registry.writer.left());
    let tally = shop.tally();
    let lost = |kind| tally.changes(kind, ChangeResult::Lost);
    assert_eq!(
        (lost(ChangeKind::Activity), lost(ChangeKind::Order)),
        (900, 950)
    );
    shop.store.fail(false);
    shop.flush().await;
    for n in 0..100 {
        let record = shop.store.record(&format!("user-{n}")).unwrap();
        assert_eq!(record.orders, u64::from(n < 50), "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn customers_in_use_outlive_those_who_came_once() {
    let shop = Shop::with(|builder| builder.cache(50, Duration::from_secs(3_600)));
    for n in 0..500 {
        shop.visit("ada").await;
        shop.visit(&format!("user-{n}")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let fetches = shop.store.fetches();
    shop.visit("ada").await;
    assert_eq!(shop.store.fetches(), fetches);
    assert!(fetches <= 520, "{fetches}");
}
