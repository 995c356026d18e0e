//! `[segments]` of the configuration.

use std::time::Duration;

use crate::segment::{Criteria, Keeping};

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
