//! palisade

pub mod client;
mod error;
pub mod rate_limit;
pub mod store;

pub use error::ConfigError;
