//! `[rate_limit]` of the configuration.

use crate::model::Exemptions;
use crate::rate_limit::{Headers, Policy};

/// The limits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// The policies: `ip`, `user`, then any others by name.
    pub policies: Vec<Policy>,
    /// Who and what meets none of them.
    pub exempt: Exemptions,
    /// Which headers responses carry.
    pub headers: Headers,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            policies: vec![Policy::ip(), Policy::user()],
            exempt: Exemptions::new(),
            headers: Headers::default(),
        }
    }
}
