//! `[log]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

/// The access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogConfig {
    /// How many lines of the [access log](crate::observe::AccessLog) are written in a second for each class: 1 to 1,000, or
    /// 0 for none. `None` if the file does not say; a stack then writes none, and the service may set a number.
    pub access: Option<u16>,
}

#[cfg(feature = "serde")]
mod section {
    use serde::Deserialize;

    use super::LogConfig;
    use crate::ConfigError;
    use crate::model::section::{Keys, Section, Takes, shown};
    use crate::observe::AccessLog;

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Log {
        access: Option<toml::Value>,
    }

    impl Section for LogConfig {
        type Written = Log;

        const KEYS: Keys = &[("access", Takes::Said)];

        fn read(log: Log) -> Result<Self, ConfigError> {
            let access = log.access.map(|value| {
                let lines = match &value {
                    toml::Value::String(text) if text == "off" => Some(0),
                    toml::Value::Integer(lines) => u16::try_from(*lines).ok(),
                    _ => None,
                };
                let lines = lines.filter(|lines| *lines <= AccessLog::MOST_LINES);
                let allowed = "a whole number from 0 to 1000 lines in a second, or `off`";
                lines.ok_or_else(|| ConfigError::new("access", written(&value), allowed))
            });
            Ok(Self {
                access: access.transpose()?,
            })
        }
    }

    fn written(value: &toml::Value) -> String {
        match value {
            toml::Value::Array(_) | toml::Value::Table(_) | toml::Value::Datetime(_) => {
                value.type_str().to_owned()
            }
            other => shown(other),
        }
    }
}
