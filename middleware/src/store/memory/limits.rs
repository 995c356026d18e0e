//! The port of the limits: a request is decided with every charge under its shard's lock.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::clock::Clock;
use super::log::{Log, Micros};
use super::shard::Shard;
use super::table::Table;
use crate::model::{PartitionKey, Quota};
use crate::rate_limit::store::{Admit, AdmitNow, Barred, Charge, Reply, Tier, Verdict};

/// The store, for the policies of one layer.
pub(super) struct Bound {
    clock: Arc<dyn Clock>,
    tables: Vec<Arc<Table<Log>>>,
    /// Whether the policies stand in the order of their tables, so that charges can be locked as they come.
    in_order: bool,
}

/// One charge under its shard's lock.
struct Held<'a> {
    /// The charge's place in the request.
    place: usize,
    charge: &'a Charge<'a>,
    table: &'a Table<Log>,
    shard: MutexGuard<'a, Shard<Log>>,
    hash: u64,
    slot: Option<u32>,
    retry: Option<Duration>,
}

impl Bound {
    pub(super) fn new(clock: Arc<dyn Clock>, tables: Vec<Arc<Table<Log>>>) -> Self {
        let in_order = tables.is_sorted_by(|a, b| a.ordinal() < b.ordinal());
        Self {
            clock,
            tables,
            in_order,
        }
    }

    /// Locks the shards of all charges.
    ///
    /// Every table has shards of its own, and all requests of all binds lock in the order of the tables, so that none
    /// waits for another in a circle.
    fn hold<'a>(&'a self, charges: &'a [Charge<'a>]) -> SmallVec<[Held<'a>; 2]> {
        let hold = |place: usize| {
            let charge = &charges[place];
            let table = &*self.tables[charge.policy];
            let hash = table.hash(charge.key);
            let shard = table.shard(hash);
            let slot = shard.find(hash, charge.key);
            Held {
                place,
                charge,
                table,
                shard,
                hash,
                slot,
                retry: None,
            }
        };
        if self.in_order {
            return (0..charges.len()).map(hold).collect();
        }
        let mut places: SmallVec<[usize; 8]> = (0..charges.len()).collect();
        places.sort_unstable_by_key(|place| self.tables[charges[*place].policy].ordinal());
        places.into_iter().map(hold).collect()
    }
}

impl Admit for Bound {
    fn admit(&self, charges: &[Charge<'_>]) -> Reply<Verdict> {
        Reply::Ready(Ok(self.admit_now(charges)))
    }

    fn forget(&self, key: &PartitionKey) -> Reply<bool> {
        let policies = 0..self.tables.len();
        let forgotten = policies.filter(|policy| self.forget_now(*policy, key));
        Reply::Ready(Ok(forgotten.count() > 0))
    }
}

impl AdmitNow for Bound {
    fn forget_now(&self, policy: usize, key: &PartitionKey) -> bool {
        let table = &*self.tables[policy];
        let hash = table.hash(key);
        let mut shard = table.shard(hash);
        let slot = shard.find(hash, key);
        if let Some(slot) = slot {
            shard.forget(table.hasher(), slot);
        }
        slot.is_some()
    }

    fn admit_now(&self, charges: &[Charge<'_>]) -> Verdict {
        let mut held = self.hold(charges);
        // Read with every lock held: two requests for one key see the times in the order of the decisions.
        let now = self.clock.now().as_micros() as Micros;

        let mut admitted = true;
        for held in &mut held {
            held.evaluate(now);
            admitted &= held.retry.is_none() || !held.charge.enforced;
        }
        let untouched = Tier {
            remaining: 0,
            reset: Duration::ZERO,
            retry: None,
        };
        let mut tiers = smallvec![untouched; charges.len()];
        for held in &mut held {
            if admitted && held.retry.is_none() {
                held.charge(now);
            }
            tiers[held.place] = held.tier(now);
        }
        Verdict {
            admitted,
            banned: Barred::default(),
            tiers,
        }
    }
}

impl Held<'_> {
    fn log(&mut self) -> Option<&mut Log> {
        self.slot.map(|slot| self.shard.entry_mut(slot))
    }

    fn evaluate(&mut self, now: Micros) {
        let charge = self.charge;
        self.retry = match self.log() {
            None => retry(&Log::default(), now, charge),
            Some(log) => {
                let now = now.max(log.newest());
                log.expire(now, charge.quota.window_micros());
                retry(log, now, charge)
            }
        };
    }

    fn charge(&mut self, now: Micros) {
        let Charge {
            quota, cost, key, ..
        } = *self.charge;
        let (limit, window) = (quota.limit(), quota.window_micros());
        let slot = self.slot.unwrap_or_else(|| {
            self.shard
                .insert(self.table.hasher(), self.hash, key, now, window)
        });
        self.slot = Some(slot);
        let log = self.shard.entry_mut(slot);
        // The newest stamp of an empty log means nothing.
        let now = if log.len() == 0 {
            now
        } else {
            now.max(log.newest())
        };
        log.push(now, cost, limit);
        let at_limit = log.len() + cost > limit;
        self.shard.used(slot, at_limit);
    }

    fn tier(&mut self, now: Micros) -> Tier {
        let (quota, retry) = (self.charge.quota, self.retry);
        match self.log() {
            None => Tier {
                remaining: quota.limit(),
                reset: Duration::ZERO,
                retry,
            },
            Some(log) => tier(log, now.max(log.newest()), quota, retry),
        }
    }
}

/// How long until the charge can fit, or `None` where it fits now.
fn retry(log: &Log, now: Micros, charge: &Charge<'_>) -> Option<Duration> {
    let limit = charge.quota.limit();
    if charge.cost > charge.quota.highest_cost() {
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
