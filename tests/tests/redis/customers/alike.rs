//! The same random commands for both stores and the model.

use palisade::segment::store::KeepCustomers;
use palisade::segment::{Change, Criteria, Event, Keeping, OrderKey, Population, Timestamp};
use palisade::store::memory::MemoryStore;
use palisade_tests::redis::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};

use super::model::Model;
use super::{DAY, NOW, at, keep, on_every_store, order, patient, refund, seen, user};

/// At the limits of an id, and what would be a glob, a key or a script, were it not hashed.
fn names() -> Vec<String> {
    [
        "a",
        "ada@example.org",
        "a}b",
        "*",
        "x:vip",
        "\0\r\n",
        "é",
        "-inf",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["x".repeat(64), "x".repeat(65)])
    .collect()
}

#[derive(Debug, Clone)]
enum Command {
    Apply(Vec<Change>),
    Erase(usize, Timestamp),
    Sweep(Timestamp),
}

fn moment() -> impl Strategy<Value = Timestamp> {
    let days = prop_oneof![Just(0), Just(30), Just(90), Just(91), 0..400_u64];
    let near = prop_oneof![
        4 => (days, -1..=1_i64).prop_map(|(days, off)| (NOW - days * DAY).saturating_add_signed(off)),
        1 => Just(0),
        1 => Just(u64::MAX),
        1 => Just(NOW + DAY),
    ];
    near.prop_map(at)
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0..60_000_i64,
        2 => prop_oneof![Just(50_000), Just(50_001), Just(1), Just(0)],
        1 => prop_oneof![
            Just(i64::MAX), Just(i64::MAX - 1), Just(i64::MIN), Just(-1), Just((1 << 53) + 1), Just(1 << 53)
        ],
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let key = (0..12_u8).prop_map(|n| OrderKey::from([n % 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]));
    let event = prop_oneof![
        2 => Just(Event::Activity),
        4 => (key.clone(), amount()).prop_map(|(key, amount)| Event::Order { key, amount }),
        1 => (key, amount()).prop_map(|(key, amount)| Event::Refund { key, amount }),
    ];
    let change = (0..names().len(), moment(), event).prop_map(|(name, at, event)| Change {
        customer: user(&names()[name]),
        at,
        event,
    });
    prop_oneof![
        12 => prop::collection::vec(change, 0..8).prop_map(Command::Apply),
        1 => (0..names().len(), moment()).prop_map(|(name, at)| Command::Erase(name, at)),
        2 => moment().prop_map(Command::Sweep),
    ]
}

async fn agree(stores: &[(&str, &dyn KeepCustomers)], commands: &[Command]) {
    let mut model = Model::default();
    for command in commands {
        match command {
            Command::Apply(changes) => {
                let expected: Vec<_> = changes.iter().map(|change| model.apply(change)).collect();
                for (name, store) in stores {
                    assert_eq!(store.apply(changes).await.unwrap(), expected, "{name}");
                }
            }
            Command::Erase(customer, at) => {
                let customer = user(&names()[*customer]);
                let expected = model.erase(&customer, *at);
                for (name, store) in stores {
                    let erased = store.erase(&customer, *at).await.unwrap();
                    assert_eq!(erased, expected, "{name}");
                }
            }
            Command::Sweep(now) => {
                let expected = model.population(&Criteria::default(), *now);
                for (name, store) in stores {
                    let sweep = store.sweep(*now).await.unwrap().expect("the lease");
                    assert_eq!(sweep.population, expected, "{name}");
                }
            }
        }
        for id in names() {
            for (name, store) in stores {
                let fetched = store.fetch(&user(&id)).await.unwrap();
                assert_eq!(fetched, model.fetch(&user(&id)), "{name}, {id:?}");
            }
        }
    }
    for id in names() {
        for (name, store) in stores {
            let export = store.export(&user(&id)).await.unwrap();
            assert_eq!(export, model.export(&user(&id)), "{name}, {id:?}");
        }
    }
}

#[test]
fn both_stores_do_what_the_model_does_and_every_key_expires() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = RedisServer::start();
    let config = Config {
        cases: 60,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(3),
        ..Config::default()
    };
    let commands = prop::collection::vec(command(), 1..40);
    let run = TestRunner::new(config).run(&commands, |commands| {
        server.cli(&["FLUSHALL"]);
        let redis = keep(&patient(&server).build().unwrap());
        let memory = keep(&MemoryStore::new());
        runtime.block_on(agree(
            &[("memory", &*memory), ("redis", &*redis)],
            &commands,
        ));
        for key in server.cli(&["KEYS", "*"]).lines() {
            let ttl: i64 = server.cli(&["PTTL", key]).parse().unwrap();
            assert!(ttl > 0, "{key} never expires: {ttl}");
        }
        Ok(())
    });
    run.unwrap();
}

async fn population(store: &dyn KeepCustomers) -> Population {
    store
        .sweep(at(NOW))
        .await
        .unwrap()
        .expect("the lease")
        .population
}

#[tokio::test]
async fn each_boundary_of_each_segment_is_met_to_the_millisecond_and_the_cent() {
    on_every_store(async |name, store| {
        let kept = keep(store);
        let mut changes = vec![
            seen("returning", NOW - 30 * DAY + 1),
            seen("at-risk", NOW - 30 * DAY),
            seen("at-risk-still", NOW - 90 * DAY + 1),
            seen("churned", NOW - 90 * DAY),
            order("500.00", NOW, "a", 50_000),
            order("500.01", NOW - 91 * DAY, "b", 50_001),
            order("refunded", NOW, "c", 50_001),
            refund("refunded", NOW, "c", 1),
        ];
        for n in 0..6 {
            changes.push(order("six", NOW, &n.to_string(), 1));
            changes.push(order("five", NOW, &(n % 5).to_string(), 1));
        }
        kept.apply(&changes).await.unwrap();
        let expected = Population {
            returning: 4,
            at_risk: 2,
            churned: 1,
            vip: 2,
        };
        assert_eq!(population(&*kept).await, expected, "{name}");
        kept.apply(&[seen("churned", NOW)]).await.unwrap();
        let expected = Population {
            returning: 5,
            churned: 0,
            ..expected
        };
        assert_eq!(population(&*kept).await, expected, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_refund_of_an_unknown_customer_begins_the_record_and_moves_no_other() {
    on_every_store(async |name, store| {
        let kept = keep(store);
        let mut first = kept.apply(&[refund("ada", NOW, "1", 5)]).await.unwrap();
        let record = first.remove(0).record.unwrap();
        assert_eq!(record.last_activity, at(NOW), "{name}");
        assert_eq!((record.spend, record.orders), (-5, 0), "{name}");
        let later = kept.apply(&[refund("ada", NOW + 1, "2", 5)]).await.unwrap();
        let mut expected = record;
        expected.spend = -10;
        assert_eq!(later[0].record, Some(expected), "{name}");
    })
    .await;
}

/// The 4,097th makes the store forget the first, and no other.
#[tokio::test]
async fn the_newest_4096_orders_are_known_again() {
    on_every_store(async |name, store| {
        let kept = store.keep_customers(&Keeping::new());
        let orders: Vec<_> = (0..=4096)
            .map(|n| order("ada", NOW, &n.to_string(), 1))
            .collect();
        for chunk in orders.chunks(500) {
            kept.apply(chunk).await.unwrap();
        }
        let again = kept.apply(&[orders[1].clone(), orders[4096].clone()]).await;
        assert!(again.unwrap().iter().all(|again| !again.fresh), "{name}");
        let export = kept.export(&user("ada")).await.unwrap().unwrap();
        assert_eq!(
            (export.counted.len(), export.record.orders),
            (4096, 4097),
            "{name}"
        );
        assert!(kept.apply(&orders[..1]).await.unwrap()[0].fresh, "{name}");
    })
    .await;
}
