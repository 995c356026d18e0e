//! `[segments]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use super::{Criteria, Keeping};

/// Which kind of customer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentsConfig {
    /// Whether segments are on. A `[segments]` section turns them on, unless it says `enabled = false`.
    pub enabled: bool,
    /// How long a customer is kept after the last change.
    pub retention: Duration,
    /// Where the segments begin.
    pub criteria: Criteria,
    /// How often the population is counted.
    pub sweep_every: Duration,
    /// The file for what the store has not taken at the end of the process.
    pub spill_file: Option<PathBuf>,
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
            spill_file: None,
        }
    }
}

#[cfg(feature = "serde")]
mod section {
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::{Keeping, SegmentsConfig};
    use crate::ConfigError;
    use crate::model::section::{Keys, Section, Takes, duration, in_range};

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Segments {
        retention: Option<String>,
        vip_spend: Option<i64>,
        vip_orders: Option<i64>,
        at_risk_after: Option<String>,
        churned_after: Option<String>,
        currency: Option<String>,
        sweep_every: Option<String>,
        spill_file: Option<PathBuf>,
        enabled: Option<bool>,
    }

    impl Section for SegmentsConfig {
        type Written = Segments;

        const KEYS: Keys = &[
            ("retention", Takes::Text("a duration such as `400d`")),
            (
                "vip_spend",
                Takes::Number("a whole number of minor units, such as `50000`"),
            ),
            ("vip_orders", Takes::Number("a whole number, such as `5`")),
            ("at_risk_after", Takes::Text("a duration such as `30d`")),
            ("churned_after", Takes::Text("a duration such as `90d`")),
            ("currency", Takes::Text("an ISO 4217 code such as `USD`")),
            ("sweep_every", Takes::Text("a duration of `1s` to `1h`")),
            ("spill_file", Takes::Text("the path of a file")),
            ("enabled", Takes::Flag),
        ];

        fn read(written: Segments) -> Result<Self, ConfigError> {
            let mut keeping = Keeping::new();
            for (key, text, value) in [
                ("retention", &written.retention, &mut keeping.retention),
                (
                    "at_risk_after",
                    &written.at_risk_after,
                    &mut keeping.criteria.at_risk_after,
                ),
                (
                    "churned_after",
                    &written.churned_after,
                    &mut keeping.criteria.churned_after,
                ),
                (
                    "sweep_every",
                    &written.sweep_every,
                    &mut keeping.sweep_every,
                ),
            ] {
                if let Some(text) = text {
                    *value = duration(key, text)?;
                }
            }
            // Refused here too, so that the error has what is written, and a section that is off is checked.
            if let Some((key, _, allowed)) = keeping.refused("segments.") {
                let (text, default) = match key {
                    "at_risk_after" => (written.at_risk_after, "30d"),
                    "retention" => (written.retention, "400d"),
                    _ => (written.sweep_every, "15s"),
                };
                let text = text.as_deref().unwrap_or(default);
                return Err(ConfigError::new(key, text, allowed));
            }
            let mut criteria = keeping.criteria;
            if let Some(spend) = written.vip_spend {
                criteria.vip_spend = in_range("vip_spend", spend, 0, i64::MAX, "")?;
            }
            if let Some(orders) = written.vip_orders {
                criteria.vip_orders = in_range("vip_orders", orders, 0, i64::MAX, "")?;
            }
            if let Some(code) = written.currency {
                criteria.currency = code
                    .parse()
                    .map_err(|error: ConfigError| error.at("currency"))?;
            }
            Ok(Self {
                enabled: written.enabled.unwrap_or(true),
                retention: keeping.retention,
                criteria,
                sweep_every: keeping.sweep_every,
                spill_file: written.spill_file,
            })
        }
    }
}
