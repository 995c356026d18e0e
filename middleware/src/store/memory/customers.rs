//! The records of customers, in the memory of this process.

use std::collections::VecDeque;
use std::sync::Arc;

use super::MemoryStore;
use super::clock::Clock;
use super::log::Micros;
use super::shard::Entry;
use super::table::Table;
use crate::model::{PartitionKey, UserId};
use crate::segment::store::{Applied, CustomerStore, KeepCustomers, Reply, Sweep};
use crate::segment::{Change, Export, Keeping, OrderKey, Population, Recency, Record, Timestamp};
use crate::store::{ERASED_FOR, Effect, MOST_COUNTED};

/// The customers of a store, and those erased lately; all binds share them.
pub(super) struct Customers {
    known: Table<Customer>,
    erased: Table<Erased>,
}

/// A customer whose record is absent holds a slot that is free to be taken.
#[derive(Debug, Default)]
pub(super) struct Customer {
    record: Option<Record>,
    /// When a change was applied last, by the store's clock.
    written: Micros,
    /// The keys of the newest orders and refunds, the oldest first; most customers have none.
    counted: VecDeque<OrderKey>,
}

/// Erased customers.
#[derive(Debug, Default)]
struct Erased {
    /// Changes of this moment or an earlier one are dropped.
    moment: Timestamp,
    since: Micros,
}

impl Entry for Customer {
    fn is_idle(&self, now: Micros, retention: Micros) -> bool {
        self.record.is_none() || now.saturating_sub(self.written) >= retention
    }
}

impl Entry for Erased {
    fn is_idle(&self, now: Micros, window: Micros) -> bool {
        now.saturating_sub(self.since) >= window
    }
}

impl Customer {
    /// Applies an event; whether it counted. The record is there afterwards.
    fn apply(&mut self, at: Timestamp, effect: Effect) -> bool {
        let record = self.record.get_or_insert(Record::seen(at));
        if !matches!(effect, Effect::Refunded(..)) {
            record.first_activity = record.first_activity.min(at);
            record.last_activity = record.last_activity.max(at);
        }
        let (key, amount, orders) = match effect {
            Effect::Seen => return true,
            Effect::Ordered(key, amount) => (key, amount, 1),
            Effect::Refunded(key, amount) => (key, amount, 0),
        };
        if self.counted.contains(&key) {
            return false;
        }
        record.spend = record.spend.saturating_add(amount);
        record.orders = record.orders.saturating_add(orders);
        if self.counted.len() == MOST_COUNTED {
            self.counted.pop_front();
        }
        self.counted.push_back(key);
        true
    }
}

impl Customers {
    /// Most erased customers that are remembered, the latest, for ten minutes.
    const MOST_ERASED: usize = 100_000;

    pub(super) fn new(max_customers: usize) -> Self {
        Self {
            known: Table::new("customers", max_customers, 0),
            erased: Table::new("erased", max_customers.min(Self::MOST_ERASED), 1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.shards().map(|shard| shard.len()).sum()
    }

    pub(super) fn evicted_live(&self) -> u64 {
        self.known.shards().map(|shard| shard.evicted_live()).sum()
    }
}

impl CustomerStore for MemoryStore {
    fn keep_customers(&self, keeping: &Keeping) -> Arc<dyn KeepCustomers> {
        Arc::new(Bound(Arc::new(Kept {
            clock: Arc::clone(&self.0.clock),
            customers: Arc::clone(&self.0.customers),
            retention: micros(keeping.retention),
            keeping: keeping.clone(),
        })))
    }
}

fn micros(duration: std::time::Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// The store for the settings of one layer.
struct Bound(Arc<Kept>);

struct Kept {
    clock: Arc<dyn Clock>,
    customers: Arc<Customers>,
    retention: Micros,
    keeping: Keeping,
}

impl Kept {
    fn now(&self) -> Micros {
        micros(self.clock.now())
    }

    /// Looks at a customer whose record is there and not past its retention.
    fn look<T>(&self, customer: &UserId, look: impl FnOnce(&Customer, Record) -> T) -> Option<T> {
        let key = PartitionKey::from(customer.clone());
        let hash = self.customers.known.hash(&key);
        let mut shard = self.customers.known.shard(hash);
        let slot = shard.find(hash, &key)?;
        let customer = shard.entry_mut(slot);
        if customer.is_idle(self.now(), self.retention) {
            return None;
        }
        let record = customer.record?;
        Some(look(customer, record))
    }

    fn apply(&self, change: &Change) -> Applied {
        let known = &self.customers.known;
        let key = PartitionKey::from(change.customer.clone());
        let hash = known.hash(&key);
        let mut shard = known.shard(hash);
        // Read with the lock held, as is whether the customer was erased: an erasure comes before or after the whole
        // of this.
        let now = self.now();
        let held = shard.find(hash, &key);
        if self.is_erased(&key, change.at, now) {
            let customer = held.map(|slot| shard.entry_mut(slot));
            let live = customer.filter(|customer| !customer.is_idle(now, self.retention));
            let record = live.and_then(|customer| customer.record);
            return Applied {
                record,
                fresh: false,
            };
        }
        let slot =
            held.unwrap_or_else(|| shard.insert(known.hasher(), hash, &key, now, self.retention));
        let customer = shard.entry_mut(slot);
        if customer.is_idle(now, self.retention) {
            *customer = Customer::default();
        }
        customer.written = now;
        let fresh = customer.apply(change.at, Effect::of(&change.event));
        let record = customer.record;
        shard.used(slot, false);
        Applied { record, fresh }
    }

    fn is_erased(&self, key: &PartitionKey, at: Timestamp, now: Micros) -> bool {
        let erased = &self.customers.erased;
        let hash = erased.hash(key);
        let mut shard = erased.shard(hash);
        shard.find(hash, key).is_some_and(|slot| {
            let entry = shard.entry_mut(slot);
            at <= entry.moment && !entry.is_idle(now, micros(ERASED_FOR))
        })
    }

    fn erase(&self, customer: &UserId, at: Timestamp) -> bool {
        let Customers { known, erased } = &*self.customers;
        let key = PartitionKey::from(customer.clone());
        let hash = known.hash(&key);
        let mut shard = known.shard(hash);
        let now = self.now();
        let had_record = shard.find(hash, &key).is_some_and(|slot| {
            let live = !shard.entry_mut(slot).is_idle(now, self.retention);
            shard.forget(known.hasher(), slot);
            live
        });
        let hash = erased.hash(&key);
        let mut shard = erased.shard(hash);
        let slot = shard
            .find(hash, &key)
            .unwrap_or_else(|| shard.insert(erased.hasher(), hash, &key, now, micros(ERASED_FOR)));
        let entry = shard.entry_mut(slot);
        let earlier = if entry.is_idle(now, micros(ERASED_FOR)) {
            Timestamp::from_millis(0)
        } else {
            entry.moment
        };
        *entry = Erased {
            moment: earlier.max(at),
            since: now,
        };
        shard.used(slot, false);
        had_record
    }

    /// Counts all customers, a shard at a time, and lets go of those past the retention.
    async fn sweep(&self, now: Timestamp) -> Sweep {
        let known = &self.customers.known;
        let mut sweep = Sweep {
            population: Population::default(),
            checked: 0,
            mended: 0,
        };
        for shard in 0..known.shard_count() {
            {
                let mut shard = known.nth_shard(shard);
                let time = self.now();
                sweep.mended += shard.forget_idle(known.hasher(), time, self.retention);
                for customer in shard.entries() {
                    if let Some(record) = &customer.record {
                        self.count(record, now, &mut sweep.population);
                        sweep.checked += 1;
                    }
                }
            }
            // Requests wait for no more than a shard, and their tasks for no more than that either.
            tokio::task::yield_now().await;
        }
        sweep.checked += sweep.mended;
        sweep
    }

    fn count(&self, record: &Record, now: Timestamp, population: &mut Population) {
        let standing = self.keeping.criteria.standing(Some(record), now);
        let count = match (standing.is_vip, standing.recency) {
            (true, _) => &mut population.vip,
            (false, Recency::Churned) => &mut population.churned,
            (false, Recency::AtRisk) => &mut population.at_risk,
            (false, _) => &mut population.returning,
        };
        *count += 1;
    }
}

impl KeepCustomers for Bound {
    fn fetch(&self, customer: &UserId) -> Reply<Option<Record>> {
        Reply::Ready(Ok(self.0.look(customer, |_, record| record)))
    }

    fn apply(&self, changes: &[Change]) -> Reply<Vec<Applied>> {
        let applied = changes.iter().map(|change| self.0.apply(change)).collect();
        Reply::Ready(Ok(applied))
    }

    fn erase(&self, customer: &UserId, at: Timestamp) -> Reply<bool> {
        Reply::Ready(Ok(self.0.erase(customer, at)))
    }

    fn export(&self, customer: &UserId) -> Reply<Option<Export>> {
        let export = self.0.look(customer, |customer, record| Export {
            record,
            counted: customer.counted.iter().copied().collect(),
        });
        Reply::Ready(Ok(export))
    }

    fn sweep(&self, now: Timestamp) -> Reply<Option<Sweep>> {
        let kept = Arc::clone(&self.0);
        Reply::pending(async move { Ok(Some(kept.sweep(now).await)) })
    }
}
