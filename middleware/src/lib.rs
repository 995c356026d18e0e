//! palisade

mod cidr;
pub mod client;
pub mod config;
mod error;
pub mod rate_limit;
pub mod stack;
pub mod store;
#[cfg(feature = "otel")]
pub mod telemetry;

use cidr::Cidrs;
pub use error::ConfigError;
