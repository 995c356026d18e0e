//! Where a stack keeps what it counts: in Redis with the memory of this process to fall back on, or in that memory alone.

#[cfg(feature = "redis")]
use crate::ConfigError;
#[cfg(feature = "redis")]
use crate::config::StoreConfig;
use crate::funnel::Visitors;
use crate::model::Secret;
#[cfg(feature = "redis")]
use crate::model::{Operation, Outcome, Written};
use crate::rate_limit::{RateLimitLayer, RateLimitLayerBuilder};
use crate::segment::store::CustomerStore;
use crate::session::store::SessionStore;
use crate::store::memory::MemoryStore;
#[cfg(feature = "redis")]
use crate::store::redis::RedisStore;
use crate::suspicion::{Bans, SuspicionLayer, SuspicionLayerBuilder};
#[cfg(feature = "redis")]
use crate::task::shielded;

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

    pub(super) fn sessions(&self) -> Box<dyn SessionStore> {
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

#[cfg(feature = "redis")]
pub(super) type CallObserver = Box<dyn Fn(Operation, Outcome, std::time::Duration) + Send + Sync>;

/// The store that a stack shares, if it shares one: a ready one, or the configuration's.
#[cfg(feature = "redis")]
pub(super) fn shared(
    ready: Option<RedisStore>,
    settings: &StoreConfig,
    observers: Vec<CallObserver>,
) -> Result<Option<RedisStore>, ConfigError> {
    let store = match (ready, &settings.redis_url) {
        (None, None) => return Ok(None),
        (None, Some(url)) => RedisStore::builder(url.as_str())
            .prefix(&settings.prefix)
            .deadline(settings.deadline)
            .analytics_memory(settings.analytics_memory)
            .build()
            .map_err(|error| error.under("store"))?,
        (Some(_), Some(_)) => {
            let allowed = "nothing beside a ready `RedisStore`";
            return Err(ConfigError::without_value("store.redis_url", allowed));
        }
        (Some(store), None) => {
            let default = StoreConfig::default();
            if settings.prefix != default.prefix && settings.prefix != store.prefix() {
                let allowed = format!("the ready `RedisStore`'s own, `{}`", store.prefix());
                return Err(ConfigError::new("store.prefix", &settings.prefix, allowed));
            }
            if settings.deadline != default.deadline && settings.deadline != store.deadline() {
                let [value, own] = [settings.deadline, store.deadline()].map(Written);
                let allowed = format!("the ready `RedisStore`'s own, `{own}`");
                return Err(ConfigError::new("store.deadline", value, allowed));
            }
            let (value, own) = (settings.analytics_memory, store.analytics_memory());
            if value != default.analytics_memory && value != own {
                let allowed = format!("the ready `RedisStore`'s own, `{own}`");
                return Err(ConfigError::new("store.analytics_memory", value, allowed));
            }
            store
        }
    };
    if !observers.is_empty()
        && !store.watch(Box::new(move |operation, outcome, took| {
            for observer in &observers {
                shielded("store", || observer(operation, outcome, took));
            }
        }))
    {
        let allowed = "a `RedisStore` that no other stack observes";
        return Err(ConfigError::without_value("observe_store", allowed));
    }
    Ok(Some(store))
}

#[cfg(feature = "redis")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::stack::{Stack, StackBuilder};

    fn store() -> RedisStore {
        let store = RedisStore::builder("redis://127.0.0.1:1").prefix("shop:");
        store.deadline(Duration::from_millis(20)).build().unwrap()
    }

    fn refusal(builder: StackBuilder) -> String {
        builder.build().err().unwrap().to_string()
    }

    #[tokio::test]
    async fn a_ready_store_is_used_as_it_is() {
        let store = store();
        let stack = Stack::builder().redis(store.clone()).build().unwrap();
        assert!(!stack.health.unwrap().is_breaker_open());
        let mut config = Config::default();
        config.store.prefix = "shop:".to_owned();
        config.store.deadline = Duration::from_millis(20);
        let builder = Stack::builder().config(config).redis(store);
        assert!(builder.build().is_ok(), "the settings say the same");
    }

    #[test]
    fn a_configuration_that_contradicts_a_ready_store_is_refused_by_name() {
        let with = |change: &dyn Fn(&mut StoreConfig)| {
            let mut config = Config::default();
            change(&mut config.store);
            refusal(Stack::builder().config(config).redis(store()))
        };
        let url = "redis://:hunter2@127.0.0.1:1";
        assert_eq!(
            with(&|store| store.redis_url = Some(url.to_owned().into())),
            "`store.redis_url` cannot be used: allowed is nothing beside a ready `RedisStore`"
        );
        assert_eq!(
            with(&|store| store.prefix = "other:".to_owned()),
            "`store.prefix` cannot be `other:`: allowed is the ready `RedisStore`'s own, `shop:`"
        );
        assert_eq!(
            with(&|store| store.deadline = Duration::from_millis(70)),
            "`store.deadline` cannot be `70ms`: allowed is the ready `RedisStore`'s own, `20ms`"
        );
        assert_eq!(
            with(&|store| store.analytics_memory = "64mb".parse().unwrap()),
            "`store.analytics_memory` cannot be `67108864b`: allowed is the ready `RedisStore`'s own, `50%`"
        );
    }

    #[test]
    fn one_stack_alone_observes_a_ready_store_and_others_may_share_it() {
        let store = store();
        let observed = || {
            let stack = Stack::builder().redis(store.clone());
            stack.observe_store(|_, _, _| ())
        };
        assert!(observed().build().is_ok());
        assert_eq!(
            refusal(observed()),
            "`observe_store` cannot be used: allowed is a `RedisStore` that no other stack observes"
        );
        assert!(Stack::builder().redis(store.clone()).build().is_ok());
    }
}
