//! The library in this process, on real Redis servers and beside them in memory.

mod conformance;
mod customers;
mod dropped;
mod observe;
mod preflight;
mod store_redis;
mod suspicion_flood;
mod unblock;
