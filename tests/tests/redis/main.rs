//! The library in this process, on real Redis servers and beside them in memory.

mod claims;
mod conformance;
mod customers;
mod dropped;
mod observe;
mod preflight;
mod sessions;
mod store_redis;
mod suspicion_flood;
mod unblock;

use palisade::rate_limit::store::Charge;
use palisade::rate_limit::{PartitionKey, Quota};

fn charge(policy: usize, key: &PartitionKey, quota: Quota) -> Charge<'_> {
    Charge {
        policy,
        key,
        quota,
        cost: 1,
        enforced: true,
    }
}
