//! Bans that need no second question.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Subject;
use crate::sync::cache::{Cache, put};

/// Who is banned. Each entry is good for a short time only, so that a ban that is lifted elsewhere ends here too.
///
/// One request asks the store about a stale ban. For a moment the stale ban still answers the others of a flood.
///
/// Times are since the layer's start.
#[derive(Debug)]
pub(super) struct BanCache {
    entries: Cache<Entry>,
    /// Whether a user was ever banned, so that nobody looks for one until then.
    users: AtomicBool,
}

/// How long a stale ban still stands while the store is asked.
pub(super) const GRACE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Entry {
    subject: Subject,
    /// The moment until which the store need not be asked again.
    fresh: Duration,
    ends: Duration,
    /// Whether it went stale and a request was sent to ask.
    asked: bool,
}

impl BanCache {
    /// A cache of at least `capacity` bans.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: Cache::new(capacity),
            users: AtomicBool::new(false),
        }
    }

    /// Whether a user was ever put here.
    pub(super) fn knows_users(&self) -> bool {
        self.users.load(Ordering::Acquire)
    }

    /// How long a ban still lasts, if that is known; otherwise the caller is to ask.
    pub(super) fn get(&self, subject: &Subject, now: Duration) -> Option<Duration> {
        let mut set = self.entries.set(subject);
        let entry = set.iter_mut().find(|entry| entry.subject == *subject)?;
        let left = entry.ends.checked_sub(now).filter(|left| !left.is_zero())?;
        let is_known = now < entry.fresh
            || (std::mem::replace(&mut entry.asked, true)
                && now < entry.fresh.saturating_add(GRACE));
        is_known.then_some(left)
    }

    /// Remembers a ban for a while. A known ban that ends later, or is good for longer, stays as it is.
    pub(super) fn insert(
        &self,
        subject: &Subject,
        left: Duration,
        good_for: Duration,
        now: Duration,
    ) {
        if subject.user().is_some() {
            self.users.store(true, Ordering::Release);
        }
        let entry = Entry {
            subject: subject.clone(),
            fresh: now.saturating_add(good_for),
            ends: now.saturating_add(left),
            asked: false,
        };
        let mut set = self.entries.set(subject);
        let known = set.iter().find(|old| old.subject == *subject);
        // Only a ban that this process alone knows stays fresh for longer than an answer of the store.
        if known.is_none_or(|known| known.fresh < entry.fresh) {
            let goes_stale = |old: &Entry| old.fresh.min(old.ends);
            put(&mut set, entry, |old| old.subject == *subject, goes_stale);
        }
    }

    /// The store was asked and knows of no ban: a stale ban is forgotten. A fresh one stays, since it was imposed after the
    /// store answered, or in this process alone. Returns whether no ban is left.
    pub(super) fn remove_stale(&self, subject: &Subject, now: Duration) -> bool {
        let mut set = self.entries.set(subject);
        set.retain(|entry| entry.subject != *subject || now < entry.fresh);
        set.iter().all(|entry| entry.subject != *subject)
    }

    /// Whether there is a lasting ban that is good for all of its time: one that only this process knows.
    pub(super) fn is_good_to_its_end(&self, subject: &Subject, now: Duration) -> bool {
        let set = self.entries.set(subject);
        let entry = set.iter().find(|entry| entry.subject == *subject);
        entry.is_some_and(|entry| now < entry.ends && entry.ends <= entry.fresh)
    }

    pub(super) fn remove(&self, subject: &Subject) {
        let mut set = self.entries.set(subject);
        set.retain(|entry| entry.subject != *subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;

    fn client(octet: u8) -> Subject {
        Network::of([192, 0, 2, octet].into(), 64).into()
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn knows_a_ban_until_it_goes_stale_or_ends() {
        let cache = BanCache::new(8);
        cache.insert(&client(1), millis(5_000), millis(1_000), millis(10));
        cache.insert(&client(2), millis(500), millis(1_000), millis(10));
        assert_eq!(cache.get(&client(1), millis(1_009)), Some(millis(4_001)));
        assert_eq!(cache.get(&client(1), millis(1_010)), None);
        assert_eq!(cache.get(&client(2), millis(509)), Some(millis(1)));
        assert_eq!(cache.get(&client(2), millis(510)), None);
        assert_eq!(cache.get(&client(3), millis(10)), None);
    }

    #[test]
    fn only_one_is_sent_to_ask_when_a_ban_goes_stale() {
        let cache = BanCache::new(8);
        let stale = millis(1_000);
        cache.insert(&client(1), millis(5_000), stale, Duration::ZERO);
        assert_eq!(cache.get(&client(1), stale), None);
        for _ in 0..3 {
            assert_eq!(cache.get(&client(1), stale), Some(millis(4_000)));
        }
        let last = stale + GRACE - millis(1);
        assert!(cache.get(&client(1), last).is_some());
        // The request that asked got no answer.
        assert_eq!(cache.get(&client(1), stale + GRACE), None);
        assert_eq!(cache.get(&client(1), stale + GRACE), None);
        cache.insert(&client(1), millis(5_000), stale, stale);
        assert_eq!(cache.get(&client(1), 2 * stale), None, "asked for anew");
        assert!(cache.get(&client(1), 2 * stale).is_some());
    }

    #[test]
    fn a_stale_ban_that_the_store_knows_nothing_of_is_gone_at_once() {
        let cache = BanCache::new(8);
        for octet in [1, 2] {
            let good_for = millis(u64::from(octet) * 1_000);
            cache.insert(&client(octet), millis(5_000), good_for, Duration::ZERO);
        }
        assert_eq!(cache.get(&client(1), millis(1_000)), None);
        for (octet, is_gone) in [(1, true), (2, false), (3, true)] {
            let gone = cache.remove_stale(&client(octet), millis(1_000));
            assert_eq!(gone, is_gone, "{octet}");
        }
        assert_eq!(cache.get(&client(1), millis(1_000)), None);
        assert!(cache.get(&client(2), millis(1_000)).is_some());
    }

    #[test]
    fn an_answer_replaces_an_older_one_but_not_what_is_good_for_longer() {
        let cache = BanCache::new(8);
        cache.insert(&client(1), millis(900), millis(1_000), millis(0));
        cache.insert(&client(1), millis(5_000), millis(1_000), millis(100));
        assert_eq!(cache.get(&client(1), millis(100)), Some(millis(5_000)));
        cache.insert(&client(1), millis(60_000), millis(60_000), millis(100));
        cache.insert(&client(1), millis(500), millis(1_000), millis(200));
        assert_eq!(cache.get(&client(1), millis(60_000)), Some(millis(100)));
        cache.remove(&client(1));
        assert_eq!(cache.get(&client(1), millis(200)), None);
    }

    #[test]
    fn a_ban_that_the_store_knows_nothing_of_is_good_to_its_end() {
        let cache = BanCache::new(8);
        cache.insert(&client(1), millis(5_000), millis(5_000), Duration::ZERO);
        cache.insert(&client(2), millis(5_000), millis(1_000), Duration::ZERO);
        assert!(cache.is_good_to_its_end(&client(1), millis(4_999)));
        assert!(!cache.is_good_to_its_end(&client(1), millis(5_000)));
        assert!(!cache.is_good_to_its_end(&client(2), Duration::ZERO));
        assert!(!cache.is_good_to_its_end(&client(3), Duration::ZERO));
    }

    #[test]
    fn stays_within_its_capacity_and_forgets_what_goes_stale_first() {
        let cache = BanCache::new(8);
        for octet in 0..9 {
            let good_for = millis(u64::from(octet) + 10);
            cache.insert(&client(octet), millis(1_000), good_for, Duration::ZERO);
        }
        assert_eq!(cache.get(&client(0), Duration::ZERO), None);
        let known = |octet| cache.get(&client(octet), Duration::ZERO).is_some();
        assert!((1..9).all(known));
    }
}
