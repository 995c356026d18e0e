//! `[log]`.

use serde::Deserialize;

use crate::ConfigError;
use crate::config::LogConfig;
use crate::observe::AccessLog;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    access: Option<toml::Value>,
}

impl Log {
    pub(super) fn validate(self) -> Result<LogConfig, ConfigError> {
        let access = self.access.map(|value| {
            let lines = match &value {
                toml::Value::String(text) if text == "off" => Some(0),
                toml::Value::Integer(lines) => u16::try_from(*lines).ok(),
                _ => None,
            };
            let lines = lines.filter(|lines| *lines <= AccessLog::MOST_LINES);
            let allowed = "a whole number from 0 to 1000 lines in a second, or `off`";
            lines.ok_or_else(|| ConfigError::new("log.access", written(&value), allowed))
        });
        Ok(LogConfig {
            access: access.transpose()?,
        })
    }
}

fn written(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        other => other.type_str().to_owned(),
    }
}
