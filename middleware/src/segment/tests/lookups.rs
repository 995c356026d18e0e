//! When the store is asked, and what becomes of those who wait for it.

use super::*;
use crate::segment::preflight::{Looked, Lookup};

#[tokio::test(start_paused = true)]
async fn fifty_requests_of_one_customer_at_once_ask_the_store_once() {
    let shop = Shop::new();
    shop.store.hold();
    let requests: Vec<_> = (0..50)
        .map(|_| tokio::spawn(shop.send(request("ada"), StatusCode::OK, CustomerEvents::new())))
        .collect();
    until("asked", || shop.store.fetches() > 0).await;
    shop.store.0.gate.add_permits(50);
    let mut found = Vec::new();
    for request in requests {
        found.push(request.await.unwrap().unwrap());
    }
    assert_eq!(shop.store.fetches(), 1);
    let new = found.iter().filter(|it| **it == Segment::New).count();
    assert!(new >= 1, "{found:?}");
    let known = [Segment::New, Segment::Returning];
    assert!(found.iter().all(|it| known.contains(it)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn those_who_follow_a_cancelled_lookup_hear_its_answer() {
    let shop = Shop::new();
    shop.store.hold();
    let send = || tokio::spawn(shop.send(request("ada"), StatusCode::OK, CustomerEvents::new()));
    let leader = send();
    until("asked", || shop.store.fetches() > 0).await;
    let followers: Vec<_> = (0..5).map(|_| send()).collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    shop.store.0.gate.add_permits(1);
    for follower in followers {
        assert!(follower.await.unwrap().is_some());
    }
    assert_eq!(shop.store.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_lookup_that_nobody_follows_wedges_nobody() {
    let shop = Shop::new();
    shop.store.hold();
    let leader = tokio::spawn(shop.send(request("ada"), StatusCode::OK, CustomerEvents::new()));
    until("asked", || shop.store.fetches() > 0).await;
    leader.abort();
    let _ = leader.await;
    shop.store.0.gate.add_permits(1);
    assert_eq!(shop.visit("ada").await, Some(Segment::New));
    assert_eq!(shop.store.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_lets_its_requests_pass_unclassified_and_the_next_asks_again() {
    let shop = Shop::new();
    shop.store.hold();
    shop.store.fail(true);
    let send = || tokio::spawn(shop.send(request("ada"), StatusCode::OK, CustomerEvents::new()));
    let requests = [send(), send(), send()];
    until("asked", || shop.store.fetches() > 0).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    shop.store.0.gate.add_permits(1);
    for request in requests {
        assert_eq!(request.await.unwrap(), None);
    }
    assert_eq!((shop.store.fetches(), shop.tally().unclassified()), (1, 3));
    shop.store.fail(false);
    shop.store.0.gate.add_permits(1);
    // They were active while the store was away, and it is told by now.
    assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
}

#[tokio::test(start_paused = true)]
async fn anonymous_requests_and_a_layer_that_is_off_ask_nothing_and_write_nothing() {
    let shop = Shop::new();
    let mut anonymous = client("ada");
    anonymous.user = None;
    let mut request = Request::new(());
    request.extensions_mut().insert(anonymous.clone());
    let events = order("A-1", 100);
    assert_eq!(
        shop.send(request, StatusCode::OK, events.clone()).await,
        None
    );
    assert!(matches!(shop.layer.lookup(&anonymous), Lookup::Anonymous));
    let off = Shop {
        layer: ClassifyLayer::default(),
        ..Shop::new()
    };
    assert_eq!(off.respond("ada", StatusCode::OK, events).await, None);
    assert!(off.layer.customers().is_none() && off.layer.tally().is_none());
    assert!(matches!(
        off.layer.lookup(&client("ada")),
        Lookup::Anonymous
    ));
    shop.flush().await;
    for shop in [shop, off] {
        assert_eq!((shop.store.fetches(), shop.store.written()), (0, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_customer_who_was_looked_up_further_out_is_not_looked_up_again() {
    let shop = Shop::new();
    let looked = match shop.layer.lookup(&client("ada")) {
        Lookup::Pending(pending) => pending.await.map(Standing::segment),
        found => panic!("{found:?}"),
    };
    assert_eq!(looked, Some(Segment::New));
    let Lookup::Known(segment) = shop.layer.lookup(&client("ada")) else {
        panic!("not in the cache");
    };
    // Being looked up is no activity.
    assert_eq!(segment, Some(Segment::New));
    for looked in [Some(Segment::AtRisk), None] {
        let mut request = request("ada");
        request.extensions_mut().insert(Looked(looked));
        let seen = shop.send(request, StatusCode::OK, CustomerEvents::new());
        assert_eq!(seen.await, looked);
    }
    assert_eq!((shop.store.fetches(), shop.tally().unclassified()), (1, 1));
    shop.flush().await;
    assert_eq!(shop.store.activities("ada"), 1);
    shop.store.fail(true);
    let Lookup::Pending(pending) = shop.layer.lookup(&client("bob")) else {
        panic!("known without the store");
    };
    assert_eq!(pending.await, None);
}

#[tokio::test(start_paused = true)]
async fn a_record_read_before_an_order_was_written_does_not_hide_the_order() {
    let shop = Shop::new();
    shop.store.hold();
    let early = tokio::spawn(shop.send(request("ada"), StatusCode::OK, CustomerEvents::new()));
    until("asked", || shop.store.fetches() > 0).await;
    let ada = user("ada");
    let order = Order::new("A-1", usd(50_001));
    assert!(shop.customers().record_order(&ada, &order).await.unwrap());
    shop.store.0.customers.lock().unwrap().remove(&ada);
    shop.store.0.gate.add_permits(1);
    assert_eq!(early.await.unwrap(), Some(Segment::Vip));
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
}

#[tokio::test(start_paused = true)]
async fn an_erased_customer_is_new_and_what_was_pending_is_gone() {
    let shop = Shop::new();
    shop.respond("ada", StatusCode::OK, order("A-1", 100)).await;
    shop.flush().await;
    shop.store.fail(true);
    shop.respond("ada", StatusCode::OK, order("A-2", 50_001))
        .await;
    shop.store.fail(false);
    let customers = shop.customers();
    assert!(customers.erase(&user("ada")).await.unwrap());
    assert_eq!(customers.export(&user("ada")).await.unwrap(), None);
    let standing = customers.standing(&user("ada")).await.unwrap();
    assert_eq!(standing.segment(), Segment::New);
    shop.flush().await;
    assert!(shop.store.record("ada").is_none());
    assert_eq!(shop.visit("ada").await, Some(Segment::New));
}
