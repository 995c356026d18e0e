//! The Redis store against real servers.

/// A script's text, put together of these files as the store does.
macro_rules! lua {
    ($($name:literal),+) => {
        concat!($(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../middleware/src/store/redis/lua/",
            $name,
            ".lua"
        ))),+)
    };
}

mod alike;
mod bans;
mod bans_shared;
mod budget;
mod clock;
mod decide;
mod failure;
mod failures;
mod gate;
mod holds;
mod incidents;
mod logins;
mod logins_edges;
mod logins_script;
mod logins_shared;
pub(crate) mod model;
mod script;
mod unfit;
mod visits;
mod visits_shared;

pub(crate) use budget::fill;

use std::sync::Arc;
use std::time::Duration;

use palisade::client::{Network, Secret};
use palisade::rate_limit::store::{Admit, Charge, Logs, Store, Verdict};
use palisade::rate_limit::{PartitionKey, Quota, StoreError};
use palisade::store::redis::{RedisStore, RedisStoreBuilder};
use palisade_tests::redis::RedisServer;

/// A store whose deadline no busy machine reaches.
fn patient(server: &RedisServer) -> RedisStoreBuilder {
    RedisStore::builder(&server.url()).deadline(Duration::from_secs(10))
}

fn quota(limit: u32, seconds: u64) -> Quota {
    Quota::new(limit, Duration::from_secs(seconds)).unwrap()
}

fn text(key: &str) -> PartitionKey {
    PartitionKey::text(key, &Secret::from_bytes(b"a secret of the tests"))
}

/// A request from one address and one user, under `ip` and `user`.
struct Request {
    ip: PartitionKey,
    user: PartitionKey,
    quotas: [Quota; 2],
    cost: u32,
    enforced: [bool; 2],
}

impl Request {
    fn of(address: &str, user: &str) -> Self {
        Self {
            ip: Network::of(address.parse().unwrap(), 64).into(),
            user: text(user),
            quotas: [quota(200, 60), quota(60, 60)],
            cost: 1,
            enforced: [true, true],
        }
    }

    async fn admit(&self, limits: &Arc<dyn Admit>) -> Result<Verdict, StoreError> {
        let charge = |policy, key| Charge {
            policy,
            key,
            quota: self.quotas[policy],
            cost: self.cost,
            enforced: self.enforced[policy],
        };
        limits
            .admit(&[charge(0, &self.ip), charge(1, &self.user)])
            .await
    }
}

fn limits(store: &RedisStore) -> Arc<dyn Admit> {
    store.bind(&["ip", "user"].map(|policy| Logs::of(policy, Duration::from_secs(60))))
}
