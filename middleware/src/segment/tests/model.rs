//! Whatever happens in whatever order, the layer says of a customer what a plain list of all that happened says.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Visit,
    Order(u8),
    Refund(u8),
    /// By the handle, which waits for the store.
    Told(u8),
    Fail(bool),
    Pass(u64),
    Flush,
}

fn step() -> impl Strategy<Value = (u8, Step)> {
    let step = prop_oneof![
        4 => Just(Step::Visit),
        4 => (0..7_u8).prop_map(Step::Order),
        2 => (0..7_u8).prop_map(Step::Refund),
        1 => (0..7_u8).prop_map(Step::Told),
        1 => any::<bool>().prop_map(Step::Fail),
        2 => prop_oneof![
            Just(1),
            Just(59_000),
            Just(61_000),
            Just(31 * DAY),
            Just(91 * DAY)
        ].prop_map(Step::Pass),
        2 => Just(Step::Flush),
    ];
    (0..3_u8, step)
}

/// What an order of an id costs, in cents: an id has one amount.
fn price(id: u8) -> i64 {
    i64::from(id) * 4_000
}

/// All that happened to a customer.
#[derive(Default)]
struct Reference {
    record: Option<Record>,
    orders: Vec<u8>,
    refunds: Vec<u8>,
}

impl Reference {
    fn active(&mut self, now: Timestamp) -> &mut Record {
        let record = self.record.get_or_insert(Record::seen(now));
        record.last_activity = record.last_activity.max(now);
        record
    }

    fn order(&mut self, id: u8, now: Timestamp) {
        let is_fresh = !self.orders.contains(&id);
        let record = self.active(now);
        if is_fresh {
            record.spend += price(id);
            record.orders += 1;
            self.orders.push(id);
        }
    }

    fn refund(&mut self, id: u8, now: Timestamp) {
        let is_fresh = !self.refunds.contains(&id);
        let record = self.record.get_or_insert(Record::seen(now));
        if is_fresh {
            record.spend -= price(id) / 2;
            self.refunds.push(id);
        }
    }
}

async fn run(steps: &[(u8, Step)]) {
    let shop = Shop::new();
    let mut references: [Reference; 3] = Default::default();
    let criteria = Criteria::default();
    for (index, (who, step)) in steps.iter().enumerate() {
        let (name, reference) = (format!("user-{who}"), &mut references[usize::from(*who)]);
        let now = Timestamp::from(shop.wall.now());
        let expected = criteria.standing(reference.record.as_ref(), now).segment();
        let seen = match step {
            Step::Visit => Some(CustomerEvents::new()),
            Step::Order(id) => Some(order(&id.to_string(), price(*id))),
            Step::Refund(id) => {
                let refund = Refund::of(id.to_string(), usd(price(*id) / 2));
                Some(CustomerEvents::new().refund(refund))
            }
            Step::Told(id) => {
                let order = Order::new(&id.to_string(), usd(price(*id)));
                let told = shop.customers().record_order(&user(&name), &order).await;
                if told.is_ok() {
                    reference.order(*id, now);
                }
                None
            }
            Step::Fail(fails) => {
                shop.store.fail(*fails);
                None
            }
            Step::Pass(millis) => {
                shop.wall.advance(*millis);
                None
            }
            Step::Flush => {
                let _ = shop.customers().flush(Duration::from_millis(10)).await;
                None
            }
        };
        if let Some(events) = seen {
            // Classified as what it was before.
            let found = shop.respond(&name, StatusCode::OK, events).await;
            // Unknown while the store is away, never wrong.
            if found.is_some() {
                assert_eq!(found, Some(expected), "step {index}");
            } else {
                assert!(shop.store.0.fails.load(Ordering::Relaxed), "step {index}");
            }
            reference.active(now);
            match step {
                Step::Order(id) => reference.order(*id, now),
                Step::Refund(id) => reference.refund(*id, now),
                _ => {}
            }
        }
    }
    shop.store.fail(false);
    shop.flush().await;
    for (who, reference) in references.iter().enumerate() {
        let stored = shop.store.record(&format!("user-{who}"));
        assert_eq!(stored, reference.record, "user-{who}");
    }
}

proptest! {
    #[test]
    fn the_layer_says_what_a_list_of_all_that_happened_says(steps in prop::collection::vec(step(), 1..60)) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(&steps));
    }
}
