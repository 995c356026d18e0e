use std::fmt;
use std::path::{Path, PathBuf};

use super::credentials::without_credentials;

/// A setting that cannot be used: names the setting, the value and what is allowed, and the file where there is
/// one.
///
/// Returned by builders and by the configuration file's reader at start; no request ever meets one.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: Option<PathBuf>,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Value {
        key: String,
        value: Option<String>,
        allowed: String,
    },
    /// A file that cannot be read at all; the text says where and why.
    #[cfg(feature = "serde")]
    File(String),
}

impl ConfigError {
    pub(crate) fn new(
        key: impl Into<String>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        // A URL with a password may stand at any key.
        let value = Some(without_credentials(value.to_string()));
        Self {
            file: None,
            problem: Problem::Value {
                key: without_credentials(key.into()),
                value,
                allowed: allowed.into(),
            },
        }
    }

    /// An error that must not repeat the value, or has none to repeat.
    pub(crate) fn without_value(key: impl Into<String>, allowed: impl Into<String>) -> Self {
        let problem = Problem::Value {
            key: without_credentials(key.into()),
            value: None,
            allowed: allowed.into(),
        };
        Self {
            file: None,
            problem,
        }
    }

    #[cfg(feature = "serde")]
    pub(crate) fn unreadable(why: impl fmt::Display) -> Self {
        Self {
            file: None,
            problem: Problem::File(why.to_string()),
        }
    }

    /// The same error about a setting further out: `quota` under `rate_limit.policies.ip` and so on.
    #[must_use]
    pub(crate) fn under(mut self, section: &str) -> Self {
        self.key_mut(|key| format!("{section}.{key}"));
        self
    }

    /// The same error about a value as it is written.
    #[cfg(feature = "serde")]
    #[must_use]
    pub(crate) fn of_written(mut self, text: &str) -> Self {
        if let Problem::Value { value, .. } = &mut self.problem {
            *value = Some(without_credentials(text.to_owned()));
        }
        self
    }

    /// The same error about a value that stands under another key.
    #[cfg(feature = "serde")]
    #[must_use]
    pub(crate) fn at(mut self, at: impl Into<String>) -> Self {
        self.key_mut(|_| at.into());
        self
    }

    fn key_mut(&mut self, change: impl FnOnce(&str) -> String) {
        match &mut self.problem {
            Problem::Value { key, .. } => *key = change(key),
            #[cfg(feature = "serde")]
            Problem::File(_) => {}
        }
    }

    /// The same error, in a file.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// The setting, with dots between its sections; empty where a file cannot be read at all.
    #[must_use]
    pub fn key(&self) -> &str {
        match &self.problem {
            Problem::Value { key, .. } => key,
            #[cfg(feature = "serde")]
            Problem::File(_) => "",
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        match &self.problem {
            Problem::Value {
                key,
                value: Some(value),
                allowed,
            } => {
                write!(
                    f,
                    "`{key}` cannot be `{}`: allowed is {allowed}",
                    value.escape_debug()
                )
            }
            Problem::Value {
                key,
                value: None,
                allowed,
            } => {
                write!(f, "`{key}` cannot be used: allowed is {allowed}")
            }
            #[cfg(feature = "serde")]
            Problem::File(why) => f.write_str(why),
        }
    }
}

/// As [`Display`](fmt::Display): a `main` that returns the error prints it in this form.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_main_that_returns_it_prints_what_people_read() {
        let error = ConfigError::new("rate_limit.ip", "0/1m", "`<count>/<duration>`");
        let error = error.in_file(Path::new("palisade.toml"));
        let says =
            "palisade.toml: `rate_limit.ip` cannot be `0/1m`: allowed is `<count>/<duration>`";
        assert_eq!(format!("Error: {error:?}"), format!("Error: {says}"));
        assert_eq!(error.to_string(), says);
    }
}
