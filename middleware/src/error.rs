use std::fmt;

/// A setting that cannot be used: names the setting, the value and what is allowed.
///
/// Returned by builders and by the configuration file's reader at start; no request ever meets one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    key: String,
    value: String,
    allowed: String,
}

impl ConfigError {
    pub(crate) fn new(
        key: impl Into<String>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    /// The same error about a setting further out: `quota` under `rate_limit.policies.ip` and so on.
    #[must_use]
    pub(crate) fn under(mut self, section: &str) -> Self {
        self.key = format!("{section}.{}", self.key);
        self
    }

    /// The setting, with dots between its sections.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` cannot be `{}`: allowed is {}",
            self.key,
            self.value.escape_debug(),
            self.allowed
        )
    }
}

impl std::error::Error for ConfigError {}
