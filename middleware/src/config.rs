//! The whole configuration, read from TOML and validated once.
//!
//! ```
//! # #[cfg(feature = "serde")]
//! # fn main() -> Result<(), palisade::ConfigError> {
//! use palisade::config::Config;
//!
//! let config = Config::from_toml(r#"
//!     [store]
//!     prefix = "shop:"
//!
//!     [rate_limit]
//!     ip = "300/1m"
//!
//!     [rate_limit.policies.checkout]
//!     key = "user"
//!     quota = "5/1m"
//!     routes = ["POST /{country}/orders"]
//! "#)?;
//! assert_eq!(config.rate_limit.policies.len(), 3);
//!
//! let error = Config::from_toml("rate_limit.ip = '0/1m'").unwrap_err();
//! assert!(error.to_string().starts_with("`rate_limit.ip` cannot be `0/1m`: allowed is `<count>/<duration>`"));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "serde"))]
//! # fn main() {}
//! ```
#[cfg(feature = "serde")]
mod sections;
#[cfg(all(test, feature = "serde"))]
mod tests;

#[cfg(feature = "serde")]
use std::path::Path;

use crate::ConfigError;
use crate::model::Secret;

pub use crate::client::config::ClientConfig;
pub use crate::funnel::config::{CountVisitors, FunnelConfig};
pub use crate::observe::config::LogConfig;
pub use crate::rate_limit::config::RateLimitConfig;
pub use crate::segment::config::SegmentsConfig;
pub use crate::store::config::{RedisUrl, StoreConfig};
pub use crate::suspicion::config::{BansConfig, SuspicionConfig};

/// Every setting, each with its default where the file is silent.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Config {
    /// `[store]`
    pub store: StoreConfig,
    /// `[client]`
    pub client: ClientConfig,
    /// `[rate_limit]`
    pub rate_limit: RateLimitConfig,
    /// `[suspicion]`
    pub suspicion: SuspicionConfig,
    /// `[funnel]`
    pub funnel: FunnelConfig,
    /// `[segments]`; off where the file has no such section.
    pub segments: Option<SegmentsConfig>,
    /// `[log]`
    pub log: LogConfig,
}

impl Config {
    /// Reads a TOML text.
    ///
    /// # Errors
    /// An unknown key, a value that cannot be used, or settings that contradict each other.
    #[cfg(feature = "serde")]
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        sections::File::read(text)?.validate()
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// As [`Config::from_toml`], and a file that cannot be read.
    #[cfg(feature = "serde")]
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        std::fs::read_to_string(path)
            .map_err(|error| ConfigError::unreadable(format_args!("cannot be read: {error}")))
            .and_then(|text| Self::from_toml(&text))
            .map_err(|error| error.in_file(path))
    }

    /// The secret that keys the hashes: `PALISADE_SECRET` where the environment has it, else the content of
    /// `store.secret_file`, else none.
    ///
    /// Without one, use [`Secret::random`]: it serves a single process, but processes that share a store must share
    /// the secret too.
    ///
    /// # Errors
    /// A file that cannot be read, or a secret of less than 16 bytes.
    pub fn secret(&self) -> Result<Option<Secret>, ConfigError> {
        const ALLOWED: &str = "a secret of at least 16 bytes";
        const LEAST: usize = 16;
        if let Some(secret) = std::env::var_os("PALISADE_SECRET") {
            let bytes = secret.as_encoded_bytes();
            return if bytes.len() < LEAST {
                Err(ConfigError::without_value("PALISADE_SECRET", ALLOWED))
            } else {
                Ok(Some(Secret::from_bytes(bytes)))
            };
        }
        let Some(path) = &self.store.secret_file else {
            return Ok(None);
        };
        let refused = |why| ConfigError::new("store.secret_file", path.display(), why);
        let bytes = std::fs::read(path)
            .map_err(|error| refused(format!("a file that can be read ({error})")))?;
        let bytes = bytes.trim_ascii_end();
        if bytes.len() < LEAST {
            return Err(refused(format!("a file with {ALLOWED}")));
        }
        Ok(Some(Secret::from_bytes(bytes)))
    }
}
