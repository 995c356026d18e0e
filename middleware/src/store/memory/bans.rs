//! The bans of one process.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::log::Micros;
use super::{MemoryStore, lock};
use crate::model::PartitionKey;
use crate::suspicion::store::{Evidence, LocalBanStore};
use crate::suspicion::{Ban, BanReason, Sentence, Subject, micros};

/// Who is banned, or has remembered offences: at most [`Bans::MOST`], at most 350 bytes each.
///
/// A new one in a full table takes the place of the one whose ban ended first, or else ends first.
#[derive(Debug, Default)]
pub(super) struct Bans {
    /// How many are held, so that nobody waits for a lock while there are none.
    held: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    subjects: HashMap<Subject, Held>,
    /// The same ones, those first whose ban ends first.
    by_end: BTreeSet<(Micros, Subject)>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    since: Micros,
    ends: Micros,
    strikes: u16,
    reason: BanReason,
}

impl Bans {
    /// As many as suspects of a kind.
    const MOST: usize = 100_000;
    const FORGET_AFTER: Micros = Sentence::FORGET_AFTER.as_micros() as Micros;

    /// Bans by hand.
    fn impose(
        &self,
        clock: impl Fn() -> Micros,
        subject: &Subject,
        length: Duration,
    ) -> (Held, Micros) {
        let mut table = lock(&self.table);
        // Read with the lock held, so that the bans of one subject see the times in their order.
        let now = clock();
        let held = table.impose(now, subject, BanReason::Manual, 0, |_| length);
        self.held.store(table.subjects.len(), Ordering::Release);
        (held, now)
    }

    /// Bans who is not banned, if this is an offence, by when it comes and when the last ban ended.
    fn convict(
        &self,
        clock: impl Fn() -> Micros,
        subject: &Subject,
        reason: BanReason,
        is_offence: impl FnOnce(Micros, Micros) -> bool,
        length: impl Fn(u32) -> Duration,
    ) -> Option<(Held, Micros)> {
        let mut table = lock(&self.table);
        let now = clock();
        let ended = table.get(subject, now).map_or(0, |held| held.ends);
        if ended > now || !is_offence(now, ended) {
            return None;
        }
        let held = table.impose(now, subject, reason, 1, length);
        self.held.store(table.subjects.len(), Ordering::Release);
        Some((held, now))
    }

    fn lift(&self, clock: impl Fn() -> Micros, subject: &Subject) -> bool {
        if self.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut table = lock(&self.table);
        let lifted = table.take(subject);
        self.held.store(table.subjects.len(), Ordering::Release);
        lifted.is_some_and(|held| held.ends > clock())
    }

    fn check(&self, clock: impl Fn() -> Micros, subject: &Subject) -> Option<Duration> {
        if self.held.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut table = lock(&self.table);
        let now = clock();
        let left = table.get(subject, now)?.ends.checked_sub(now);
        let left = left.filter(|left| *left > 0)?;
        Some(Duration::from_micros(left))
    }

    fn list(&self, clock: impl Fn() -> Micros, limit: usize) -> (Vec<(Subject, Held)>, Micros) {
        let table = lock(&self.table);
        let now = clock();
        let last = table.by_end.iter().rev();
        let bans = last
            .take_while(|(ends, _)| *ends > now)
            .filter_map(|(_, subject)| Some((subject.clone(), *table.subjects.get(subject)?)))
            .take(limit);
        (bans.collect(), now)
    }
}

impl Table {
    /// What is held of a subject. A ban from the future was left by a clock that stepped back: it begins anew, so that it never
    /// lasts for longer than it was imposed for.
    fn get(&mut self, subject: &Subject, now: Micros) -> Option<Held> {
        let held = *self.subjects.get(subject)?;
        if held.since <= now {
            return Some(held);
        }
        let ends = now.saturating_add(held.ends.saturating_sub(held.since));
        let held = Held {
            since: now,
            ends,
            ..held
        };
        self.put(subject, held);
        Some(held)
    }

    fn impose(
        &mut self,
        now: Micros,
        subject: &Subject,
        reason: BanReason,
        strike: u16,
        length: impl Fn(u32) -> Duration,
    ) -> Held {
        let known = self.get(subject, now);
        let known = known.filter(|known| now < known.ends.saturating_add(Bans::FORGET_AFTER));
        let (since, ended, strikes) = match known {
            Some(known) if known.ends > now => (known.since, known.ends, known.strikes),
            Some(known) => (now, known.ends, known.strikes),
            None => (now, 0, 0),
        };
        let strikes = strikes.saturating_add(strike);
        let ends = now.saturating_add(micros(length(strikes.into())));
        let held = match known {
            Some(known) if ended >= ends => Held { strikes, ..known },
            _ => Held {
                since,
                ends,
                strikes,
                reason,
            },
        };
        self.make_room(subject, now);
        self.put(subject, held);
        held
    }

    /// Forgets up to two whose offences no longer count, and one more if the table would overflow.
    fn make_room(&mut self, subject: &Subject, now: Micros) {
        for _ in 0..2 {
            match self.by_end.first().cloned() {
                Some((ends, first)) if ends.saturating_add(Bans::FORGET_AFTER) <= now => {
                    self.take(&first);
                }
                _ => break,
            }
        }
        if self.subjects.len() >= Bans::MOST
            && !self.subjects.contains_key(subject)
            && let Some((_, first)) = self.by_end.first().cloned()
        {
            self.take(&first);
        }
    }

    fn put(&mut self, subject: &Subject, held: Held) {
        self.take(subject);
        self.subjects.insert(subject.clone(), held);
        self.by_end.insert((held.ends, subject.clone()));
    }

    fn take(&mut self, subject: &Subject) -> Option<Held> {
        let held = self.subjects.remove(subject)?;
        self.by_end.remove(&(held.ends, subject.clone()));
        Some(held)
    }
}

impl MemoryStore {
    fn micros(&self) -> Micros {
        self.0.clock.now().as_micros() as Micros
    }
}

/// A ban with the times of the wall's clock, where `now` is that moment on the store's.
fn told(subject: Subject, held: Held, now: Micros) -> Ban {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let wall = wall.unwrap_or_default();
    let lasted = Duration::from_micros(now.saturating_sub(held.since));
    let left = held.ends.saturating_sub(now.max(held.since));
    let left = Duration::from_micros(left);
    let since = wall.saturating_sub(lasted);
    let until = wall.saturating_add(left);
    Ban::new(
        subject,
        held.reason,
        held.strikes.into(),
        [since, until, left],
    )
}

impl LocalBanStore for MemoryStore {
    fn convict_now(&self, evidence: &[Evidence], sentence: &Sentence, roll: u32) -> Vec<Ban> {
        let length = |offence| sentence.length(offence, roll);
        let convict = |piece: &Evidence| {
            let key = PartitionKey::from(piece.subject.clone());
            let window = piece.threshold.window_micros();
            let table = self.things(piece.kind, piece.threshold);
            let hash = table.hash(&key);
            let mut shard = table.shard(hash);
            // Nobody else holds both locks, so their order cannot be another.
            let is_offence = |now, ended| {
                let slot = match shard.find(hash, &key) {
                    Some(slot) => slot,
                    None => shard.insert(table.hasher(), hash, &key, now, window),
                };
                let things = shard.entry_mut(slot);
                let is_offence = things.is_offence(now, ended, piece.threshold, piece.thing);
                shard.used(slot, false);
                is_offence
            };
            let (reason, bans) = (BanReason::Incident(piece.kind), &self.0.bans);
            let (held, now) =
                bans.convict(|| self.micros(), &piece.subject, reason, is_offence, length)?;
            Some(told(piece.subject.clone(), held, now))
        };
        evidence.iter().filter_map(convict).collect()
    }

    fn impose_for_now(&self, subject: &Subject, length: Duration) -> Ban {
        let length = length.clamp(Ban::SHORTEST, Ban::LONGEST);
        let (held, now) = self.0.bans.impose(|| self.micros(), subject, length);
        told(subject.clone(), held, now)
    }

    fn lift_now(&self, subject: &Subject) -> bool {
        let lifted = self.0.bans.lift(|| self.micros(), subject);
        let key = PartitionKey::from(subject.clone());
        let tables = lock(&self.0.things).clone();
        for table in tables {
            let hash = table.hash(&key);
            let mut shard = table.shard(hash);
            if let Some(slot) = shard.find(hash, &key) {
                shard.forget(table.hasher(), slot);
            }
        }
        lifted
    }

    fn banned_for_now(&self, subject: &Subject) -> Option<Duration> {
        self.0.bans.check(|| self.micros(), subject)
    }

    fn list_now(&self, limit: usize) -> Vec<Ban> {
        let (bans, now) = self.0.bans.list(|| self.micros(), limit);
        bans.into_iter()
            .map(|(subject, held)| told(subject, held, now))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;
    use crate::store::memory::Hand;

    fn client(n: u32) -> Subject {
        Network::of(std::net::Ipv4Addr::from_bits(n).into(), 64).into()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_table_forgets_who_was_banned_first_to_end() {
        let hand = Hand::default();
        let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        let most = Bans::MOST as u32;
        for n in 0..most {
            store.impose_for_now(&client(n), seconds(u64::from(n) + 10));
        }
        hand.advance(seconds(12));
        let held = || lock(&store.0.bans.table).subjects.len();
        assert_eq!(held(), Bans::MOST);
        // The first three have ended, and go before anybody who is still banned.
        for n in 0..3 {
            store.impose_for_now(&client(most + n), seconds(1_000_000));
        }
        assert!((3..most + 3).all(|n| store.banned_for_now(&client(n)).is_some()));
        store.impose_for_now(&client(most + 3), seconds(1_000_000));
        assert_eq!(store.banned_for_now(&client(3)), None);
        assert!(store.banned_for_now(&client(4)).is_some());
        assert_eq!(held(), Bans::MOST);
        assert_eq!(lock(&store.0.bans.table).by_end.len(), Bans::MOST);
    }

    #[test]
    fn clients_whose_offences_no_longer_count_are_let_go() {
        let hand = Hand::default();
        let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        for n in 0..10 {
            store.impose_for_now(&client(n), seconds(10));
        }
        hand.advance(seconds(10) + Sentence::FORGET_AFTER);
        for n in 10..20 {
            store.impose_for_now(&client(n), seconds(10));
        }
        assert_eq!(lock(&store.0.bans.table).subjects.len(), 10);
    }

    #[test]
    fn the_list_has_the_bans_that_last_and_the_first_to_end_last() {
        let hand = Hand::default();
        let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        for (n, length) in [(1, 30), (2, 10), (3, 20)] {
            store.impose_for_now(&client(n), seconds(length));
        }
        hand.advance(seconds(10));
        let listed = |limit| {
            let bans = store.list_now(limit).into_iter();
            bans.map(|ban| ban.subject).collect::<Vec<_>>()
        };
        assert_eq!(listed(9), [client(1), client(3)]);
        assert_eq!(listed(1), [client(1)]);
    }
}
