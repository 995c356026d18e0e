//! The customers that this process knows: the store's records for a while, and the changes that it has not written yet.
//!
//! Invariant: a customer's view is the record as last read or written, plus every change that the store has not confirmed,
//! each once. An order or a refund that the store is known to have counted is not added again. This process does not know
//! what the store has counted for another one: such a repeat is added until the store has answered. An entry with
//! unwritten changes, or with a lookup under way, is never evicted. So it is no `sync::Cache`, which may forget any entry.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashTable;
use tokio::sync::watch;

use super::entry::{Entry, Flight, Known, key_of};
use super::{Change, Event, Record, Timestamp};
use crate::model::UserId;
use crate::segment::store::Applied;

/// The shortest time between two writes of a customer's activity.
pub(super) const REST: Duration = Duration::from_secs(60);

/// A customer's view: the record, or `None` for a customer who was never seen.
pub(super) type Found = Result<Option<Record>, Unknown>;

/// The customer is not in the cache, or the store failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown;

pub(super) struct Cache {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Entries of one shard.
    capacity: usize,
    ttl: Duration,
}

struct Shard {
    entries: HashTable<Entry>,
    /// The entries' users in the order in which they are looked at for eviction: a second chance for those in use.
    queue: VecDeque<UserId>,
    flights: u64,
}

/// The answer to a lookup.
pub(super) enum Met {
    /// The view, and the moment to write the activity at, if that is to be scheduled.
    Known(Option<Record>, Option<Timestamp>),
    /// Another request asks the store already.
    InFlight(watch::Receiver<Option<Found>>),
    /// The caller is to ask the store, and to [`Cache::land`] the answer.
    Leads {
        id: u64,
        tell: watch::Sender<Option<Found>>,
    },
    /// Everything in the cache is unwritten or asked for: the caller asks for itself.
    Full,
}

/// How an activity was kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// The writer knows of the customer.
    Scheduled,
    /// The writer is to be told when to write it.
    Schedule(Timestamp),
    /// There is no room for it.
    Full,
}

impl Cache {
    /// Enough for the locks to be free nearly always on machines of up to a few dozen cores.
    const SHARDS: usize = 64;
    const LEAST_SHARD: usize = 64;
    /// How many entries are looked at for one to evict.
    const TRIES: usize = 32;

    pub(super) fn new(customers: usize, ttl: Duration) -> Self {
        let shards = (customers / Self::LEAST_SHARD).clamp(1, Self::SHARDS);
        let shard = |_| {
            Mutex::new(Shard {
                entries: HashTable::new(),
                queue: VecDeque::new(),
                flights: 0,
            })
        };
        Self {
            hasher: RandomState::new(),
            shards: (0..shards).map(shard).collect(),
            capacity: customers / shards,
            ttl,
        }
    }

    /// The customer's shard, locked, and the hash within it.
    fn shard(&self, user: &UserId) -> (MutexGuard<'_, Shard>, u64) {
        let hash = self.hasher.hash_one(user);
        // The upper half: the hash table takes its buckets from the low bits.
        let shard = &self.shards[(hash >> 32) as usize % self.shards.len()];
        (shard.lock().unwrap_or_else(PoisonError::into_inner), hash)
    }

    /// The customer's view. If it is known and `touch` is set, the customer is active from then on.
    pub(super) fn meet(&self, user: &UserId, now: Timestamp, touch: bool) -> Met {
        let (mut shard, hash) = self.shard(user);
        let Some(entry) = self.entry(&mut shard, hash, user) else {
            return Met::Full;
        };
        if let Ok(record) = entry.view(now, self.ttl) {
            entry.used = true;
            let due = if touch { entry.touch(now) } else { None };
            return Met::Known(record, due);
        }
        if let Some(flight) = &entry.flight {
            return Met::InFlight(flight.landed.clone());
        }
        let (tell, landed) = watch::channel(None);
        let version = entry.version;
        shard.flights += 1;
        let id = shard.flights;
        if let Some(entry) = shard.find(hash, user) {
            entry.flight = Some(Flight {
                id,
                version,
                landed,
            });
        }
        Met::Leads { id, tell }
    }

    /// The customer's view.
    pub(super) fn view(&self, user: &UserId, now: Timestamp) -> Found {
        let (mut shard, hash) = self.shard(user);
        let entry = shard.find(hash, user).ok_or(Unknown)?;
        entry.view(now, self.ttl)
    }

    /// Ends the lookup of this id; returns the customer's view.
    pub(super) fn land(&self, user: &UserId, id: u64, fetched: Found, now: Timestamp) -> Found {
        let (mut shard, hash) = self.shard(user);
        let Some(entry) = shard.find(hash, user) else {
            // Erased meanwhile: an older record must not be kept.
            return fetched;
        };
        match entry.flight.take_if(|flight| flight.id == id) {
            Some(flight) if flight.version == entry.version => {
                if let Ok(record) = fetched {
                    entry.known = Some(Known { record, at: now });
                }
            }
            _ => {}
        }
        entry.view(now, self.ttl)
    }

    /// The customer is active.
    pub(super) fn touch(&self, user: &UserId, now: Timestamp) -> Touched {
        let (mut shard, hash) = self.shard(user);
        match self.entry(&mut shard, hash, user) {
            None => Touched::Full,
            Some(entry) => entry
                .touch(now)
                .map_or(Touched::Scheduled, Touched::Schedule),
        }
    }

    /// Adds an order or a refund to the customer's view; false for one that waits to be written already.
    pub(super) fn record(&self, change: &Change) -> bool {
        let (mut shard, hash) = self.shard(&change.customer);
        let Some(entry) = self.entry(&mut shard, hash, &change.customer) else {
            // The store will know it; this process will when it reads.
            return true;
        };
        let key = key_of(&change.event);
        let mut unwritten = entry.unwritten.iter();
        if unwritten.any(|(_, event)| key_of(event) == key) {
            return false;
        }
        // It is written all the same: another process may have erased the customer meanwhile.
        if !key.is_some_and(|key| entry.counted.contains(&key)) {
            entry.unwritten.push((change.at, change.event));
        }
        true
    }

    /// Makes room for a customer with a change that the store will receive.
    pub(super) fn expect(&self, user: &UserId) {
        let (mut shard, hash) = self.shard(user);
        self.entry(&mut shard, hash, user);
    }

    /// How much of the customer was written so far.
    pub(super) fn version(&self, user: &UserId) -> u64 {
        let (mut shard, hash) = self.shard(user);
        shard.find(hash, user).map_or(0, |entry| entry.version)
    }

    /// Takes an order or a refund back, which will not be written.
    pub(super) fn take_back(&self, change: &Change) {
        let (mut shard, hash) = self.shard(&change.customer);
        if let Some(entry) = shard.find(hash, &change.customer) {
            entry.forget(&change.event);
        }
    }

    /// The activity that is to be written now, if there still is any; before it the first of a customer who may have no
    /// record yet.
    pub(super) fn due(&self, user: &UserId) -> Option<(Option<Timestamp>, Timestamp)> {
        let (mut shard, hash) = self.shard(user);
        let entry = shard.find(hash, user)?;
        entry.scheduled = entry.activity.is_some();
        let last = entry.activity?;
        let known = entry.known.and_then(|known| known.record);
        let is_news = |first: &Timestamp| known.is_none_or(|it| *first < it.first_activity);
        let first = Some(entry.active_since).filter(|first| *first < last && is_news(first));
        Some((first, last))
    }

    /// The store has a change, the `last` of its customer's activities that were written together, and sent when the
    /// customer was at `version`; returns when later activity is to be written, if that is to be scheduled.
    pub(super) fn confirm(
        &self,
        change: &Change,
        last: bool,
        (version, applied): (u64, &Applied),
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (mut shard, hash) = self.shard(&change.customer);
        let entry = shard.find(hash, &change.customer)?;
        // If something else was written meanwhile, nothing tells which answer is the later: the store is asked again.
        entry.known = (entry.version == version).then_some(Known {
            record: applied.record,
            at: now,
        });
        entry.version += 1;
        entry.forget(&change.event);
        if let Some(key) = key_of(&change.event).filter(|_| applied.fresh) {
            if entry.counted.len() == Entry::COUNTED {
                entry.counted.remove(0);
            }
            entry.counted.push(key);
        }
        entry.confirm(change, applied);
        if !last || !matches!(change.event, Event::Activity) {
            return None;
        }
        entry.scheduled = entry.activity.is_some();
        entry.activity.map(|_| entry.rests_until(now))
    }

    /// Forgets the customer, with everything unwritten.
    pub(super) fn remove(&self, user: &UserId) {
        let (mut shard, hash) = self.shard(user);
        if let Ok(entry) = shard.entries.find_entry(hash, |entry| entry.user == *user) {
            entry.remove();
            shard.queue.retain(|queued| queued != user);
        }
    }

    /// How many customers are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| shard.lock().unwrap().entries.len())
            .sum()
    }

    /// The customer's entry, a new one if need be and there is room for it.
    fn entry<'a>(&self, shard: &'a mut Shard, hash: u64, user: &UserId) -> Option<&'a mut Entry> {
        if shard.find(hash, user).is_none() {
            if shard.entries.len() >= self.capacity && !self.evict(shard) {
                return None;
            }
            shard.queue.push_back(user.clone());
            let hasher = &self.hasher;
            shard
                .entries
                .insert_unique(hash, Entry::new(user), |entry| hasher.hash_one(&entry.user));
        }
        shard.find(hash, user)
    }

    /// Makes room: evicts an entry that was not used again, else any that can be read again.
    fn evict(&self, shard: &mut Shard) -> bool {
        for spares_used in [true, false] {
            for _ in 0..Self::TRIES.min(shard.queue.len()) {
                let Some(user) = shard.queue.pop_front() else {
                    return false;
                };
                let hash = self.hasher.hash_one(&user);
                let found = shard.entries.find_entry(hash, |entry| entry.user == user);
                let Ok(mut found) = found else {
                    continue;
                };
                let entry = found.get_mut();
                let was_used = std::mem::replace(&mut entry.used, false);
                if entry.is_pinned() || (spares_used && was_used) {
                    shard.queue.push_back(user);
                } else {
                    found.remove();
                    return true;
                }
            }
        }
        false
    }
}

impl Shard {
    fn find(&mut self, hash: u64, user: &UserId) -> Option<&mut Entry> {
        self.entries.find_mut(hash, |entry| entry.user == *user)
    }
}
