//! palisade

mod cidr;
pub mod client;
mod error;
pub mod rate_limit;
pub mod store;
#[cfg(feature = "otel")]
pub mod telemetry;

use cidr::Cidrs;
pub use error::ConfigError;
