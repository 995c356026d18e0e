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

/// Enough for the locks to be free nearly always on machines of up to a few dozen cores.
const SHARDS: usize = 64;
/// Shards smaller than this would make the order of eviction coarse.
const LEAST_SHARD: usize = 1024;

/// How many keys each shard holds; together exactly `max_keys`.
pub(super) fn capacities(max_keys: usize) -> impl Iterator<Item = u32> {
    let shards = (max_keys / LEAST_SHARD).clamp(1, SHARDS);
    (0..shards).map(move |shard| {
        let remainder = usize::from(shard < max_keys % shards);
        (max_keys / shards + remainder) as u32
    })
}

/// The shard of a hash, of so many. The upper half: the hash table takes its buckets from the low bits.
pub(super) fn place(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize % shards
}

impl<E: Entry> Table<E> {
    pub(super) fn new(name: &str, max_keys: usize, ordinal: usize) -> Self {
        Self {
            name: name.into(),
            ordinal,
            hasher: RandomState::new(),
            shards: capacities(max_keys)
                .map(|capacity| Mutex::new(Shard::new(capacity)))
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
        lock(&self.shards[place(hash, self.shards.len())])
    }
}
