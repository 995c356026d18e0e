//! The whole configuration, read from TOML and validated once. An error names the key, its value and what is allowed.
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
use std::path::PathBuf;
use std::time::Duration;

use crate::ConfigError;
use crate::client::ForwardedHeader;
use crate::model::{Exemptions, Secret};
use crate::rate_limit::{Headers, Policy};
use crate::segment::{Criteria, Keeping};
use crate::suspicion::{BanResponse, Kind, Sentence, Threshold};

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

/// Where limits and failures are kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The Redis server; without one, the memory of this process.
    pub redis_url: Option<RedisUrl>,
    /// The prefix of every key.
    pub prefix: String,
    /// The longest that a request waits for the store.
    pub deadline: Duration,
    /// The file with the secret of the keyed hashes.
    pub secret_file: Option<PathBuf>,
}

/// The address of a Redis server, whose text may hold a password and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

/// How clients are identified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Networks whose forwarding header is believed.
    pub trusted_proxies: Vec<String>,
    /// Which header that is.
    pub forwarded_header: ForwardedHeader,
    /// Length of the IPv6 prefix that counts as one client, in bits.
    pub ipv6_prefix: u8,
}

/// The limits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// The policies: `ip`, `user`, then any others by name.
    pub policies: Vec<Policy>,
    /// Clients, users and routes that meet no policy.
    pub exempt: Exemptions,
    /// Which headers responses carry.
    pub headers: Headers,
}

/// Which failures are suspicious.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SuspicionConfig {
    /// The kinds that are counted, and when each is suspicious.
    pub thresholds: Vec<(Kind, Threshold)>,
    /// Clients, users and routes whose failures never count.
    pub exempt: Exemptions,
    /// Whether events name clients by a keyed hash instead of their network.
    pub hash_clients: bool,
    /// `[suspicion.bans]`; without the section, nobody is banned.
    pub bans: Option<BansConfig>,
}

/// Bans for incidents.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BansConfig {
    /// How long.
    pub sentence: Sentence,
    /// The kinds that are banned for.
    pub kinds: Vec<Kind>,
    /// The answer to a banned client.
    pub response: BanResponse,
    /// Whether bans are imposed and counted, but refuse nothing.
    pub dry_run: bool,
}

/// How the funnel counts.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FunnelConfig {
    /// Whether visitors are counted.
    pub visitors: CountVisitors,
}

/// Whether the funnel counts visitors beside responses, for which the store keeps a key for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CountVisitors {
    /// As the service decides; see [`StackBuilder::visitors`](crate::stack::StackBuilder::visitors).
    #[default]
    Unsaid,
    /// They are not, and nothing is kept of them.
    Off,
    /// Once in a window of this length, 1 minute to 30 days.
    Within(Duration),
}

/// Which kind of customer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentsConfig {
    /// Whether customers are told apart at all; with the section, they are unless it says otherwise.
    pub enabled: bool,
    /// How long a customer is kept after the last change.
    pub retention: Duration,
    /// Where the segments begin.
    pub criteria: Criteria,
    /// How often the population is counted.
    pub sweep_every: Duration,
}

/// The access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogConfig {
    /// Lines of the [access log](crate::observe::AccessLog) in a second of each class, at most 1,000 and 0 for none; where
    /// the file is silent it is `None`, and the service decides: none unless it says otherwise.
    pub access: Option<u16>,
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

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            redis_url: None,
            prefix: "palisade:".to_owned(),
            deadline: Duration::from_millis(50),
            secret_file: None,
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            ipv6_prefix: 64,
        }
    }
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            policies: vec![Policy::ip(), Policy::user()],
            exempt: Exemptions::new(),
            headers: Headers::default(),
        }
    }
}

impl Default for SuspicionConfig {
    fn default() -> Self {
        Self {
            thresholds: Kind::BY_STATUS
                .map(|kind| (kind, kind.default_threshold()))
                .into(),
            exempt: Exemptions::new(),
            hash_clients: false,
            bans: None,
        }
    }
}

impl Default for SegmentsConfig {
    fn default() -> Self {
        let Keeping {
            retention,
            criteria,
            sweep_every,
        } = Keeping::new();
        Self {
            enabled: true,
            retention,
            criteria,
            sweep_every,
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
