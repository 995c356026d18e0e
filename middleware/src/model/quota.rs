use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::ConfigError;

/// How much may be admitted in a window: `200/1m` is a cost of 200 in every minute.
///
/// Windows are half open: what was admitted at `h` counts in every window `(t-w, t]` that holds `h`, and has
/// left it at exactly `h + w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: NonZeroU32,
    window_micros: u64,
}

impl Quota {
    /// The largest limit.
    pub const MAX_LIMIT: u32 = 1_000_000;
    /// The highest cost that one request can have; a higher one never fits.
    pub const MAX_COST: u32 = 10_000;
    /// The shortest window.
    pub const MIN_WINDOW: Duration = Duration::from_secs(1);
    /// The longest window: 24 hours.
    pub const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);

    pub(crate) const ALLOWED: &str = "`<count>/<duration>`, such as `200/1m`: a count of 1 to 1000000 and a duration of \
                           1s to 24h (`1s`, `1m`, `1h30m`, or `s`, `m`, `min`, `h`, `d` alone)";

    /// A quota of `limit` in each `window`, cut to whole microseconds.
    ///
    /// # Errors
    /// A limit outside 1 to 1,000,000 or a window outside 1 s to 24 h.
    pub fn new(limit: u32, window: Duration) -> Result<Self, ConfigError> {
        let refused = || {
            ConfigError::new(
                "quota",
                format!("{limit}/{}", super::Written(window)),
                Self::ALLOWED,
            )
        };
        let limit = NonZeroU32::new(limit)
            .filter(|limit| limit.get() <= Self::MAX_LIMIT)
            .ok_or_else(refused)?;
        if !(Self::MIN_WINDOW..=Self::MAX_WINDOW).contains(&window) {
            return Err(refused());
        }
        // At most 86,400,000,000, so the cast loses nothing.
        Ok(Self {
            limit,
            window_micros: window.as_micros() as u64,
        })
    }

    /// `limit` in each minute, for the defaults and for tests.
    pub(crate) const fn per_minute(limit: NonZeroU32) -> Self {
        Self {
            limit,
            window_micros: 60_000_000,
        }
    }

    /// The highest cost of a request that can ever fit.
    pub(crate) const fn highest_cost(&self) -> u32 {
        let limit = self.limit.get();
        if limit < Self::MAX_COST {
            limit
        } else {
            Self::MAX_COST
        }
    }

    /// How much cost fits in one window.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit.get()
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

impl FromStr for Quota {
    type Err = ConfigError;

    /// Reads `<count>/<duration>`.
    ///
    /// # Errors
    /// Any other form, and a count or a window out of range.
    ///
    /// ```
    /// use palisade::rate_limit::Quota;
    ///
    /// let quota: Quota = "200/1m".parse().unwrap();
    /// assert_eq!((quota.limit(), quota.window().as_secs()), (200, 60));
    /// assert!("0/1m".parse::<Quota>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::new("quota", text, Self::ALLOWED);
        let (count, window) = text.split_once('/').ok_or_else(refused)?;
        let (count, window) = (count.trim(), window.trim());
        if !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let count = count.parse().map_err(|_| refused())?;
        let window = match window {
            "s" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(24 * 3600),
            window => humantime::parse_duration(window).map_err(|_| refused())?,
        };
        Self::new(count, window).map_err(|_| refused())
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.limit, super::Written(self.window()))
    }
}
