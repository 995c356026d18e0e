//! The stores, each with a clock that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use palisade::session::store::{KeepSessions, Keeping, SessionStore};
use palisade::store::memory::{Clock, MemoryStore};

/// Where the clocks begin, in microseconds: far in the future, so that nothing expires by a real clock.
pub(crate) const START: u64 = 4_102_444_800_000_000;

/// A new store, whose clock stands at [`START`] until the test moves it.
pub(crate) trait Subject: Sync {
    /// Binds the store; all binds share its sessions.
    fn bind(&self, keeping: &Keeping) -> Arc<dyn KeepSessions>;

    /// Sets the clock, forward or back. What the store lets expire by itself, it has let expire by then.
    fn set(&self, now: u64);
}

/// Runs a test on every store, each new.
pub(crate) async fn on_every_store(test: impl AsyncFn(&str, &dyn Subject)) {
    test("memory", &Memory::new()).await;
    test("redis", &super::redis::Redis::new()).await;
}

/// The memory store.
pub(crate) struct Memory {
    store: MemoryStore,
    hand: Hand,
}

#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        let hand = Hand(Arc::new(AtomicU64::new(START)));
        let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        Self { store, hand }
    }
}

impl Subject for Memory {
    fn bind(&self, keeping: &Keeping) -> Arc<dyn KeepSessions> {
        self.store.keep_sessions(keeping)
    }

    fn set(&self, now: u64) {
        self.hand.0.store(now, Ordering::SeqCst);
    }
}
