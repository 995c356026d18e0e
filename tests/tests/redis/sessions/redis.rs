//! The Redis store, whose server reads the test's clock.

use std::sync::Arc;
use std::time::Duration;

use palisade::session::store::{KeepSessions, Keeping, SessionStore};
use palisade::store::redis::RedisStore;
use palisade_tests::clocked::ClockedRedis;

use super::subject::{START, Subject};

/// The store of one process, on a server of its own.
pub(crate) struct Redis {
    store: RedisStore,
    server: ClockedRedis,
}

impl Redis {
    pub(crate) fn new() -> Self {
        let server = ClockedRedis::start(START);
        Self {
            store: store(&server.url()),
            server,
        }
    }
}

/// A store whose deadline no busy machine reaches.
pub(crate) fn store(url: &str) -> RedisStore {
    let store = RedisStore::builder(url).deadline(Duration::from_secs(10));
    store.build().unwrap()
}

impl Subject for Redis {
    fn bind(&self, keeping: &Keeping) -> Arc<dyn KeepSessions> {
        self.store.keep_sessions(keeping)
    }

    fn set(&self, now: u64) {
        self.server.set(now);
    }
}
