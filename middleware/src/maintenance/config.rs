//! `[maintenance]` of the configuration.

use std::time::Duration;

use crate::model::Exemptions;

/// Whether the service is closed, and for whom it stays open.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MaintenanceConfig {
    /// Whether requests are refused; off unless set.
    pub on: bool,
    /// When refused clients are to come back, 1 s to 7 days; a minute unless set.
    pub retry_after: Duration,
    /// The requests that pass all the same; none unless set.
    pub exempt: Exemptions,
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        Self {
            on: false,
            retry_after: Duration::from_secs(60),
            exempt: Exemptions::new(),
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use serde::Deserialize;

    use super::MaintenanceConfig;
    use crate::ConfigError;
    use crate::model::section::{
        EXEMPT, Exempt, Keys, NETWORKS, PRESET, ROUTES, Section, Takes, USERS, duration, named,
    };

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Maintenance {
        #[serde(deserialize_with = "named")]
        mode: Mode,
        retry_after: Option<String>,
        exempt: Exempt,
    }

    #[derive(Deserialize, Default, PartialEq, Eq)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Off,
        On,
    }

    impl Section for MaintenanceConfig {
        type Written = Maintenance;

        const KEYS: Keys = &[
            ("mode", Takes::Said),
            ("retry_after", Takes::Text("a duration of 1s to 7d")),
            ("exempt", EXEMPT),
            ("cidrs", NETWORKS),
            ("users", USERS),
            ("routes", ROUTES),
            ("preset", PRESET),
        ];

        fn read(written: Maintenance) -> Result<Self, ConfigError> {
            let mut settings = Self {
                on: written.mode == Mode::On,
                exempt: written.exempt.read()?,
                ..Self::default()
            };
            if let Some(text) = &written.retry_after {
                settings.retry_after = duration("retry_after", text)?;
            }
            Ok(settings)
        }
    }
}
