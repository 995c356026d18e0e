//! What the tests share: real servers, real HTTP, and readers of metrics and of sources.

use std::time::Duration;

pub mod alertmanager;
pub mod browser;
pub mod clocked;
pub mod dashboard;
pub mod distance;
pub mod echo;
pub mod events;
pub mod http;
pub mod imports;
pub mod load;
pub mod logql;
pub mod memory;
pub mod metrics;
pub mod prometheus;
pub mod promql;
pub mod redis;
pub mod repository;
pub mod time;
pub mod tls;
pub mod webstore;

/// How long a test waits for what comes after some milliseconds, or a few seconds. Only a test that fails waits so long.
pub const SOON: Duration = Duration::from_secs(60);
