use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map of bounded size that forgets the entry used least recently.
pub(super) struct Recent<K, V> {
    capacity: usize,
    entries: HashMap<K, Entry<V>>,
    /// The entries' keys by their last use, oldest first.
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

struct Entry<V> {
    value: V,
    last_use: u64,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    /// An empty map; nothing is allocated ahead.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// The value, which counts as used.
    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        let entry = self.entries.get_mut(key)?;
        self.uses += 1;
        if let Some(key) = self.by_use.remove(&entry.last_use) {
            self.by_use.insert(self.uses, key);
        }
        entry.last_use = self.uses;
        Some(&mut entry.value)
    }

    /// Sets the value, which counts as used, and makes room for it.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        while self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        let last_use = self.uses;
        self.entries.insert(key, Entry { value, last_use });
    }

    /// Takes the value out.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.by_use.remove(&entry.last_use);
        Some(entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn holds_no_more_than_its_capacity_and_forgets_the_oldest() {
        let mut recent = Recent::new(3);
        for n in 0..100 {
            recent.insert(n, n);
        }
        assert_eq!((recent.entries.len(), recent.by_use.len()), (3, 3));
        assert_eq!(recent.get(&96), None);
        assert_eq!(recent.get(&97), Some(&mut 97));
    }

    #[test]
    fn an_entry_in_use_outlives_newer_ones() {
        let mut recent = Recent::new(2);
        recent.insert(0, "kept");
        for n in 1..100 {
            recent.insert(n, "passing");
            assert!(recent.get(&0).is_some());
        }
        assert!(recent.get(&98).is_none());
    }

    #[test]
    fn setting_a_value_again_replaces_it() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 1);
        recent.insert("a", 2);
        assert_eq!(recent.get(&"a"), Some(&mut 2));
        assert_eq!(recent.get(&"b"), Some(&mut 1));
    }

    #[test]
    fn a_removed_entry_leaves_nothing_behind() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        assert_eq!(recent.remove(&"a"), Some(1));
        assert_eq!(recent.remove(&"a"), None);
        assert!(recent.entries.is_empty() && recent.by_use.is_empty());
    }
}
