//! The keys of one policy or kind, spread over shards.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};

use super::lock;
use super::shard::{Entry, Shard};
use crate::model::PartitionKey;

pub(super) struct Table<E> {
    /// The policy's or the kind's.
    name: Box<str>,
    /// The table's place among those of its store. Code that locks several locks them in this order.
    ordinal: usize,
    hasher: RandomState,
    shards: Box<[Mutex<Shard<E>>]>,
}

impl<E: Entry> Table<E> {
    /// Enough for the locks to be free nearly always on machines of up to a few dozen cores.
    const SHARDS: usize = 64;
    /// Shards smaller than this would make the order of eviction coarse.
    const LEAST_SHARD: usize = 1024;

    pub(super) fn new(name: &str, max_keys: usize, ordinal: usize) -> Self {
        let shards = (max_keys / Self::LEAST_SHARD).clamp(1, Self::SHARDS);
        // The remainder is spread, so that the shards together hold exactly `max_keys`.
        let capacity = |shard| max_keys / shards + usize::from(shard < max_keys % shards);
        Self {
            name: name.into(),
            ordinal,
            hasher: RandomState::new(),
            shards: (0..shards)
                .map(|shard| Mutex::new(Shard::new(capacity(shard) as u32)))
                .collect(),
        }
    }

    pub(super) fn is_of(&self, name: &str) -> bool {
        *self.name == *name
    }

    pub(super) fn ordinal(&self) -> usize {
        self.ordinal
    }

    pub(super) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    #[inline]
    pub(super) fn hash(&self, key: &PartitionKey) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Every shard, locked one after the other.
    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard<E>>> {
        self.shards.iter().map(lock)
    }

    /// One after the other, for a caller that lets others in between.
    pub(super) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    pub(super) fn nth_shard(&self, place: usize) -> MutexGuard<'_, Shard<E>> {
        lock(&self.shards[place])
    }

    pub(super) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<E>> {
        // The upper half: the hash table takes its buckets from the low bits.
        lock(&self.shards[(hash >> 32) as usize % self.shards.len()])
    }
}
