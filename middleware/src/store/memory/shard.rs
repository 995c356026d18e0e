//! A bounded part of the keys of one policy or kind, with the order in which they are forgotten.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::log::Micros;
use crate::model::PartitionKey;

const NONE: u32 = u32::MAX;

/// The value of a key.
pub(super) trait Entry: Default {
    /// Whether nothing of it counts any more.
    fn is_idle(&self, now: Micros, window: Micros) -> bool;
}

/// Keys and their values, at most `capacity` of them.
///
/// Two lists order the keys by their last use: those at their limit (of a quota or a threshold) and those with room to
/// spare. A new key in a full shard takes the place of the first of these that exists: an idle key with room, an idle
/// key at its limit, the longest-quiet key with room, the longest-quiet key at its limit. Each list's head is its
/// longest-quiet key, so one look at both heads finds an idle key whenever there is one.
#[derive(Debug)]
pub(super) struct Shard<E> {
    index: HashTable<u32>,
    slots: Vec<Slot<E>>,
    capacity: u32,
    lists: [List; 2],
    /// Slots that hold no key, linked by `next`.
    free: u32,
    evicted_live: u64,
}

#[derive(Debug)]
struct Slot<E> {
    key: PartitionKey,
    entry: E,
    previous: u32,
    next: u32,
    at_limit: bool,
}

impl<E: Entry> Slot<E> {
    fn of(key: PartitionKey) -> Self {
        Self {
            key,
            entry: E::default(),
            previous: NONE,
            next: NONE,
            at_limit: false,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

impl<E: Entry> Shard<E> {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            capacity,
            lists: [List {
                head: NONE,
                tail: NONE,
            }; 2],
            free: NONE,
            evicted_live: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many keys were forgotten while they still counted.
    pub(super) fn evicted_live(&self) -> u64 {
        self.evicted_live
    }

    /// The slot of a key, if it is held.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &PartitionKey) -> Option<u32> {
        self.index
            .find(hash, |&slot| self.slots[slot as usize].key == *key)
            .copied()
    }

    pub(super) fn entry_mut(&mut self, slot: u32) -> &mut E {
        &mut self.slots[slot as usize].entry
    }

    /// The slots of all keys.
    #[cfg(test)]
    pub(super) fn held(&self) -> Vec<u32> {
        self.index.iter().copied().collect()
    }

    /// Whether a new key takes the place of another one.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity as usize
    }

    /// The longest-quiet key with room: the first to go when the shard is full.
    pub(super) fn first_to_go(&self) -> Option<u32> {
        let [spare, _] = self.lists.map(|list| list.head);
        (spare != NONE).then_some(spare)
    }

    /// The values of all keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = &E> {
        self.index
            .iter()
            .map(|&slot| &self.slots[slot as usize].entry)
    }

    /// Lets go of the longest-quiet keys as long as they are idle; how many.
    pub(super) fn forget_idle(
        &mut self,
        hasher: &impl BuildHasher,
        now: Micros,
        window: Micros,
    ) -> u64 {
        let mut forgotten = 0;
        for list in 0..self.lists.len() {
            while self.is_idle(self.lists[list].head, now, window) {
                self.forget(hasher, self.lists[list].head);
                forgotten += 1;
            }
        }
        forgotten
    }

    /// A slot for a key that is not held, with an empty entry.
    ///
    /// It lets go of up to two idle keys, so that keys of the past do not pile up while new ones come.
    pub(super) fn insert(
        &mut self,
        hasher: &impl BuildHasher,
        hash: u64,
        key: &PartitionKey,
        now: Micros,
        window: Micros,
    ) -> u32 {
        for _ in 0..2 {
            let mut heads = self.lists.iter().map(|list| list.head);
            match heads.find(|slot| self.is_idle(*slot, now, window)) {
                Some(idle) => self.forget(hasher, idle),
                None => break,
            }
        }
        if self.len() == self.capacity as usize {
            // Nobody is idle. Those with room first, the longest quiet of them; then those at their limit.
            let [spare, at_limit] = self.lists.map(|list| list.head);
            self.forget(hasher, if spare == NONE { at_limit } else { spare });
            self.evicted_live += 1;
        }
        let slot = self.vacant(key.clone());
        self.link(slot);
        let slots = &self.slots;
        self.index.insert_unique(hash, slot, |&slot| {
            hasher.hash_one(&slots[slot as usize].key)
        });
        slot
    }

    fn is_idle(&self, slot: u32, now: Micros, window: Micros) -> bool {
        let slot = self.slots.get(slot as usize);
        slot.is_some_and(|slot| slot.entry.is_idle(now, window))
    }

    /// Lets go of a key.
    pub(super) fn forget(&mut self, hasher: &impl BuildHasher, slot: u32) {
        let hash = hasher.hash_one(&self.slots[slot as usize].key);
        if let Ok(entry) = self.index.find_entry(hash, |&held| held == slot) {
            entry.remove();
        }
        self.unlink(slot);
        self.slots[slot as usize] = Slot {
            next: self.free,
            ..Slot::of(PartitionKey::nobody())
        };
        self.free = slot;
    }

    /// A slot in no list, new or used before.
    fn vacant(&mut self, key: PartitionKey) -> u32 {
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let vacant = self.free;
            self.free = slot.next;
            *slot = Slot::of(key);
            return vacant;
        }
        if self.slots.len() == self.slots.capacity() {
            // Doubling, but never past the bound: a full shard wastes nothing.
            let most = self.capacity as usize - self.slots.len();
            self.slots
                .reserve_exact(self.slots.len().clamp(4.min(most), most));
        }
        self.slots.push(Slot::of(key));
        self.slots.len() as u32 - 1
    }

    /// Moves a key that was just used behind all others of its list.
    pub(super) fn used(&mut self, slot: u32, at_limit: bool) {
        let last = self.lists[usize::from(at_limit)].tail == slot;
        if !last {
            self.unlink(slot);
            self.slots[slot as usize].at_limit = at_limit;
            self.link(slot);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot {
            previous,
            next,
            at_limit,
            ..
        } = self.slots[slot as usize];
        match self.slots.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.lists[usize::from(at_limit)].head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => self.lists[usize::from(at_limit)].tail = previous,
        }
    }

    fn link(&mut self, slot: u32) {
        let at_limit = self.slots[slot as usize].at_limit;
        let list = &mut self.lists[usize::from(at_limit)];
        let last = std::mem::replace(&mut list.tail, slot);
        if last == NONE {
            list.head = slot;
        } else {
            self.slots[last as usize].next = slot;
        }
        self.slots[slot as usize].previous = last;
        self.slots[slot as usize].next = NONE;
    }
}
