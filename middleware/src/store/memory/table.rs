//! The keys of one policy, spread over shards.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

use super::lock;
use super::shard::Shard;
use crate::rate_limit::PartitionKey;

pub(super) struct Table {
    policy: Arc<str>,
    /// The table's place among those of its store: who locks several, locks them in this order.
    ordinal: usize,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

impl Table {
    /// Enough for the locks to be free nearly always on machines of up to a few dozen cores.
    const SHARDS: usize = 64;
    /// Shards smaller than this would make the order of eviction coarse.
    const LEAST_SHARD: usize = 1024;

    pub(super) fn new(policy: &Arc<str>, max_keys: usize, ordinal: usize) -> Self {
        let shards = (max_keys / Self::LEAST_SHARD).clamp(1, Self::SHARDS);
        // The remainder is spread, so that the shards together hold exactly `max_keys`.
        let capacity = |shard| max_keys / shards + usize::from(shard < max_keys % shards);
        Self {
            policy: Arc::clone(policy),
            ordinal,
            hasher: RandomState::new(),
            shards: (0..shards)
                .map(|shard| Mutex::new(Shard::new(capacity(shard) as u32)))
                .collect(),
        }
    }

    pub(super) fn is_of(&self, policy: &str) -> bool {
        *self.policy == *policy
    }

    pub(super) fn ordinal(&self) -> usize {
        self.ordinal
    }

    pub(super) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    pub(super) fn hash(&self, key: &PartitionKey) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Every shard, locked one after the other.
    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    pub(super) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The upper half: the hash table takes its buckets from the low bits.
        lock(&self.shards[(hash >> 32) as usize % self.shards.len()])
    }
}
