use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::ConfigError;
use crate::model::{Quota, Written};

/// How many failures in which window are suspicious: `5/5m` is the fifth within five minutes.
///
/// Windows are half open, as those of a [`Quota`]: a failure at `h` counts in every window `(t-w, t]` that holds `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Threshold {
    count: u32,
    window_micros: u64,
}

impl Threshold {
    /// The highest count. So many failures are kept for each client, at five bytes each.
    pub const MAX_COUNT: u32 = 1_000;

    pub(crate) const ALLOWED: &str = "`<count>/<duration>`, such as `5/5m`: a count of 1 to 1000 and a duration of 1s to 24h (`1s`, \
                           `1m`, `1h30m`, or `s`, `m`, `min`, `h`, `d` alone)";

    /// A threshold of `count` failures within `window`, cut to whole microseconds.
    ///
    /// # Errors
    /// A count outside 1 to 1,000 or a window outside 1 s to 24 h.
    pub fn new(count: u32, window: Duration) -> Result<Self, ConfigError> {
        let refused = || {
            let value = format!("{count}/{}", Written(window));
            ConfigError::new("threshold", value, Self::ALLOWED)
        };
        let quota = Quota::new(count, window).map_err(|_| refused())?;
        Self::within(quota).ok_or_else(refused)
    }

    fn within(quota: Quota) -> Option<Self> {
        (quota.limit() <= Self::MAX_COUNT).then(|| Self {
            count: quota.limit(),
            window_micros: quota.window_micros(),
        })
    }

    /// For the defaults.
    pub(super) const fn of(count: u32, window_seconds: u64) -> Self {
        Self {
            count,
            window_micros: window_seconds * 1_000_000,
        }
    }

    /// Which failure of a window is the suspicious one.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The window's length, in whole microseconds.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window_micros)
    }

    /// The window's length in microseconds.
    pub(crate) const fn window_micros(&self) -> u64 {
        self.window_micros
    }
}

impl FromStr for Threshold {
    type Err = ConfigError;

    /// Reads `<count>/<duration>`.
    ///
    /// # Errors
    /// Any other form, and a count or a window out of range.
    ///
    /// ```
    /// use palisade::suspicion::Threshold;
    ///
    /// let threshold: Threshold = "5/5m".parse().unwrap();
    /// assert_eq!((threshold.count(), threshold.window().as_secs()), (5, 300));
    /// assert!("1001/5m".parse::<Threshold>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let quota = text.parse().ok();
        quota
            .and_then(Self::within)
            .ok_or_else(|| ConfigError::new("threshold", text, Self::ALLOWED))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = Written(self.window());
        write!(f, "{}/{window}", self.count)
    }
}
