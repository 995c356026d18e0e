//! The bans of one process.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::log::Micros;
use super::{MemoryStore, lock};
use crate::model::Network;
use crate::suspicion::store::LocalBanStore;
use crate::suspicion::{Ban, BanReason, IncidentKind, Sentence, micros};

/// Banned clients, and clients with remembered offences: at most [`Bans::MOST`] clients, at most 250 bytes each.
///
/// A new client in a full table takes the place of the one whose ban ended first, or else ends first.
#[derive(Debug, Default)]
pub(super) struct Bans {
    /// How many clients are held, so that nobody waits for a lock while there are none.
    held: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<Network, Held>,
    /// The same clients, those first whose ban ends first.
    by_end: BTreeSet<(Micros, Network)>,
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

    fn impose(
        &self,
        clock: impl Fn() -> Micros,
        client: Network,
        reason: BanReason,
        strike: bool,
        length: impl Fn(u32) -> Duration,
    ) -> (Held, Micros) {
        let mut table = lock(&self.table);
        // Read with the lock held, so that the bans of one client see the times in their order.
        let now = clock();
        let known = table.clients.get(&client).copied();
        let known = known.filter(|known| now < known.ends.saturating_add(Self::FORGET_AFTER));
        let (since, ended, strikes) = match known {
            Some(known) if known.ends > now => (known.since, known.ends, known.strikes),
            Some(known) => (now, known.ends, known.strikes),
            None => (now, 0, 0),
        };
        let strikes = strikes.saturating_add(u16::from(strike));
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
        table.make_room(client, now);
        table.put(client, held);
        self.held.store(table.clients.len(), Ordering::Release);
        (held, now)
    }

    fn lift(&self, clock: impl Fn() -> Micros, client: Network) -> bool {
        if self.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut table = lock(&self.table);
        let lifted = table.take(client);
        self.held.store(table.clients.len(), Ordering::Release);
        lifted.is_some_and(|held| held.ends > clock())
    }

    fn check(&self, clock: impl Fn() -> Micros, client: Network) -> Option<Duration> {
        if self.held.load(Ordering::Acquire) == 0 {
            return None;
        }
        let ends = lock(&self.table).clients.get(&client)?.ends;
        let left = ends.checked_sub(clock()).filter(|left| *left > 0)?;
        Some(Duration::from_micros(left))
    }

    fn list(&self, clock: impl Fn() -> Micros, limit: usize) -> (Vec<(Network, Held)>, Micros) {
        let table = lock(&self.table);
        let now = clock();
        let last = table.by_end.iter().rev();
        let bans = last
            .take_while(|(ends, _)| *ends > now)
            .filter_map(|(_, client)| Some((*client, *table.clients.get(client)?)))
            .take(limit);
        (bans.collect(), now)
    }
}

impl Table {
    /// Forgets up to two clients whose offences no longer count, and one more if the table would overflow.
    fn make_room(&mut self, client: Network, now: Micros) {
        for _ in 0..2 {
            match self.by_end.first() {
                Some((ends, first)) if ends.saturating_add(Bans::FORGET_AFTER) <= now => {
                    self.take(*first);
                }
                _ => break,
            }
        }
        if self.clients.len() >= Bans::MOST
            && !self.clients.contains_key(&client)
            && let Some((_, first)) = self.by_end.first()
        {
            self.take(*first);
        }
    }

    fn put(&mut self, client: Network, held: Held) {
        self.take(client);
        self.clients.insert(client, held);
        self.by_end.insert((held.ends, client));
    }

    fn take(&mut self, client: Network) -> Option<Held> {
        let held = self.clients.remove(&client)?;
        self.by_end.remove(&(held.ends, client));
        Some(held)
    }
}

impl MemoryStore {
    fn micros(&self) -> Micros {
        self.0.clock.now().as_micros() as Micros
    }
}

/// A ban with the times of the wall's clock, where `now` is that moment on the store's.
fn told(client: Network, held: Held, now: Micros) -> Ban {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let wall = wall.unwrap_or_default();
    let lasted = Duration::from_micros(now.saturating_sub(held.since));
    let left = Duration::from_micros(held.ends.saturating_sub(now));
    let since = wall.saturating_sub(lasted);
    let until = wall.saturating_add(left);
    Ban::new(
        client,
        held.reason,
        held.strikes.into(),
        [since, until, left],
    )
}

impl LocalBanStore for MemoryStore {
    fn impose_now(
        &self,
        client: Network,
        kind: IncidentKind,
        sentence: &Sentence,
        roll: u32,
    ) -> Ban {
        let reason = BanReason::Incident(kind);
        let length = |offence| sentence.length(offence, roll);
        let bans = &self.0.bans;
        let (held, now) = bans.impose(|| self.micros(), client, reason, true, length);
        told(client, held, now)
    }

    fn impose_for_now(&self, client: Network, length: Duration) -> Ban {
        let length = |_| length.clamp(Ban::SHORTEST, Ban::LONGEST);
        let bans = &self.0.bans;
        let (held, now) = bans.impose(|| self.micros(), client, BanReason::Manual, false, length);
        told(client, held, now)
    }

    fn lift_now(&self, client: Network) -> bool {
        self.0.bans.lift(|| self.micros(), client)
    }

    fn banned_for_now(&self, client: Network) -> Option<Duration> {
        self.0.bans.check(|| self.micros(), client)
    }

    fn list_now(&self, limit: usize) -> Vec<Ban> {
        let (bans, now) = self.0.bans.list(|| self.micros(), limit);
        bans.into_iter()
            .map(|(client, held)| told(client, held, now))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Hand;

    fn client(n: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(n).into(), 64)
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
            store.impose_for_now(client(n), seconds(u64::from(n) + 10));
        }
        hand.advance(seconds(12));
        let held = || lock(&store.0.bans.table).clients.len();
        assert_eq!(held(), Bans::MOST);
        // The first three have ended, and go before anybody who is still banned.
        for n in 0..3 {
            store.impose_for_now(client(most + n), seconds(1_000_000));
        }
        assert!((3..most + 3).all(|n| store.banned_for_now(client(n)).is_some()));
        store.impose_for_now(client(most + 3), seconds(1_000_000));
        assert_eq!(store.banned_for_now(client(3)), None);
        assert!(store.banned_for_now(client(4)).is_some());
        assert_eq!(held(), Bans::MOST);
        assert_eq!(lock(&store.0.bans.table).by_end.len(), Bans::MOST);
    }

    #[test]
    fn clients_whose_offences_no_longer_count_are_let_go() {
        let hand = Hand::default();
        let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        for n in 0..10 {
            store.impose_for_now(client(n), seconds(10));
        }
        hand.advance(seconds(10) + Sentence::FORGET_AFTER);
        for n in 10..20 {
            store.impose_for_now(client(n), seconds(10));
        }
        assert_eq!(lock(&store.0.bans.table).clients.len(), 10);
    }

    #[test]
    fn the_list_has_the_bans_that_last_and_the_first_to_end_last() {
        let hand = Hand::default();
        let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        for (n, length) in [(1, 30), (2, 10), (3, 20)] {
            store.impose_for_now(client(n), seconds(length));
        }
        hand.advance(seconds(10));
        let listed = |limit| {
            let bans = store.list_now(limit).into_iter();
            bans.map(|ban| ban.client).collect::<Vec<_>>()
        };
        assert_eq!(listed(9), [client(1), client(3)]);
        assert_eq!(listed(1), [client(1)]);
    }
}
