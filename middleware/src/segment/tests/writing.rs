//! What reaches the store, when, and how often.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_requests_of_a_minute_are_two_writes_the_first_and_the_last() {
    let shop = Shop::new();
    shop.visit("ada").await;
    until("written", || shop.store.activities("ada") == 1).await;
    for _ in 0..55 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shop.visit("ada").await;
    }
    let last = shop.wall.now();
    assert_eq!(shop.store.activities("ada"), 1);
    until("written", || shop.store.activities("ada") == 2).await;
    let record = shop.store.record("ada").unwrap();
    assert_eq!(record.last_activity, Timestamp::from(last));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(shop.store.activities("ada"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_constant_stream_of_requests_is_one_write_a_minute() {
    let shop = Shop::new();
    for _ in 0..600 {
        shop.visit("ada").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let writes = shop.store.activities("ada");
    assert!((10..=11).contains(&writes), "{writes}");
}

#[tokio::test(start_paused = true)]
async fn a_flush_writes_the_activity_that_would_have_waited() {
    let shop = Shop::new();
    shop.visit("ada").await;
    until("written", || shop.store.activities("ada") == 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    shop.visit("ada").await;
    let last = Timestamp::from(shop.wall.now());
    assert!(shop.store.record("ada").unwrap().last_activity < last);
    shop.flush().await;
    assert_eq!(shop.store.record("ada").unwrap().last_activity, last);
}

#[tokio::test(start_paused = true)]
async fn a_flush_leaves_nothing_where_the_store_has_lost_what_it_knew() {
    let shop = Shop::new();
    shop.visit("ada").await;
    until("written", || shop.store.activities("ada") == 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    shop.visit("ada").await;
    let first = Timestamp::from(shop.wall.now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    shop.visit("ada").await;
    shop.store.lose("ada");
    shop.flush().await;
    let record = shop.store.record("ada").unwrap();
    assert_eq!(record.first_activity, first);
    assert_eq!(record.last_activity, Timestamp::from(shop.wall.now()));
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_cannot_write_says_how_much_is_left() {
    let shop = Shop::new();
    shop.visit("bob").await;
    until("written", || shop.store.activities("bob") == 1).await;
    shop.store.fail(true);
    shop.visit("bob").await;
    shop.respond("ada", StatusCode::OK, order("A-1", 100)).await;
    shop.respond("ada", StatusCode::OK, order("A-2", 100)).await;
    let flushed = shop.customers().flush(Duration::from_secs(5)).await;
    // Two orders, and the activity of both.
    assert_eq!((flushed.left, flushed.written, flushed.spilled), (4, 0, 0));
    shop.store.fail(false);
    shop.flush().await;
    assert_eq!(shop.store.record("ada").unwrap().orders, 2);
}

#[tokio::test(start_paused = true)]
async fn orders_recorded_while_the_store_fails_are_known_here_and_written_within_a_second_of_its_return()
 {
    let shop = Shop::new();
    shop.visit("ada").await;
    until("written", || shop.store.activities("ada") == 1).await;
    shop.store.fail(true);
    for n in 0..200 {
        shop.respond("ada", StatusCode::OK, order(&format!("A-{n}"), 100))
            .await;
    }
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(shop.store.record("ada").unwrap().orders, 0);
    shop.store.fail(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let record = shop.store.record("ada").unwrap();
    assert_eq!((record.orders, record.spend), (200, 20_000));
    let batches = shop.store.0.batches.lock().unwrap();
    assert!(batches.iter().all(|batch| batch.len() <= 32));
    let tally = shop.tally();
    let orders = |result| tally.changes(ChangeKind::Order, result);
    assert_eq!(
        (orders(ChangeResult::Written), orders(ChangeResult::Lost)),
        (200, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn answers_that_come_in_another_order_than_they_were_given_take_no_order_back() {
    let shop = Shop::new();
    shop.visit("ada").await;
    shop.flush().await;
    let registry = shop.layer.registry().unwrap();
    let order = |id, amount| {
        let key = OrderKey::of_order(id);
        let (customer, at) = (user("ada"), registry.now());
        let event = Event::Order { key, amount };
        [Change {
            customer,
            at,
            event,
        }]
    };
    let orders = [order("A-1", 50_000), order("A-2", 1)];
    let versions = orders.each_ref().map(|order| registry.versions(order));
    let mut answers = Vec::new();
    for order in &orders {
        answers.push(registry.store.apply(order).await.unwrap());
    }
    for late_first in [1, 0] {
        let (order, answer) = (&orders[late_first], &answers[late_first]);
        registry.confirm(order, &versions[late_first], answer);
    }
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_loses_orders_counts_them_and_keeps_the_rest() {
    let shop = Shop::with(|builder| builder.queue(10));
    shop.store.fail(true);
    for n in 0..25 {
        shop.respond("ada", StatusCode::OK, order(&format!("A-{n}"), 100))
            .await;
    }
    let tally = shop.tally();
    assert_eq!(tally.changes(ChangeKind::Order, ChangeResult::Lost), 15);
    shop.store.fail(false);
    shop.flush().await;
    assert_eq!(shop.store.record("ada").unwrap().orders, 10);
    assert_eq!(tally.changes(ChangeKind::Order, ChangeResult::Written), 10);
    // What was lost is not part of what this process believes either.
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
    let standing = shop.customers().standing(&user("ada")).await.unwrap();
    assert!(standing.is_vip);
}

#[test]
fn what_waited_when_its_runtime_ended_is_written_by_the_next() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let first = runtime();
    let shop = first.block_on(async {
        let shop = Shop::new();
        shop.store.fail(true);
        shop.respond("ada", StatusCode::OK, order("A-1", 100)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        shop
    });
    drop(first);
    shop.store.fail(false);
    let swept = shop.store.0.sweeps.load(Ordering::Relaxed);
    runtime().block_on(async {
        shop.flush().await;
        until("swept", || {
            shop.store.0.sweeps.load(Ordering::Relaxed) > swept
        })
        .await;
    });
    assert_eq!(shop.store.record("ada").unwrap().orders, 1);
}

#[tokio::test(start_paused = true)]
async fn the_population_is_exported_while_the_lease_is_held_and_a_sweep_ends_with_its_layer() {
    let shop = Shop::with(|builder| builder.sweep_every(Duration::from_secs(1)));
    let tally = shop.tally();
    shop.visit("ada").await;
    until("counted", || {
        tally.population().is_some_and(|it| it.returning == 1)
    })
    .await;
    assert!(tally.checked() >= 3 && tally.mended() >= 1);
    shop.store.0.lease.store(false, Ordering::Relaxed);
    until("lost", || tally.population().is_none()).await;
    shop.store.0.lease.store(true, Ordering::Relaxed);
    until("held again", || tally.population().is_some()).await;
    let Shop { store, layer, .. } = shop;
    drop(layer);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let sweeps = store.0.sweeps.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.0.sweeps.load(Ordering::Relaxed), sweeps);
}

#[tokio::test(start_paused = true)]
async fn activity_told_by_the_service_is_coalesced_as_that_of_requests() {
    let shop = Shop::new();
    for _ in 0..10 {
        shop.customers().record_activity(&user("ada"));
    }
    until("written", || shop.store.activities("ada") == 1).await;
    assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    assert_eq!(shop.store.activities("ada"), 1);
}
