//! Where a stack keeps what it counts: in Redis with the memory of this process to fall back on, or in that memory alone.

use crate::funnel::Visitors;
use crate::model::Secret;
use crate::rate_limit::{RateLimitLayer, RateLimitLayerBuilder};
use crate::segment::store::CustomerStore;
use crate::store::memory::MemoryStore;
#[cfg(feature = "redis")]
use crate::store::redis::RedisStore;
use crate::suspicion::{Bans, SuspicionLayer, SuspicionLayerBuilder};

/// The stores of one stack; each layer is given what it needs of them.
pub(super) struct Stores {
    pub(super) memory: MemoryStore,
    #[cfg(feature = "redis")]
    pub(super) redis: Option<RedisStore>,
}

impl Stores {
    /// Whether other processes count here too.
    pub(super) fn are_shared(&self) -> bool {
        #[cfg(feature = "redis")]
        return self.redis.is_some();
        #[cfg(not(feature = "redis"))]
        false
    }

    pub(super) fn visitors(&self, secret: Secret) -> Visitors {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            return Visitors::shared(redis.clone(), secret);
        }
        Visitors::embedded(self.memory.clone(), secret)
    }

    pub(super) fn failures(&self) -> SuspicionLayerBuilder {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            return SuspicionLayer::shared(redis.clone(), self.memory.clone());
        }
        SuspicionLayer::embedded(self.memory.clone())
    }

    pub(super) fn bans(&self) -> Bans {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            return Bans::shared(redis.clone(), self.memory.clone());
        }
        Bans::embedded(self.memory.clone())
    }

    pub(super) fn customers(&self) -> Box<dyn CustomerStore> {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            return Box::new(redis.clone());
        }
        Box::new(self.memory.clone())
    }

    pub(super) fn limits(&self) -> RateLimitLayerBuilder {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            return RateLimitLayer::shared(redis.clone(), self.memory.clone());
        }
        RateLimitLayer::embedded(self.memory.clone())
    }
}
