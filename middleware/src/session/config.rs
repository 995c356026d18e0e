//! `[sessions]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use super::store::{Keeping, OnMax};
use super::{Lifetime, origin};
use crate::ConfigError;
use crate::model::{RouteFilter, Written};

/// How sessions are carried, how long they last, and what becomes of them when something fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionsConfig {
    /// Whether browsers hold the token as a cookie; otherwise it comes as `Authorization: Bearer` alone.
    pub cookie: bool,
    /// Whether the cookie is named `session` and goes over plain HTTP: for a service on a loopback address alone.
    pub insecure_cookie: bool,
    /// How long a session lasts.
    pub lifetime: Lifetime,
    /// How long one lasts whose user asked to be remembered.
    pub remember: Lifetime,
    /// How often activity is noted, at most.
    pub touch_every: Duration,
    /// How many sessions of a user may live, 1 to 1,000.
    pub max_per_user: u16,
    /// What becomes of one more.
    pub on_max: OnMax,
    /// What becomes of a request whose session the store cannot prove.
    pub on_store_failure: OnStoreFailure,
    /// How long after its last proof a session goes on without the store, by [`OnStoreFailure::Known`].
    pub known_for: Duration,
    /// What becomes of the sessions of a client that is convicted.
    pub on_conviction: OnConviction,
    /// Origins of other sites that may send the cookie, such as `https://app.example.com`.
    pub allowed_origins: Vec<String>,
    /// Routes on which limits and bans take a user for nobody, so that who stole a token cannot keep its user from ending the
    /// session by spending the user's quota, or by having the user banned. The address pays, and the session is proved.
    pub by_address: Vec<RouteFilter>,
    /// The file of the service's secret before the one of `store.secret_file`: its tokens are valid too.
    pub previous_secret_file: Option<PathBuf>,
    /// The file of the token by which operators list and end sessions; without it they cannot.
    pub operator_token_file: Option<PathBuf>,
}

/// What becomes of a request whose session cannot be proved, because the store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// A session that this process proved a short time ago goes on; any other is refused with 503.
    #[default]
    Known,
    /// It is refused with 503.
    Closed,
    /// It goes on without a session.
    Anonymous,
}

impl OnStoreFailure {
    /// How configuration files and logs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Closed => "closed",
            Self::Anonymous => "anonymous",
        }
    }
}

/// What becomes of the sessions that a client created before it was banned for trying credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum OnConviction {
    /// They are told as security events.
    #[default]
    Alert,
    /// They are ended too.
    Terminate,
}

impl OnConviction {
    /// How configuration files and logs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Terminate => "terminate",
        }
    }
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3_600)
}

/// Where a user sees and ends the sessions of its own.
const BY_ADDRESS: [&str; 3] = [
    "/api/v1/users/me/sessions",
    "/api/v1/users/me/sessions/*",
    "POST /profiles/me/logout",
];

impl Default for SessionsConfig {
    fn default() -> Self {
        let Keeping {
            touch_every,
            max_per_user,
            on_max,
        } = Keeping::new();
        Self {
            cookie: true,
            insecure_cookie: false,
            lifetime: Lifetime {
                idle: Duration::from_secs(1_800),
                absolute: hours(12),
            },
            remember: Lifetime {
                idle: hours(14 * 24),
                absolute: hours(90 * 24),
            },
            touch_every,
            max_per_user,
            on_max,
            on_store_failure: OnStoreFailure::default(),
            known_for: Duration::from_secs(60),
            on_conviction: OnConviction::default(),
            allowed_origins: Vec::new(),
            by_address: BY_ADDRESS
                .iter()
                .filter_map(|route| route.parse().ok())
                .collect(),
            previous_secret_file: None,
            operator_token_file: None,
        }
    }
}

impl SessionsConfig {
    /// What the store needs of it.
    pub(super) fn keeping(&self) -> Keeping {
        Keeping {
            touch_every: self.touch_every,
            max_per_user: self.max_per_user,
            on_max: self.on_max,
        }
    }

    /// # Errors
    /// The first setting that cannot be used.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let refused = |key: &str, value: Duration, allowed: &str| {
            let value = Written(value);
            Err(ConfigError::new(key, value, allowed))
        };
        let range = Lifetime::LEAST..=Lifetime::MOST;
        let default = Self::default();
        for (section, life, default) in [
            ("", self.lifetime, default.lifetime),
            ("remember.", self.remember, default.remember),
        ] {
            let key = |name| format!("{section}{name}");
            if !range.contains(&life.idle) {
                return refused(&key("idle"), life.idle, "a duration of 1s to 400d");
            }
            if !range.contains(&life.absolute) {
                return refused(&key("absolute"), life.absolute, "a duration of 1s to 400d");
            }
            if life.idle > life.absolute {
                // The one that somebody wrote is named.
                let (idle, absolute) = (key("idle"), key("absolute"));
                if life.idle == default.idle {
                    let least = Written(life.idle);
                    let allowed = format!("a duration of `{idle}`, which is {least}, to 400d");
                    return refused(&absolute, life.absolute, &allowed);
                }
                let most = Written(life.absolute);
                let allowed = format!("a duration of 1s to `{absolute}`, which is {most}");
                return refused(&idle, life.idle, &allowed);
            }
            if self.touch_every >= life.idle {
                let allowed = format!("less than `{}`", key("idle"));
                return refused("touch_every", self.touch_every, &allowed);
            }
        }
        if self.touch_every < Duration::from_secs(1) {
            return refused("touch_every", self.touch_every, "a duration of at least 1s");
        }
        if !(1..=1_000).contains(&self.max_per_user) {
            return Err(ConfigError::new(
                "max_per_user",
                self.max_per_user,
                "1 to 1000 sessions",
            ));
        }
        let known = Duration::from_secs(1)..=Duration::from_secs(3_600);
        if !known.contains(&self.known_for) {
            return refused("known_for", self.known_for, "a duration of 1s to 1h");
        }
        if self.insecure_cookie && !self.cookie {
            let allowed = "false, since `cookie = false` sends no cookie";
            return Err(ConfigError::new("insecure_cookie", true, allowed));
        }
        match self
            .allowed_origins
            .iter()
            .find(|it| !origin::is_origin(it))
        {
            None => Ok(()),
            Some(it) => Err(ConfigError::new("allowed_origins", it, origin::ALLOWED)),
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::{OnConviction, OnStoreFailure, SessionsConfig};
    use crate::ConfigError;
    use crate::model::section::{
        Keys, ROUTES, Section, Takes, duration, in_range, named_if_any, routes,
    };
    use crate::session::store::OnMax;

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Sessions {
        cookie: Option<bool>,
        insecure_cookie: Option<bool>,
        idle: Option<String>,
        absolute: Option<String>,
        remember: Remember,
        touch_every: Option<String>,
        max_per_user: Option<i64>,
        #[serde(deserialize_with = "named_if_any")]
        on_max: Option<Max>,
        #[serde(deserialize_with = "named_if_any")]
        on_store_failure: Option<OnStoreFailure>,
        known_for: Option<String>,
        #[serde(deserialize_with = "named_if_any")]
        on_conviction: Option<OnConviction>,
        allowed_origins: Vec<String>,
        by_address: Option<Vec<String>>,
        previous_secret_file: Option<PathBuf>,
        operator_token_file: Option<PathBuf>,
    }

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Remember {
        idle: Option<String>,
        absolute: Option<String>,
    }

    #[derive(Deserialize, Clone, Copy)]
    #[serde(rename_all = "snake_case")]
    enum Max {
        EvictOldest,
        Deny,
        Alert,
    }

    impl Section for SessionsConfig {
        type Written = Sessions;

        const KEYS: Keys = &[
            ("cookie", Takes::Flag),
            ("insecure_cookie", Takes::Flag),
            ("idle", Takes::Text("a duration of 1s to 400d")),
            ("absolute", Takes::Text("a duration of 1s to 400d")),
            (
                "remember",
                Takes::Table("a table such as `{ idle = \"14d\", absolute = \"90d\" }`"),
            ),
            ("touch_every", Takes::Text("a duration such as `1m`")),
            (
                "max_per_user",
                Takes::Number("a whole number from 1 to 1000 sessions"),
            ),
            ("on_max", Takes::Said),
            ("on_store_failure", Takes::Said),
            ("known_for", Takes::Text("a duration of 1s to 1h")),
            ("on_conviction", Takes::Said),
            (
                "allowed_origins",
                Takes::Texts("origins such as `https://app.example.com`"),
            ),
            ("by_address", ROUTES),
            ("previous_secret_file", Takes::Text("the path of a file")),
            ("operator_token_file", Takes::Text("the path of a file")),
        ];

        fn read(written: Sessions) -> Result<Self, ConfigError> {
            let mut settings = Self::default();
            let remember = &mut settings.remember;
            let mut texts = Vec::new();
            for (key, text, value) in [
                ("idle", &written.idle, &mut settings.lifetime.idle),
                (
                    "absolute",
                    &written.absolute,
                    &mut settings.lifetime.absolute,
                ),
                ("remember.idle", &written.remember.idle, &mut remember.idle),
                (
                    "remember.absolute",
                    &written.remember.absolute,
                    &mut remember.absolute,
                ),
                (
                    "touch_every",
                    &written.touch_every,
                    &mut settings.touch_every,
                ),
                ("known_for", &written.known_for, &mut settings.known_for),
            ] {
                if let Some(text) = text {
                    *value = duration(key, text)?;
                    texts.push((key, text));
                }
            }
            if let Some(most) = written.max_per_user {
                settings.max_per_user = in_range("max_per_user", most, 1, 1_000, "sessions")?;
            }
            if let Some(on_max) = written.on_max {
                settings.on_max = match on_max {
                    Max::EvictOldest => OnMax::EvictOldest,
                    Max::Deny => OnMax::Deny,
                    Max::Alert => OnMax::Alert,
                };
            }
            settings.cookie = written.cookie.unwrap_or(settings.cookie);
            settings.insecure_cookie = written.insecure_cookie.unwrap_or_default();
            settings.on_store_failure = written.on_store_failure.unwrap_or_default();
            settings.on_conviction = written.on_conviction.unwrap_or_default();
            settings.allowed_origins = written.allowed_origins;
            if let Some(named) = written.by_address {
                settings.by_address = routes("by_address", &named)?;
            }
            let file = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
            settings.previous_secret_file = file(written.previous_secret_file);
            settings.operator_token_file = file(written.operator_token_file);
            match settings.validate() {
                Ok(()) => Ok(settings),
                Err(error) => Err(match texts.iter().find(|(key, _)| *key == error.key()) {
                    Some((_, text)) => error.of_written(text),
                    None => error,
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        let default = SessionsConfig::default();
        assert_eq!(default.validate(), Ok(()));
        assert_eq!(default.by_address.len(), BY_ADDRESS.len());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        use crate::config::Config;
        let read = |text: &str| Config::from_toml(&format!("[sessions]\n{text}"));
        let refused = |text: &str| read(text).unwrap_err().to_string();
        for (text, error) in [
            (
                "idle = '2h'\nabsolute = '1h'",
                "`sessions.idle` cannot be `2h`: allowed is a duration of 1s to `absolute`, which is 1h",
            ),
            (
                "idle = '13h'",
                "`sessions.idle` cannot be `13h`: allowed is a duration of 1s to `absolute`, which is 12h",
            ),
            (
                "remember = { idle = '100d' }",
                "`sessions.remember.idle` cannot be `100d`: allowed is a duration of 1s to `remember.absolute`, which is 90d",
            ),
            (
                "absolute = '10m'",
                "`sessions.absolute` cannot be `10m`: allowed is a duration of `idle`, which is 30m, to 400d",
            ),
            (
                "touch_every = '30m'",
                "`sessions.touch_every` cannot be `30m`: allowed is less than `idle`",
            ),
            (
                "remember = { idle = '401d' }",
                "`sessions.remember.idle` cannot be `401d`: allowed is a duration of 1s to 400d",
            ),
            (
                "max_per_user = 0",
                "`sessions.max_per_user` cannot be `0`: allowed is a whole number from 1 to 1000 sessions",
            ),
            (
                "known_for = '2h'",
                "`sessions.known_for` cannot be `2h`: allowed is a duration of 1s to 1h",
            ),
            (
                "cookie = false\ninsecure_cookie = true",
                "`sessions.insecure_cookie` cannot be `true`: allowed is false, since `cookie = false` sends no cookie",
            ),
            (
                "allowed_origins = ['https://a.example/']",
                "`sessions.allowed_origins` cannot be `https://a.example/…`: allowed is origins as browsers send them, such as \
                 `https://app.example.com` or `http://localhost:8080`: http or https, a host, and a port unless it is the \
                 scheme's own; no path, no `*`, and names of other letters as `xn--…`",
            ),
        ] {
            assert_eq!(refused(text), error);
        }
        for origin in [
            "https://:",
            ":443",
            "*",
            "https://*.example",
            "https://a.example:443",
        ] {
            let told =
                format!("`sessions.allowed_origins` cannot be `{origin}`: allowed is origins");
            let said = refused(&format!(
                "allowed_origins = ['https://b.example', '{origin}']"
            ));
            assert!(said.starts_with(&told), "{said}");
        }
        assert!(refused("on_max = 'evict'").contains("evict_oldest"));
        let config = read("on_max = 'deny'\nidle = '10m'\nmax_per_user = 3").unwrap();
        let sessions = config.sessions.unwrap();
        assert_eq!(sessions.on_max, OnMax::Deny);
        assert_eq!(sessions.max_per_user, 3);
        assert_eq!(sessions.lifetime.idle, Duration::from_secs(600));
        assert_eq!(Config::default().sessions, None);
    }
}
