//! A bounded, set-associative cache of a store's answers. `rate_limit/deny_cache.rs`, `suspicion/bans/cache.rs`
//! and `session/known.rs` use it.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A bounded number of answers, of which any may be forgotten: that costs a question, nothing else.
///
/// Set-associative: a key has one set of eight places, so a lookup looks at eight entries at most. Invariant: a key has one
/// entry at most, the last that was put.
#[derive(Debug)]
pub(crate) struct Cache<E> {
    hasher: RandomState,
    sets: Box<[Mutex<Vec<E>>]>,
}

const WAYS: usize = 8;

impl<E> Cache<E> {
    /// A cache of at least `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).max(1);
        Self {
            hasher: RandomState::new(),
            sets: (0..sets).map(|_| Mutex::default()).collect(),
        }
    }

    /// The entries among which that of a key is, if there is one; locked.
    pub(crate) fn set(&self, key: impl Hash) -> MutexGuard<'_, Vec<E>> {
        let set = self.hasher.hash_one(key) % self.sets.len() as u64;
        let set = self.sets[set as usize].lock();
        set.unwrap_or_else(PoisonError::into_inner)
    }

    /// All entries, a set at a time; each is locked while it is looked at.
    pub(crate) fn sets(&self) -> impl Iterator<Item = MutexGuard<'_, Vec<E>>> {
        let sets = self.sets.iter().map(Mutex::lock);
        sets.map(|set| set.unwrap_or_else(PoisonError::into_inner))
    }
}

/// Puts an entry into its set: in place of the one of the same key, else into a free place, else in place of the one that
/// ends first.
pub(crate) fn put<E>(
    set: &mut Vec<E>,
    entry: E,
    is_same: impl Fn(&E) -> bool,
    ends: impl Fn(&E) -> Duration,
) {
    if let Some(same) = set.iter_mut().find(|old| is_same(old)) {
        *same = entry;
    } else if set.len() < WAYS {
        set.push(entry);
    } else if let Some(first) = set.iter_mut().min_by_key(|old| ends(old)) {
        *first = entry;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map that forgets nothing.
        #[test]
        fn an_answer_is_the_last_that_was_put_and_only_those_that_end_first_are_forgotten(
            capacity in 0_usize..20,
            puts in prop::collection::vec((0_u8..40, 0_u64..100), 0..200),
        ) {
            let cache = Cache::new(capacity);
            let (most, mut map) = (cache.sets.len() * WAYS, HashMap::new());
            prop_assert!(most >= capacity && most < capacity.max(1) + WAYS);
            for (key, ends) in puts {
                let before = cache.set(key).clone();
                let entry = (key, Duration::from_millis(ends));
                put(&mut cache.set(key), entry, |old| old.0 == key, |old| old.1);
                map.insert(entry.0, entry.1);
                let set = cache.set(key);
                prop_assert!(set.contains(&entry) && set.len() <= WAYS);
                for (key, ends) in &*set {
                    prop_assert_eq!(Some(ends), map.get(key));
                    prop_assert_eq!(set.iter().filter(|(other, _)| other == key).count(), 1);
                }
                for forgotten in before.iter().filter(|old| old.0 != key && !set.contains(old)) {
                    let mut others = before.iter();
                    prop_assert!(before.len() == WAYS && others.all(|other| forgotten.1 <= other.1));
                }
            }
        }
    }
}
