use std::sync::Arc;
use std::time::Duration;

use super::{Hand, MemoryStore};
use crate::model::{Secret, UserId};
use crate::segment::store::{CustomerStore, KeepCustomers};
use crate::segment::{Change, Event, Keeping, OrderKey, Record, Timestamp};

const DAY: Duration = Duration::from_secs(86_400);

fn user(name: &str) -> UserId {
    UserId::new(name, &Secret::from_bytes(b"a secret of the tests"))
}

fn change(name: &str, millis: u64, event: Event) -> Change {
    Change {
        customer: user(name),
        at: Timestamp::from_millis(millis),
        event,
    }
}

fn seen(name: &str) -> Change {
    change(name, 0, Event::Activity)
}

struct Kept {
    clock: Hand,
    store: MemoryStore,
    kept: Arc<dyn KeepCustomers>,
}

fn kept(max_keys: usize) -> Kept {
    let clock = Hand::default();
    let store = MemoryStore::builder().clock(clock.clone());
    let store = store.max_keys(max_keys).build().unwrap();
    let kept = store.keep_customers(&Keeping::new());
    Kept { clock, store, kept }
}

impl Kept {
    async fn fetch(&self, name: &str) -> Option<Record> {
        self.kept.fetch(&user(name)).await.unwrap()
    }

    async fn apply(&self, changes: &[Change]) -> bool {
        let applied = self.kept.apply(changes).await.unwrap();
        applied.iter().all(|applied| applied.fresh)
    }

    async fn known(&self) -> (u64, u64) {
        let sweep = self.kept.sweep(Timestamp::from_millis(0)).await.unwrap();
        let sweep = sweep.expect("the lease");
        (sweep.population.returning, sweep.mended)
    }
}

#[tokio::test]
async fn a_record_is_kept_for_400_days_from_the_last_change_to_the_microsecond() {
    let kept = kept(10);
    kept.apply(&[seen("ada"), seen("bob")]).await;
    kept.clock.advance(DAY);
    // A change of an earlier moment keeps the record as long as any other.
    let order = Event::Order {
        key: OrderKey::of_order("1"),
        amount: 5,
    };
    assert!(kept.apply(&[change("ada", 0, order)]).await);
    kept.clock.advance(399 * DAY - Duration::from_micros(1));
    assert!(kept.fetch("bob").await.is_some());
    kept.clock.advance(Duration::from_micros(1));
    assert_eq!(kept.fetch("bob").await, None);
    assert!(kept.fetch("ada").await.is_some());
    assert_eq!(kept.known().await, (1, 1));
    assert_eq!(kept.known().await, (1, 0));
    kept.clock.advance(DAY);
    // Begins anew, and its order with it.
    assert!(kept.apply(&[change("ada", 7, order)]).await);
    let record = kept.fetch("ada").await.unwrap();
    assert_eq!((record.orders, record.first_activity.as_millis()), (1, 7));
    assert!(
        !kept
            .kept
            .erase(&user("bob"), Timestamp::from_millis(0))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn an_erasure_is_remembered_for_ten_minutes() {
    let kept = kept(10);
    let erase = |millis| {
        kept.kept
            .erase(&user("ada"), Timestamp::from_millis(millis))
    };
    erase(9).await.unwrap();
    kept.clock.advance(Duration::from_secs(300));
    // An earlier moment does not move the later one, but is remembered as long.
    erase(5).await.unwrap();
    kept.clock
        .advance(Duration::from_secs(600) - Duration::from_micros(1));
    assert!(!kept.apply(&[change("ada", 9, Event::Activity)]).await);
    assert_eq!(kept.fetch("ada").await, None);
    kept.clock.advance(Duration::from_micros(1));
    assert!(kept.apply(&[change("ada", 5, Event::Activity)]).await);
}

#[tokio::test]
async fn a_full_store_lets_go_of_who_was_quiet_longest() {
    let kept = kept(3);
    for name in ["ada", "bob", "eve"] {
        kept.apply(&[seen(name)]).await;
        kept.clock.advance(Duration::from_secs(1));
    }
    kept.apply(&[seen("ada"), seen("new")]).await;
    assert_eq!(kept.fetch("bob").await, None);
    for name in ["ada", "eve", "new"] {
        assert!(kept.fetch(name).await.is_some(), "{name}");
    }
    assert_eq!((kept.store.keys(), kept.store.evicted_live()), (3, 1));
    assert_eq!(kept.known().await, (3, 0));
}
