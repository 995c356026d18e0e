//! Limits of one process: exact, packed, sharded and bounded.
//!
//! A key takes at most 100 bytes beside its log, and its log five bytes for each unit of admitted cost after
//! the first, in a buffer that at most doubles and never exceeds the limit: 1,000,000 clients with a request
//! each stay under 100 MB, a client with 200 under 1.1 kB.
//!
//! The number of keys is bounded for each policy ([`MemoryStoreBuilder::max_keys`], 1,000,000 unless set). A new
//! key beyond it takes the place of, in this order, an idle key (nothing admitted in its window), else the
//! longest-quiet key with room left, else the longest-quiet key at its limit; keys are spread over shards, and the
//! order holds within a shard. So no flood of new keys lifts the limit of a client while any other key of its
//! shard has room.
//!
//! ```
//! use std::time::Duration;
//! use palisade::rate_limit::{Charge, Quota, Store};
//! use palisade::client::Network;
//! use palisade::store::memory::MemoryStore;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let limits = MemoryStore::new().bind(&["ip".into()]);
//! let key = Network::of("192.0.2.1".parse().unwrap(), 64).into();
//! let quota = Quota::new(2, Duration::from_secs(60)).unwrap();
//! let charge = Charge { policy: 0, key: &key, quota, cost: 1, enforced: true };
//! assert!(limits.admit(&[charge]).wait().await.unwrap().admitted);
//! assert!(limits.admit(&[charge]).wait().await.unwrap().admitted);
//! assert!(!limits.admit(&[charge]).wait().await.unwrap().admitted);
//! # });
//! ```
mod clock;
mod log;
mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use self::log::{Log, Micros};
use self::shard::Shard;
use crate::ConfigError;
use crate::rate_limit::{
    Admission, Admit, AdmitNow, Charge, LocalStore, Quota, Store, Tier, Verdict,
};

pub use clock::{Clock, MonotonicClock};

/// The store of one process. Clones share the logs.
#[derive(Clone)]
pub struct MemoryStore(Arc<Tables>);

struct Tables {
    clock: Arc<dyn Clock>,
    max_keys: usize,
    by_policy: Mutex<Vec<Arc<Table>>>,
}

/// The keys of one policy.
struct Table {
    policy: Arc<str>,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

/// Settings of a [`MemoryStore`].
#[must_use]
pub struct MemoryStoreBuilder {
    clock: Arc<dyn Clock>,
    max_keys: usize,
}

impl MemoryStore {
    /// A store on the process's monotonic clock, bounded to 1,000,000 keys for each policy.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().with_bound(MemoryStoreBuilder::DEFAULT_MAX_KEYS)
    }

    /// A store with other settings.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            clock: Arc::new(MonotonicClock::default()),
            max_keys: MemoryStoreBuilder::DEFAULT_MAX_KEYS,
        }
    }

    /// How many keys are held, idle ones included; it looks at every shard.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.sum(Shard::len)
    }

    /// How many keys were forgotten to make room while their log still counted: above 0, the bound is too small.
    #[must_use]
    pub fn evicted_live(&self) -> u64 {
        self.sum(Shard::evicted_live)
    }

    fn sum<N: std::iter::Sum>(&self, of: impl Fn(&Shard) -> N) -> N {
        let tables = lock(&self.0.by_policy).clone();
        tables
            .iter()
            .flat_map(|table| &table.shards)
            .map(|shard| of(&lock(shard)))
            .sum()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("max_keys", &self.0.max_keys)
            .finish_non_exhaustive()
    }
}

impl MemoryStoreBuilder {
    const DEFAULT_MAX_KEYS: usize = 1_000_000;
    /// More would not fit the 32-bit slot numbers.
    const MOST_KEYS: usize = 1_000_000_000;

    /// The most keys held for each policy, 1,000,000 unless set.
    pub fn max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    /// Another clock: that of a test, or of a log that is replayed.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The store.
    ///
    /// # Errors
    /// A bound outside 1 to 1,000,000,000 keys.
    pub fn build(self) -> Result<MemoryStore, ConfigError> {
        let max_keys = self.max_keys;
        if !(1..=Self::MOST_KEYS).contains(&max_keys) {
            return Err(ConfigError::new(
                "max_keys",
                max_keys,
                "1 to 1000000000 keys",
            ));
        }
        Ok(self.with_bound(max_keys))
    }

    fn with_bound(self, max_keys: usize) -> MemoryStore {
        MemoryStore(Arc::new(Tables {
            clock: self.clock,
            max_keys,
            by_policy: Mutex::default(),
        }))
    }
}

impl fmt::Debug for MemoryStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStoreBuilder")
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn bind(&self, policies: &[Arc<str>]) -> Arc<dyn Admit> {
        self.bound(policies)
    }
}

impl LocalStore for MemoryStore {
    fn bind_local(&self, policies: &[Arc<str>]) -> Arc<dyn AdmitNow> {
        self.bound(policies)
    }
}

impl MemoryStore {
    fn bound(&self, policies: &[Arc<str>]) -> Arc<Bound> {
        let mut tables = lock(&self.0.by_policy);
        let bound = policies
            .iter()
            .map(|policy| {
                if let Some(table) = tables.iter().find(|table| table.policy == *policy) {
                    return Arc::clone(table);
                }
                let table = Arc::new(Table::new(policy, self.0.max_keys));
                tables.push(Arc::clone(&table));
                table
            })
            .collect();
        Arc::new(Bound {
            clock: Arc::clone(&self.0.clock),
            tables: bound,
        })
    }
}

impl Table {
    /// Enough for the locks to be free nearly always on machines of up to a few dozen cores.
    const SHARDS: usize = 64;
    /// Shards smaller than this would make the order of eviction coarse.
    const LEAST_SHARD: usize = 1024;

    fn new(policy: &Arc<str>, max_keys: usize) -> Self {
        let shards = (max_keys / Self::LEAST_SHARD).clamp(1, Self::SHARDS);
        // The remainder is spread, so that the shards together hold exactly `max_keys`.
        let capacity = |shard| max_keys / shards + usize::from(shard < max_keys % shards);
        Self {
            policy: Arc::clone(policy),
            hasher: RandomState::new(),
            shards: (0..shards)
                .map(|shard| Mutex::new(Shard::new(capacity(shard) as u32)))
                .collect(),
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The upper half: the hash table takes its buckets from the low bits.
        lock(&self.shards[(hash >> 32) as usize % self.shards.len()])
    }
}

/// A panic while a lock was held cannot leave a log half written that a later request would misread for longer
/// than its window, so a poisoned lock is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Bound {
    clock: Arc<dyn Clock>,
    tables: Vec<Arc<Table>>,
}

/// One charge under its shard's lock.
struct Held<'a> {
    table: &'a Table,
    shard: MutexGuard<'a, Shard>,
    hash: u64,
    slot: Option<u32>,
    retry: Option<Duration>,
}

impl Admit for Bound {
    fn admit(&self, charges: &[Charge<'_>]) -> Admission {
        Admission::Ready(Ok(self.admit_now(charges)))
    }
}

impl AdmitNow for Bound {
    fn admit_now(&self, charges: &[Charge<'_>]) -> Verdict {
        // Every policy has shards of its own and charges come in the order of the policies, so all requests
        // take their locks in one order and none waits for another in a circle.
        let mut held: SmallVec<[Held<'_>; 4]> = charges
            .iter()
            .map(|charge| {
                let table = &*self.tables[charge.policy];
                let hash = table.hasher.hash_one(charge.key);
                let shard = table.shard(hash);
                let slot = shard.find(hash, charge.key);
                Held {
                    table,
                    shard,
                    hash,
                    slot,
                    retry: None,
                }
            })
            .collect();
        // Read with every lock held: two requests for one key see the times in the order of the decisions.
        let now = self.clock.now().as_micros() as Micros;

        let mut admitted = true;
        for (held, charge) in held.iter_mut().zip(charges) {
            held.retry = held.log().map_or_else(
                || retry(&Log::default(), now, charge),
                |log| {
                    let now = now.max(log.newest());
                    log.expire(now, charge.quota.window_micros());
                    retry(log, now, charge)
                },
            );
            admitted &= held.retry.is_none() || !charge.enforced;
        }
        let tiers = held.iter_mut().zip(charges).map(|(held, charge)| {
            if admitted && held.retry.is_none() {
                held.charge(charge, now);
            }
            let retry = held.retry;
            held.log().map_or(
                Tier {
                    remaining: charge.quota.limit(),
                    reset: Duration::ZERO,
                    retry,
                },
                |log| tier(log, now.max(log.newest()), charge.quota, retry),
            )
        });
        let tiers = tiers.collect();
        Verdict { admitted, tiers }
    }
}

impl Held<'_> {
    fn log(&mut self) -> Option<&mut Log> {
        self.slot.map(|slot| self.shard.log_mut(slot))
    }

    fn charge(&mut self, charge: &Charge<'_>, now: Micros) {
        let (limit, window) = (charge.quota.limit(), charge.quota.window_micros());
        let slot = self.slot.unwrap_or_else(|| {
            self.shard
                .insert(&self.table.hasher, self.hash, charge.key, now, window)
        });
        self.slot = Some(slot);
        let log = self.shard.log_mut(slot);
        let now = if log.len() == 0 {
            now
        } else {
            now.max(log.newest())
        };
        log.push(now, charge.cost, limit);
        let at_limit = log.len() + charge.cost > limit;
        self.shard.admitted(slot, at_limit);
    }
}

/// How long until the charge can fit, or `None` where it fits now.
fn retry(log: &Log, now: Micros, charge: &Charge<'_>) -> Option<Duration> {
    let limit = charge.quota.limit();
    if charge.cost > limit {
        return Some(Duration::MAX);
    }
    let surplus = (log.len() + charge.cost)
        .checked_sub(limit)
        .filter(|surplus| *surplus > 0)?;
    Some(leaves_in(log, surplus - 1, now, charge.quota))
}

fn tier(log: &Log, now: Micros, quota: Quota, retry: Option<Duration>) -> Tier {
    let limit = quota.limit();
    let reset = if log.len() == 0 {
        Duration::ZERO
    } else {
        // Above the limit only after the quota was lowered.
        leaves_in(log, log.len().saturating_sub(limit), now, quota)
    };
    Tier {
        remaining: limit.saturating_sub(log.len()),
        reset,
        retry,
    }
}

/// How long until the unit at `index` leaves the window.
fn leaves_in(log: &Log, index: u32, now: Micros, quota: Quota) -> Duration {
    Duration::from_micros(log.stamp(index) + quota.window_micros() - now)
}
