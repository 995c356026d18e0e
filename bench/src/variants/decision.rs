//! The decision alone, one tier in memory, on a clock that the caller moves.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota as GovernorQuota, RateLimiter};
use palisade::client::Network;
use palisade::rate_limit::store::{Charge, Logs, Reply, Store};
use palisade::rate_limit::{PartitionKey, Quota};
use palisade::store::memory::{Clock, MemoryStore};

use crate::Result;

/// How many pass in [`WINDOW`].
pub(crate) const LIMIT: u32 = 200;
/// The window of [`LIMIT`].
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Moves the clock by so many µs, and tells whether one more of that key's quota passes.
pub(crate) type Decide = Box<dyn Fn(u32, u64) -> bool>;

/// Governor's keyed limiter, which tower_governor asks.
pub(crate) fn governor() -> Result<Decide> {
    let quota = GovernorQuota::with_period(WINDOW / LIMIT)
        .zip(NonZeroU32::new(LIMIT))
        .map(|(quota, burst)| quota.allow_burst(burst))
        .ok_or("no quota")?;
    let clock = FakeRelativeClock::default();
    let limiter = RateLimiter::<IpAddr, _, _, _>::dashmap_with_clock(quota, clock.clone());
    Ok(Box::new(move |key, micros| {
        clock.advance(Duration::from_micros(micros));
        limiter.check_key(&address(key)).is_ok()
    }))
}

/// palisade's memory store, through the port that the layer uses.
pub(crate) fn palisade() -> Result<Decide> {
    let quota = Quota::new(LIMIT, WINDOW)?;
    let clock = Arc::new(AtomicU64::new(0));
    let store = MemoryStore::builder()
        .clock(MovedClock(Arc::clone(&clock)))
        .build()?;
    let bound = store.bind(&[Logs::of("ip", WINDOW)]);
    Ok(Box::new(move |key, micros| {
        clock.fetch_add(micros, Ordering::Relaxed);
        let key = PartitionKey::from(Network::of(address(key), 64));
        let charge = Charge {
            policy: 0,
            key: &key,
            quota,
            cost: 1,
            enforced: true,
        };
        matches!(bound.admit(&[charge]), Reply::Ready(Ok(verdict)) if verdict.admitted)
    }))
}

struct MovedClock(Arc<AtomicU64>);

impl Clock for MovedClock {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn address(key: u32) -> IpAddr {
    Ipv4Addr::from_bits(key).into()
}
