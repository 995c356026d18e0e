//! The whole configuration, read from TOML and validated once. An error names the key, its value and what is allowed.
//!
//! | section | settings | without it |
//! |---|---|---|
//! | `[store]` | [`StoreConfig`]: Redis, the prefix, the deadline, the file of the secret | the memory of this process |
//! | `[client]` | [`ClientConfig`]: trusted proxies and their header, the IPv6 prefix | no proxy is trusted |
//! | `[maintenance]` | [`MaintenanceConfig`]: whether the service is closed, and for whom it stays open | the service is open |
//! | `[rate_limit]` | [`RateLimitConfig`]: policies, exemptions, headers | 200 a minute for a network, 60 for a user |
//! | `[suspicion]` | [`SuspicionConfig`]: thresholds, exemptions, `[suspicion.bans]` | the four kinds by status, no bans |
//! | `[funnel]` | [`FunnelConfig`]: whether visitors are counted | the service decides |
//! | `[segments]` | [`SegmentsConfig`]: criteria, retention, the sweep | no segments |
//! | `[sessions]` | [`SessionsConfig`]: the cookie, how long sessions last, how many, what fails | no sessions |
//! | `[log]` | [`LogConfig`]: the access log | no access log, unless the service has one |
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
//! // `ip`, the default `user`, and `checkout`.
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
mod place;
#[cfg(all(test, feature = "serde"))]
mod tests;

#[cfg(feature = "serde")]
use std::path::Path;

#[cfg(feature = "serde")]
use serde::Deserialize;

use crate::ConfigError;
use crate::model::Secret;
#[cfg(feature = "serde")]
use crate::model::message_without_credentials;
#[cfg(feature = "serde")]
use crate::model::section::{Keys, Section, mistyped};

/// Makes [`Config`] and its file of the sections: the name of each, its settings, and the room that owns them.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident: $settings:ty, in $room:ident;)+) => {
        $(pub use crate::$room::config::*;)+

        /// Every setting, each with its default where the file is silent.
        #[derive(Debug, Clone, Default)]
        #[non_exhaustive]
        pub struct Config {
            $($(#[$doc])* pub $name: $settings,)+
        }

        /// The file as it is written.
        #[cfg(feature = "serde")]
        #[derive(Deserialize, Default)]
        #[serde(deny_unknown_fields, default)]
        struct File {
            $($name: <$settings as Section>::Written,)+
        }

        #[cfg(feature = "serde")]
        impl File {
            /// The keys of each section.
            const KEYS: &[Keys] = &[$(<$settings as Section>::KEYS),+];

            /// The first value that is of another type than its key takes, if there is one.
            fn mistyped(text: &str) -> Option<ConfigError> {
                let file: toml::Table = text.parse().ok()?;
                let mut sections = [$(stringify!($name)),+].into_iter().zip(Self::KEYS);
                sections.find_map(|(name, keys)| mistyped(name, file.get(name)?, keys))
            }

            /// Reads the sections in their order; the first error is told.
            fn read(self) -> Result<Config, ConfigError> {
                Ok(Config {
                    $($name: Section::read(self.$name)
                        .map_err(|error| error.under(stringify!($name)))?,)+
                })
            }
        }
    };
}

sections! {
    /// `[store]`
    store: StoreConfig, in store;
    /// `[client]`
    client: ClientConfig, in client;
    /// `[maintenance]`; off where the file has no such section.
    maintenance: MaintenanceConfig, in maintenance;
    /// `[rate_limit]`
    rate_limit: RateLimitConfig, in rate_limit;
    /// `[suspicion]`
    suspicion: SuspicionConfig, in suspicion;
    /// `[funnel]`
    funnel: FunnelConfig, in funnel;
    /// `[segments]`; off where the file has no such section.
    segments: Option<SegmentsConfig>, in segment;
    /// `[sessions]`; off where the file has no such section.
    sessions: Option<SessionsConfig>, in session;
    /// `[log]`
    log: LogConfig, in observe;
}

impl Config {
    /// Reads a TOML text.
    ///
    /// # Errors
    /// An unknown key, a value that cannot be used, or settings that contradict each other.
    #[cfg(feature = "serde")]
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let read = toml::from_str::<File>(text);
        // TOML's dates are tables of such a name to serde.
        let is_of_name = |error: &toml::de::Error| {
            let said = error.message();
            said.starts_with("unknown field") && !said.contains("`$__toml")
        };
        // A list may be read where a table belongs, without an error.
        if !read.as_ref().is_err_and(is_of_name)
            && let Some(error) = File::mistyped(text)
        {
            return Err(error);
        }
        let file = read.map_err(|error| {
            let place = error.span().map_or_else(String::new, |span| {
                place::place(text, span.start, File::KEYS)
            });
            let message = message_without_credentials(error.message().trim_end());
            ConfigError::unreadable(format_args!("{place}{message}"))
        })?;
        file.read()
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

    /// The secret that keys the hashes: `PALISADE_SECRET` where the environment has it and it is not empty, else the content of
    /// `store.secret_file`, else none.
    ///
    /// Without one, use [`Secret::random`]: it serves a single process, but processes that share a store must share
    /// the secret too.
    ///
    /// # Errors
    /// A file that cannot be read, or a secret of less than 16 bytes.
    pub fn secret(&self) -> Result<Option<Secret>, ConfigError> {
        let given = std::env::var_os("PALISADE_SECRET").filter(|secret| !secret.is_empty());
        if let Some(secret) = given {
            let bytes = secret.as_encoded_bytes();
            return if bytes.len() < Secret::LEAST {
                Err(ConfigError::without_value(
                    "PALISADE_SECRET",
                    Secret::ALLOWED,
                ))
            } else {
                Ok(Some(Secret::from_bytes(bytes)))
            };
        }
        let file = self.store.secret_file.as_deref();
        file.map(|path| Secret::from_file("store.secret_file", path))
            .transpose()
    }

    /// The secret before that one, by which tokens of sessions are valid too; none unless `sessions.previous_secret_file` says.
    pub(crate) fn previous_secret(&self) -> Result<Option<Secret>, ConfigError> {
        let sessions = self.sessions.as_ref();
        let file = sessions.and_then(|sessions| sessions.previous_secret_file.as_deref());
        file.map(|path| Secret::from_file("sessions.previous_secret_file", path))
            .transpose()
    }
}
