//! The reaches that need not be brought to the store again, remembered by this process.
//!
//! It is no `sync::Cache`, which may forget any entry: the latest half of the visitors is remembered for certain.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Who;
use crate::funnel::store::Progress;

/// How far the latest visitors of this process came.
///
/// It only saves calls: a visitor who was forgotten costs the store one more call for each stage, which changes nothing.
pub(super) struct Seen {
    shards: Box<[Mutex<Generations>]>,
    hasher: RandomState,
    start: Instant,
}

/// When a call to the store was sent, and when its answer was there.
pub(super) struct Call {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
}

/// Two halves: when the younger is full, the older is forgotten as a whole.
#[derive(Default)]
struct Generations {
    young: HashMap<Who, Known>,
    old: HashMap<Who, Known>,
}

/// Times are microseconds since the start.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// When the visitor's window ends.
    until: u64,
    /// The latest moment that the store may have given to a reach of the visitor.
    dated: u64,
    /// How many stages were counted in it: those below.
    counted: u8,
    /// Which other stages were tried since `tried_since`, one bit for each.
    tried: u16,
    tried_since: u64,
}

impl Seen {
    /// At most 65,536 visitors, in less than 16 MB.
    const SHARDS: usize = 16;
    const HALF: usize = 2_048;
    /// How long a reach that was brought to the store without being known to count is not brought again.
    const RETRY: u64 = 1_000_000;

    pub(super) fn new(start: Instant) -> Self {
        Self {
            shards: (0..Self::SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            start,
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_micros() as u64
    }

    fn with<T>(&self, who: &Who, act: impl FnOnce(&mut Known) -> T) -> T {
        let shard = self.hasher.hash_one(who) as usize % self.shards.len();
        let mut generations = self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = generations.young.get_mut(who) {
            return act(known);
        }
        if generations.young.len() >= Self::HALF {
            generations.old = std::mem::take(&mut generations.young);
        }
        let mut known = generations.old.remove(who).unwrap_or_default();
        let result = act(&mut known);
        generations.young.insert(who.clone(), known);
        result
    }

    /// Whether a reach is to be brought to the store: its stage is not known to be counted, and was not tried within
    /// the last second, unless the stage before it was reached since.
    ///
    /// Stage k is so tried at most k+1 times a second, however often it is reached.
    pub(super) fn is_news(&self, who: &Who, stage: u8, now: Instant) -> bool {
        let now = self.micros(now);
        self.with(who, |known| {
            if now >= known.until {
                known.counted = 0;
            }
            if stage < known.counted {
                return false;
            }
            if now - known.tried_since.min(now) >= Self::RETRY {
                known.tried = 0;
                known.tried_since = now;
            }
            let bit = 1_u16 << stage;
            if known.tried & bit != 0 {
                return false;
            }
            known.tried = (known.tried | bit) & !(bit << 1);
            true
        })
    }

    /// The moment of a reach: as it happened, but after all earlier reaches of the visitor that the store has.
    ///
    /// A store dates a reach by its age when the call was sent, and so late by the call's way. Without this a visitor in
    /// haste whose first call took long would be dated as having come to the second stage before the first.
    pub(super) fn date(&self, who: &Who, at: Instant) -> Instant {
        let dated = self.with(who, |known| known.dated);
        at.max(self.start + Duration::from_micros(dated))
    }

    /// The store, asked at `asked` about a reach dated `at`, answered at `answered`.
    pub(super) fn learn(&self, who: &Who, progress: &Progress, at: Instant, call: &Call) {
        let until = self.micros(call.asked) + progress.left.as_micros() as u64;
        let way = call.answered.saturating_duration_since(call.asked);
        let dated = self.micros(at + way) + 1;
        self.with(who, |known| {
            known.counted = progress.counted();
            known.until = until;
            known.dated = known.dated.max(dated);
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap());
        shards
            .map(|generations| generations.young.len() + generations.old.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::Network;

    fn who(n: u32) -> Who {
        Who::Anonymous(Network::of(Ipv4Addr::from_bits(n).into(), 64))
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_counted_stage_is_no_news_until_the_window_ends() {
        let start = Instant::now();
        let seen = Seen::new(start);
        assert!(seen.is_news(&who(1), 0, start));
        learn(&seen, start, ms(5), ms(9));
        for stage in [0, 1] {
            assert!(!seen.is_news(&who(1), stage, start + ms(60_004)));
        }
        assert!(seen.is_news(&who(1), 2, start + ms(60_004)));
        assert!(
            seen.is_news(&who(2), 0, start + ms(60_004)),
            "another visitor"
        );
        assert!(seen.is_news(&who(1), 0, start + ms(60_005)));
    }

    /// The store tells of two counted stages and a minute left.
    fn learn(seen: &Seen, at: Instant, asked: Duration, answered: Duration) {
        let progress = Progress {
            before: 2,
            left: ms(60_000),
            ..Progress::default()
        };
        let call = Call {
            asked: at + asked,
            answered: at + answered,
        };
        seen.learn(&who(1), &progress, at, &call);
    }

    #[test]
    fn a_reach_is_dated_after_what_the_store_was_told_before() {
        let start = Instant::now();
        let seen = Seen::new(start);
        learn(&seen, start, ms(5), ms(45));
        let dated = seen.date(&who(1), start + ms(2));
        assert!(dated > start + ms(40) && dated < start + ms(41));
        assert_eq!(seen.date(&who(1), start + ms(50)), start + ms(50));
        assert_eq!(seen.date(&who(2), start + ms(2)), start + ms(2));
    }

    #[test]
    fn what_did_not_count_is_tried_once_a_second() {
        let start = Instant::now();
        let seen = Seen::new(start);
        let tries = (0..10_000).filter(|now| seen.is_news(&who(1), 3, start + ms(*now)));
        assert_eq!(tries.count(), 10);
    }

    #[test]
    fn a_reach_of_the_stage_before_is_a_reason_to_try_again_at_once() {
        let start = Instant::now();
        let seen = Seen::new(start);
        for (stage, news) in [
            (2, true),
            (1, true),
            (0, true),
            (2, true),
            (1, true),
            (2, true),
            (2, false),
            (1, false),
            (0, false),
        ] {
            assert_eq!(seen.is_news(&who(1), stage, start), news, "stage {stage}");
        }
    }

    #[test]
    fn a_hostile_walk_is_tried_a_few_times_a_second() {
        let start = Instant::now();
        let seen = Seen::new(start);
        let mut tries = 0;
        for n in 0..100_000_u64 {
            let stage = (n * n / 3 % 4) as u8;
            tries += u32::from(seen.is_news(&who(1), stage, start + ms(n / 100)));
        }
        assert!(tries <= 10, "{tries} = 1 + 2 + 3 + 4 at most");
    }

    #[test]
    fn a_flood_of_visitors_stays_bounded_and_the_latest_are_known() {
        let start = Instant::now();
        let seen = Seen::new(start);
        for n in 0..300_000 {
            assert!(seen.is_news(&who(n), 0, start));
        }
        assert!(seen.len() <= 65_536, "{}", seen.len());
        assert!(!seen.is_news(&who(299_999), 0, start));
    }
}
