//! `[store]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use super::AnalyticsMemory;

/// Where limits, failures, bans, customers and visitors are kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The Redis server; without one, the memory of this process.
    pub redis_url: Option<RedisUrl>,
    /// The prefix of every key.
    pub prefix: String,
    /// The longest that a request waits for the store.
    pub deadline: Duration,
    /// How much of the Redis server's memory visitors, failures and customers may take together.
    pub analytics_memory: AnalyticsMemory,
    /// The file with the secret of the keyed hashes.
    pub secret_file: Option<PathBuf>,
}

/// The address of a Redis server, whose text may hold a password and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            redis_url: None,
            prefix: "palisade:".to_owned(),
            deadline: Duration::from_millis(50),
            analytics_memory: AnalyticsMemory::default(),
            secret_file: None,
        }
    }
}

impl RedisUrl {
    /// The text, password included: for connecting only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

#[cfg(feature = "serde")]
mod section {
    use std::path::PathBuf;
    use std::time::Duration;

    use serde::Deserialize;

    use super::{RedisUrl, StoreConfig};
    use crate::ConfigError;
    use crate::model::section::{Keys, Section, Takes, duration_within};
    use crate::store::check_prefix;

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Store {
        redis_url: Option<String>,
        prefix: Option<String>,
        deadline: Option<String>,
        analytics_memory: Option<String>,
        secret_file: Option<PathBuf>,
    }

    impl Section for StoreConfig {
        type Written = Store;

        const KEYS: Keys = &[
            (
                "redis_url",
                Takes::Text("the URL of a Redis server, such as `redis://127.0.0.1:6379`"),
            ),
            (
                "prefix",
                Takes::Text("what every key begins with, such as `palisade:`"),
            ),
            ("deadline", Takes::Text("a duration of `1ms` to `10s`")),
            (
                "analytics_memory",
                Takes::Text(
                    "a share of the server's maxmemory such as `50%`, or bytes such as `64mb`",
                ),
            ),
            ("secret_file", Takes::Text("the path of a file")),
        ];

        fn read(written: Store) -> Result<Self, ConfigError> {
            let default = Self::default();
            let prefix = written.prefix.unwrap_or(default.prefix);
            check_prefix(&prefix)?;
            let deadline = match written.deadline {
                None => default.deadline,
                Some(text) => {
                    let range = Duration::from_millis(1)..=Duration::from_secs(10);
                    let allowed = "a duration of `1ms` to `10s`";
                    duration_within("deadline", &text, range, allowed)?
                }
            };
            Ok(Self {
                redis_url: written.redis_url.map(RedisUrl::from),
                prefix,
                deadline,
                analytics_memory: match written.analytics_memory {
                    None => default.analytics_memory,
                    Some(text) => text.parse()?,
                },
                secret_file: written.secret_file,
            })
        }
    }
}
