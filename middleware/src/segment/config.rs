//! `[segments]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

use std::time::Duration;

use super::{Criteria, Keeping};

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

#[cfg(feature = "serde")]
mod section {
    use std::time::Duration;

    use serde::Deserialize;

    use super::SegmentsConfig;
    use crate::ConfigError;
    use crate::model::section::{Section, duration, in_range};

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
        enabled: Option<bool>,
    }

    impl Section for SegmentsConfig {
        type Written = Segments;

        const KEYS: &'static [&'static str] = &[
            "retention",
            "vip_spend",
            "vip_orders",
            "at_risk_after",
            "churned_after",
            "currency",
            "sweep_every",
            "enabled",
        ];

        fn read(written: Segments) -> Result<Self, ConfigError> {
            let mut config = Self::default();
            config.enabled = written.enabled.unwrap_or(config.enabled);
            let mut criteria = config.criteria;
            for (key, text, value) in [
                ("retention", &written.retention, &mut config.retention),
                (
                    "at_risk_after",
                    &written.at_risk_after,
                    &mut criteria.at_risk_after,
                ),
                (
                    "churned_after",
                    &written.churned_after,
                    &mut criteria.churned_after,
                ),
                ("sweep_every", &written.sweep_every, &mut config.sweep_every),
            ] {
                if let Some(text) = text {
                    *value = duration(key, text)?;
                }
            }
            if criteria.churned_after <= criteria.at_risk_after {
                let (value, allowed) = (
                    written.at_risk_after.unwrap_or_else(|| "30d".into()),
                    "less than `segments.churned_after`",
                );
                return Err(ConfigError::new("at_risk_after", value, allowed));
            }
            if config.retention <= criteria.churned_after {
                let (value, allowed) = (
                    written.retention.unwrap_or_else(|| "400d".into()),
                    "more than `segments.churned_after`",
                );
                return Err(ConfigError::new("retention", value, allowed));
            }
            if let Some(text) = written.sweep_every
                && !(Duration::from_secs(1)..=Duration::from_secs(3_600))
                    .contains(&config.sweep_every)
            {
                let allowed = "a duration of `1s` to `1h`";
                return Err(ConfigError::new("sweep_every", text, allowed));
            }
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
            config.criteria = criteria;
            Ok(config)
        }
    }
}
