use crate::model::RouteFilter;

use super::Threshold;

/// How a kind is counted: when it is suspicious, what is told apart, and on which routes.
///
/// ```
/// use palisade::suspicion::Watch;
///
/// let logins = Watch::new("5/5m".parse()?).distinct(false).routes(["POST /login".parse()?]);
/// assert_eq!(logins.routes.len(), 1);
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Watch {
    /// How many in which window.
    pub threshold: Threshold,
    /// Whether distinct things are counted (paths of 404s, credentials of 401s) rather than failures. Unless it is said,
    /// incidents count failures, and bans count distinct things.
    pub distinct: Option<bool>,
    /// The routes whose failures count; all if there are none.
    pub routes: Vec<RouteFilter>,
}

impl Watch {
    /// A kind that is suspicious at this threshold, on all routes.
    pub const fn new(threshold: Threshold) -> Self {
        Self {
            threshold,
            distinct: None,
            routes: Vec::new(),
        }
    }

    /// Counts distinct things, or else failures, for incidents and bans alike.
    pub fn distinct(mut self, distinct: bool) -> Self {
        self.distinct = Some(distinct);
        self
    }

    /// Counts failures on these routes alone.
    pub fn routes(mut self, routes: impl IntoIterator<Item = RouteFilter>) -> Self {
        self.routes = routes.into_iter().collect();
        self
    }
}

impl From<Threshold> for Watch {
    fn from(threshold: Threshold) -> Self {
        Self::new(threshold)
    }
}
