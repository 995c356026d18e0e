//! Denials that need no second question.
//!
//! **Why it is right.** At its moment of decision `d` the store said: cost `c` cannot fit before `d + r`. Between
//! `d` and `d + r` the log can only gain cost, and none of the stamps that must leave has left; so nothing of cost
//! `c` or more fits before `d + r`, under that quota. The call was sent at `s <= d`, and this process knows `s`
//! exactly, so an entry that ends at `s + r` ends no later than the store would admit. It may end earlier, by the
//! time the call was under way; the store is then asked again.
//!
//! **The one exception.** When the log is lost meanwhile (a flush, a failover to a replica that lacks the last
//! writes, a forward step of the server's clock, which ages the log at once), the store would admit what an
//! entry still denies. So an entry is believed for a second; then one request asks the store, while the others are denied
//! for another second, and what the store says takes the entry's place. A log that an operator has cleared is therefore
//! clear in every process within a second. A flood of denied requests costs a call a second for each of its keys.

use std::time::Duration;

use super::headers::Room;
use super::store::Tier;
use crate::model::{PartitionKey, Quota};
use crate::sync::cache::{Cache, put};

/// Denials by (policy, key), each good for one quota and for its cost or a higher one.
#[derive(Debug)]
pub(super) struct DenyCache(Cache<Entry>);

/// How long a denial is believed before one request asks the store again.
const BELIEVED: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    policy: usize,
    key: PartitionKey,
    quota: Quota,
    cost: u32,
    remaining: u32,
    /// Until when no more than `remaining` fits.
    holds: Duration,
    ends: Duration,
    /// Until when it needs no question.
    believed: Duration,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// No denial.
    Nothing,
    /// A denial that still stands.
    Denied(Denied),
    /// One that still stands, but it is this request's turn to ask.
    Due,
}

/// A denial that still stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Denied {
    /// The rest that the store named; its `reset` is zero, unknown, once more may have become available, which
    /// happens before the end only for a cost above 1.
    pub(super) room: Room,
    /// How long the denial stands.
    pub(super) retry: Duration,
}

impl DenyCache {
    /// A cache of at least `capacity` entries, or `None` for 0.
    pub(super) fn new(capacity: usize) -> Option<Self> {
        (capacity > 0).then(|| Self(Cache::new(capacity)))
    }

    /// Whether a known denial covers this cost at `now`, a time since the layer's start. Without `may_ask` (the store is known
    /// to fail) it is believed to its end.
    pub(super) fn get(
        &self,
        policy: usize,
        key: &PartitionKey,
        quota: Quota,
        cost: u32,
        now: Duration,
        may_ask: bool,
    ) -> Known {
        let mut set = self.0.set((policy, key));
        let Some(entry) = set.iter_mut().find(|entry| entry.is_of(policy, key)) else {
            return Known::Nothing;
        };
        // At exactly `ends` the slot is free.
        if entry.quota != quota || cost < entry.cost || now >= entry.ends {
            return Known::Nothing;
        }
        if may_ask && now >= entry.believed {
            entry.believed = now + BELIEVED;
            return Known::Due;
        }
        Known::Denied(Denied {
            room: Room {
                remaining: entry.remaining,
                reset: entry.holds.saturating_sub(now),
            },
            retry: entry.ends - now,
        })
    }

    /// Forgets what is known of a key.
    pub(super) fn remove(&self, policy: usize, key: &PartitionKey) {
        let mut set = self.0.set((policy, key));
        set.retain(|entry| !entry.is_of(policy, key));
    }

    /// Remembers the store's answer to a call that was sent at `sent`, if it was a denial.
    pub(super) fn insert(
        &self,
        policy: usize,
        key: &PartitionKey,
        quota: Quota,
        cost: u32,
        tier: &Tier,
        sent: Duration,
    ) {
        // A cost above the limit never fits; it is the store's to say so each time.
        let Some(ends) = tier.retry.and_then(|retry| sent.checked_add(retry)) else {
            return;
        };
        let (remaining, holds) = (tier.remaining, sent + tier.reset);
        let entry = Entry {
            policy,
            key: key.clone(),
            quota,
            cost,
            remaining,
            holds,
            ends,
            believed: sent + BELIEVED,
        };
        put(
            &mut self.0.set((policy, key)),
            entry,
            |old| old.is_of(policy, key),
            |old| old.ends,
        );
    }
}

impl Entry {
    fn is_of(&self, policy: usize, key: &PartitionKey) -> bool {
        self.policy == policy && self.key == *key
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::model::Network;

    /// The store of the model: the times of all admitted units.
    #[derive(Default)]
    struct Reference(Vec<u64>);

    impl Reference {
        /// Decides at `now`; a denial names the remaining quota and the wait.
        fn decide(&mut self, now: u64, quota: Quota, cost: u32) -> Result<(), (u32, u64)> {
            let window = quota.window_micros();
            let mut live: Vec<u64> = self
                .0
                .iter()
                .copied()
                .filter(|at| now - at < window)
                .collect();
            live.sort_unstable();
            let (held, limit) = (live.len() as u32, quota.limit());
            if held + cost <= limit {
                self.0.extend(std::iter::repeat_n(now, cost as usize));
                return Ok(());
            }
            let wait = if cost > limit {
                u64::MAX
            } else {
                live[(held + cost - limit) as usize - 1] + window - now
            };
            Err((limit.saturating_sub(held), wait))
        }

        fn would_admit(&self, now: u64, quota: Quota, cost: u32) -> bool {
            let held = self
                .0
                .iter()
                .filter(|at| now - **at < quota.window_micros())
                .count() as u32;
            held + cost <= quota.limit()
        }
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// Two keys, two policies, changing costs and quotas, and calls that take their time both ways.
    #[test]
    fn never_denies_what_the_log_would_admit() {
        let pause = (0_u64..400_000, 0_u64..30_000, 0_u64..30_000);
        let step = (pause, 0_u8..2, 0_usize..2, 1_u32..8, 0_usize..3);
        let quotas = [(5, 1_000), (3, 1_000), (5, 1_500)]
            .map(|(limit, millis)| Quota::new(limit, Duration::from_millis(millis)).unwrap());
        let (hits, asked) = (Cell::new(0), Cell::new(0));
        type Step = ((u64, u64, u64), u8, usize, u32, usize);
        let run = |steps: Vec<Step>| {
            let cache = DenyCache::new(64).unwrap();
            let mut logs: [[Reference; 2]; 2] = Default::default();
            // When each key was last asked about.
            let mut told = HashMap::new();
            let mut now = 0;
            for ((pause, there, back), octet, policy, cost, quota) in steps {
                now += pause;
                let quota = quotas[quota];
                let log: &mut Reference = &mut logs[policy][octet as usize];
                match cache.get(policy, &key(octet), quota, cost, micros(now), true) {
                    Known::Denied(denied) => {
                        hits.set(hits.get() + 1);
                        prop_assert!(!log.would_admit(now, quota, cost));
                        prop_assert!(denied.retry > Duration::ZERO);
                        // Nothing that was cleared is denied for longer than a second.
                        let said = told.get(&(policy, octet)).copied().unwrap_or_default();
                        prop_assert!(micros(now - said) < BELIEVED);
                        continue;
                    }
                    Known::Due => asked.set(asked.get() + 1),
                    Known::Nothing => {}
                }
                told.insert((policy, octet), now);
                let sent = now;
                now += there;
                if let Err((remaining, wait)) = log.decide(now, quota, cost) {
                    let wait = if wait == u64::MAX {
                        Duration::MAX
                    } else {
                        micros(wait)
                    };
                    now += back;
                    cache.insert(
                        policy,
                        &key(octet),
                        quota,
                        cost,
                        &denied(remaining, micros(1), wait),
                        micros(sent),
                    );
                }
            }
            Ok(())
        };
        let mut runner = TestRunner::new(ProptestConfig::with_cases(2_000));
        runner
            .run(&prop::collection::vec(step, 1..150), run)
            .unwrap();
        let (hits, asked) = (hits.get(), asked.get());
        assert!(
            hits > 2_000 && asked > 20,
            "{hits} hits, {asked} asked again"
        );
    }

    fn denied(remaining: u32, reset: Duration, retry: Duration) -> Tier {
        Tier {
            remaining,
            reset,
            retry: Some(retry),
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(octet: u8) -> PartitionKey {
        Network::of([192, 0, 2, octet].into(), 64).into()
    }

    /// The denial that is known of a key, if it needs no question.
    fn look(
        cache: &DenyCache,
        policy: usize,
        octet: u8,
        quota: Quota,
        cost: u32,
        now: Duration,
    ) -> Option<Denied> {
        match cache.get(policy, &key(octet), quota, cost, now, true) {
            Known::Denied(denied) => Some(denied),
            Known::Nothing | Known::Due => None,
        }
    }

    #[test]
    fn after_a_second_one_request_asks_again_and_the_others_are_denied_meanwhile() {
        let (cache, quota) = (DenyCache::new(8).unwrap(), Quota::new(5, MINUTE).unwrap());
        let tier = denied(0, MINUTE, MINUTE);
        cache.insert(0, &key(1), quota, 1, &tier, Duration::ZERO);
        let at = |millis, may_ask| {
            let now = Duration::from_millis(millis);
            cache.get(0, &key(1), quota, 1, now, may_ask)
        };
        assert!(matches!(at(999, true), Known::Denied(_)));
        // While the store is known to fail, nobody asks in vain.
        assert!(matches!(at(1_000, false), Known::Denied(_)));
        assert!(matches!(at(1_000, true), Known::Due));
        assert!(matches!(at(1_001, true), Known::Denied(_)));
        // The one that asked went away: a second later the next one does.
        assert!(matches!(at(1_999, true), Known::Denied(_)));
        assert!(matches!(at(2_000, true), Known::Due));
        cache.remove(0, &key(1));
        assert!(matches!(at(2_001, true), Known::Nothing));
    }

    #[test]
    fn denies_until_the_moment_the_slot_frees_and_not_beyond() {
        let (cache, quota) = (DenyCache::new(8).unwrap(), Quota::new(5, MINUTE).unwrap());
        cache.insert(
            0,
            &key(1),
            quota,
            2,
            &denied(1, micros(30), micros(50)),
            micros(100),
        );
        let found = look(&cache, 0, 1, quota, 2, micros(120)).unwrap();
        assert_eq!((found.room.remaining, found.room.reset), (1, micros(10)));
        assert_eq!(found.retry, micros(30));
        // A second unit may be free by now, but not yet two.
        let found = look(&cache, 0, 1, quota, 2, micros(149)).unwrap();
        assert_eq!((found.room.reset, found.retry), (Duration::ZERO, micros(1)));
        assert!(look(&cache, 0, 1, quota, 2, micros(150)).is_none());
    }

    #[test]
    fn denies_only_the_same_policy_key_and_quota_at_the_same_or_a_higher_cost() {
        let (cache, quota) = (DenyCache::new(8).unwrap(), Quota::new(5, MINUTE).unwrap());
        cache.insert(
            0,
            &key(1),
            quota,
            2,
            &denied(1, MINUTE, MINUTE),
            Duration::ZERO,
        );
        assert!(look(&cache, 0, 1, quota, 2, micros(1)).is_some());
        assert!(look(&cache, 0, 1, quota, 3, micros(1)).is_some());
        assert!(look(&cache, 0, 1, quota, 1, micros(1)).is_none());
        assert!(look(&cache, 1, 1, quota, 2, micros(1)).is_none());
        assert!(look(&cache, 0, 2, quota, 2, micros(1)).is_none());
        let raised = Quota::new(6, MINUTE).unwrap();
        assert!(look(&cache, 0, 1, raised, 2, micros(1)).is_none());
    }

    #[test]
    fn stays_within_its_capacity_and_forgets_what_ends_first() {
        let (cache, quota) = (DenyCache::new(8).unwrap(), Quota::new(5, MINUTE).unwrap());
        for octet in 0..9 {
            let wait = micros(u64::from(octet) + 10);
            cache.insert(
                0,
                &key(octet),
                quota,
                1,
                &denied(0, wait, wait),
                Duration::ZERO,
            );
        }
        assert!(look(&cache, 0, 0, quota, 1, Duration::ZERO).is_none());
        assert!((1..9).all(|octet| { look(&cache, 0, octet, quota, 1, Duration::ZERO).is_some() }));
        assert!(DenyCache::new(0).is_none());
    }
}
