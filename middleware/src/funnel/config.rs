//! `[funnel]` of the configuration.

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
    /// As the service decides; see [`StackBuilder::visitors`](crate::stack::StackBuilder::visitors).
    #[default]
    Unsaid,
    /// They are not, and nothing is kept of them.
    Off,
    /// Once in a window of this length, 1 minute to 30 days.
    Within(Duration),
}
