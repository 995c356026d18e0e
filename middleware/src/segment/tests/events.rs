//! What handlers say, and what of it counts.

use http::Method;

use super::*;
use crate::model::Countries;

fn acting() -> Shop {
    let countries: Countries = ["GB", "US"]
        .map(|it| it.parse().unwrap())
        .into_iter()
        .collect();
    Shop::with(|builder| {
        builder.countries(countries).actions([
            Action::new("browse").on(Method::GET, "/products"),
            Action::new("checkout"),
        ])
    })
}

/// The series that are not 0.
fn counted(shop: &Shop) -> Vec<(Segment, String, String, u64)> {
    let tally = shop.tally();
    let counts = tally.counts().filter(|series| series.count > 0);
    counts
        .map(|it| {
            (
                it.segment,
                it.action.to_owned(),
                it.country.to_string(),
                it.count,
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn actions_count_by_what_the_customer_was_before_by_route_or_by_name() {
    let shop = acting();
    let tally = shop.tally();
    assert_eq!(tally.counts().count(), 5 * 2 * 3);
    let browse = || {
        let mut request = request("ada");
        let client = request.extensions_mut().get_mut::<Client>().unwrap();
        client.route = "/products".into();
        request
    };
    let none = CustomerEvents::new;
    shop.send(browse(), StatusCode::OK, none()).await;
    shop.send(browse(), StatusCode::OK, none()).await;
    // The handler's word beats the route; what is not declared is no label.
    shop.send(browse(), StatusCode::CREATED, none().action("checkout"))
        .await;
    shop.send(browse(), StatusCode::OK, none().action("steal"))
        .await;
    shop.respond("ada", StatusCode::OK, none()).await;
    let gb = |segment, action: &str, count| (segment, action.to_owned(), "GB".to_owned(), count);
    assert_eq!(
        counted(&shop),
        [
            gb(Segment::New, "browse", 1),
            gb(Segment::Returning, "browse", 1),
            gb(Segment::Returning, "checkout", 1),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn only_successful_responses_count_actions_and_orders() {
    let shop = acting();
    for status in [304, 400, 409, 429, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let events = order("A-1", 50_001).action("checkout");
        shop.respond("ada", status, events).await;
    }
    assert_eq!(counted(&shop), []);
    shop.flush().await;
    assert_eq!(shop.store.record("ada").unwrap().orders, 0);
}

#[tokio::test(start_paused = true)]
async fn one_response_may_say_several_things() {
    let shop = acting();
    let events = order("A-1", 300)
        .order(Order::new("A-2", usd(200)))
        .refund(Refund::of("A-1", usd(50)))
        .action("checkout")
        .action("browse");
    shop.respond("ada", StatusCode::OK, events).await;
    shop.flush().await;
    let record = shop.store.record("ada").unwrap();
    assert_eq!((record.spend, record.orders), (450, 2));
    assert_eq!(counted(&shop).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn amounts_that_cannot_be_are_refused_and_ids_may_be_any_text() {
    let shop = Shop::new();
    for amount in [-1, i64::MIN, i64::MAX, 1 << 53] {
        let refund = Refund::of("A-0", usd(amount));
        let events = order("A-1", amount).refund(refund.clone());
        shop.respond("ada", StatusCode::OK, events).await;
        let refused = shop.customers().record_refund(&user("ada"), &refund).await;
        assert!(matches!(refused, Err(RecordError::Amount)), "{amount}");
    }
    let refused = |kind| shop.tally().changes(kind, ChangeResult::Refused);
    assert_eq!(
        (refused(ChangeKind::Order), refused(ChangeKind::Refund)),
        (4, 8)
    );
    let long = "\u{202e}\0\n".repeat(100_000);
    for id in ["", "}{:\r\n", &long] {
        shop.respond("ada", StatusCode::OK, order(id, 1)).await;
    }
    shop.flush().await;
    let record = shop.store.record("ada").unwrap();
    assert_eq!((record.spend, record.orders), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn another_currency_counts_the_order_and_adds_what_the_conversion_says() {
    let eur = Money::new(40_000, "EUR".parse().unwrap());
    let events = CustomerEvents::new().order(Order::new("A-1", eur));
    let shop = Shop::new();
    shop.respond("ada", StatusCode::OK, events.clone()).await;
    shop.flush().await;
    let record = shop.store.record("ada").unwrap();
    assert_eq!((record.spend, record.orders), (0, 1));
    assert_eq!(shop.tally().unconverted(), 1);

    let shop = Shop::with(|builder| {
        builder.convert(|money| match money.currency.as_str() {
            "EUR" => Some(money.minor * 11 / 10),
            "JPY" => Some(-1),
            _ => None,
        })
    });
    shop.respond("ada", StatusCode::OK, events).await;
    for (id, code) in [("A-2", "CHF"), ("A-3", "JPY")] {
        let money = Money::new(100, code.parse().unwrap());
        let events = CustomerEvents::new().order(Order::new(id, money));
        shop.respond("ada", StatusCode::OK, events).await;
    }
    shop.flush().await;
    let record = shop.store.record("ada").unwrap();
    assert_eq!((record.spend, record.orders), (44_000, 2));
    assert_eq!(shop.tally().unconverted(), 1);
    assert_eq!(
        shop.tally()
            .changes(ChangeKind::Order, ChangeResult::Refused),
        1
    );
}
