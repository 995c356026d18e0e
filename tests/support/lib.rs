//! What the tests share: real servers, real HTTP, and a reader of metrics.
// A test fails by panicking, and so does what it is made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod http;
pub mod metrics;
pub mod prometheus;
pub mod redis;
pub mod webstore;
