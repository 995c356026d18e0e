//! What a customer is over time, by the layer and its clock.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_new_customer_is_returning_with_the_next_request() {
    let shop = Shop::new();
    assert_eq!(shop.visit("ada").await, Some(Segment::New));
    for _ in 0..3 {
        assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    }
    assert_eq!(shop.visit("bob").await, Some(Segment::New));
}

#[tokio::test(start_paused = true)]
async fn recency_changes_at_30_and_90_days_of_silence_and_a_visit_ends_it() {
    for (silent, expected) in [
        (30 * DAY - 1_000, Segment::Returning),
        (30 * DAY, Segment::AtRisk),
        (90 * DAY - 1_000, Segment::AtRisk),
        (90 * DAY, Segment::Churned),
        (91 * DAY, Segment::Churned),
    ] {
        let shop = Shop::new();
        shop.visit("ada").await;
        shop.flush().await;
        shop.wall.advance(silent);
        assert_eq!(shop.visit("ada").await, Some(expected), "{silent} ms");
        assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_request_after_an_order_of_more_than_500_is_a_vips_and_a_refund_takes_it_back() {
    let shop = Shop::new();
    shop.respond("ada", StatusCode::OK, order("A-1", 50_000))
        .await;
    assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    shop.respond("ada", StatusCode::OK, order("A-2", 1)).await;
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
    let refund = |id| CustomerEvents::new().refund(Refund::of("A-1", usd(1)).id(id));
    shop.respond("ada", StatusCode::OK, refund("r1")).await;
    assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    shop.flush().await;
    assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    let record = shop.store.record("ada").unwrap();
    assert_eq!((record.spend, record.orders), (50_000, 2));
}

#[tokio::test(start_paused = true)]
async fn the_sixth_order_makes_a_vip_and_an_id_counts_once_however_it_comes() {
    let shop = Shop::new();
    let other = Shop::with(|builder| builder);
    for n in 0..5 {
        for _ in 0..3 {
            shop.respond("ada", StatusCode::OK, order(&format!("A-{n}"), 100))
                .await;
        }
        shop.flush().await;
        let again = Order::new(&format!("A-{n}"), usd(100));
        let fresh = shop.customers().record_order(&user("ada"), &again).await;
        assert!(!fresh.unwrap());
    }
    assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    shop.respond("ada", StatusCode::OK, order("A-5", 100)).await;
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
    shop.flush().await;
    assert_eq!(shop.store.record("ada").unwrap().orders, 6);
    assert!(other.store.record("ada").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_vip_stays_one_however_long_silent() {
    let shop = Shop::new();
    shop.respond("ada", StatusCode::OK, order("A-1", 50_001))
        .await;
    shop.flush().await;
    shop.wall.advance(200 * DAY);
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
}

#[tokio::test(start_paused = true)]
async fn what_another_process_wrote_is_known_when_the_cache_has_expired() {
    let shop = Shop::new();
    shop.visit("ada").await;
    shop.flush().await;
    let at = Timestamp::from_millis(START);
    let vip = Record {
        spend: 50_001,
        ..Record::seen(at)
    };
    shop.store.put("ada", vip);
    assert_eq!(shop.visit("ada").await, Some(Segment::Returning));
    shop.wall.advance(60_000);
    assert_eq!(shop.visit("ada").await, Some(Segment::Vip));
}

#[test]
fn thresholds_out_of_order_are_refused_with_the_key_the_value_and_what_is_allowed() {
    let build = |set: fn(&mut Criteria), retention: u64| {
        let mut criteria = Criteria::default();
        set(&mut criteria);
        ClassifyLayer::builder(Fake::new())
            .criteria(criteria)
            .retention(Duration::from_millis(retention))
            .build()
            .map_err(|error| error.to_string())
    };
    assert!(build(|_| {}, 90 * DAY + 1).is_ok());
    let message = build(|_| {}, 90 * DAY).unwrap_err();
    assert!(
        message.starts_with("`retention` cannot be `90d`"),
        "{message}"
    );
    assert!(message.contains("more than `churned_after`"), "{message}");
    let message = build(|it| it.at_risk_after = it.churned_after, 400 * DAY).unwrap_err();
    assert!(message.starts_with("`at_risk_after`"), "{message}");
    let builder = || ClassifyLayer::builder(Fake::new());
    for (builder, key) in [
        (builder().queue(0), "queue"),
        (builder().cache(0, Duration::from_secs(1)), "cache"),
        (
            builder().sweep_every(Duration::from_millis(999)),
            "sweep_every",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().key(), key);
    }
}
