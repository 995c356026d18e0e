//! `[funnel]` of the configuration.

#[cfg(all(test, feature = "serde"))]
mod tests;

use std::time::Duration;

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
    /// The file does not say, so [`StackBuilder::visitors`](crate::stack::StackBuilder::visitors) decides: off unless set.
    #[default]
    Unsaid,
    /// They are not, and nothing is kept of them.
    Off,
    /// Once in a window of this length, 1 minute to 30 days.
    Within(Duration),
}

#[cfg(feature = "serde")]
mod section {
    use serde::Deserialize;

    use super::{CountVisitors, FunnelConfig};
    use crate::ConfigError;
    use crate::funnel::Visitors;
    use crate::model::section::{Keys, Section, Takes, duration_within};

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    pub(crate) struct Funnel {
        visitors: Option<String>,
    }

    impl Section for FunnelConfig {
        type Written = Funnel;

        const KEYS: Keys = &[(
            "visitors",
            Takes::Text("a duration of `1m` to `30d`, or `off`"),
        )];

        fn read(written: Funnel) -> Result<Self, ConfigError> {
            let visitors = match written.visitors.as_deref() {
                None => CountVisitors::Unsaid,
                Some("off") => CountVisitors::Off,
                Some(text) => {
                    let range = Visitors::LEAST_WINDOW..=Visitors::MOST_WINDOW;
                    let allowed = "a duration of `1m` to `30d`, or `off`";
                    CountVisitors::Within(duration_within("visitors", text, range, allowed)?)
                }
            };
            Ok(Self { visitors })
        }
    }
}
