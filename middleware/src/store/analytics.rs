//! How much of a shared store analytics may take.

use std::fmt;
use std::str::FromStr;

use crate::ConfigError;

/// What comes after limits and bans in a shared store, each kind with a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Analytics {
    /// How far visitors came in the funnel.
    Visitors,
    /// What clients failed at.
    Failures,
    /// The records of customers.
    Customers,
}

impl Analytics {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Visitors, Self::Failures, Self::Customers];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visitors => "visitors",
            Self::Failures => "failures",
            Self::Customers => "customers",
        }
    }

    /// Its part of [`AnalyticsMemory`].
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub(crate) const fn quarters(self) -> u64 {
        match self {
            Self::Visitors | Self::Failures => 1,
            Self::Customers => 2,
        }
    }
}

/// How much of the Redis server's memory visitors, failures and customers may take together, so that limits and bans have the
/// rest. Half of it is for customers, a quarter each for visitors and failures.
///
/// ```
/// use palisade::store::AnalyticsMemory;
///
/// let share: AnalyticsMemory = "50%".parse()?;
/// assert_eq!(share, AnalyticsMemory::default());
/// let bytes: AnalyticsMemory = "64mb".parse()?;
/// assert_eq!(bytes.to_string(), "67108864b");
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnalyticsMemory(Amount);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Percent(u8),
    Bytes(u64),
}

impl AnalyticsMemory {
    /// Of a server that has no `maxmemory`, or does not tell it.
    pub const UNBOUNDED: u64 = 1 << 30;
    /// Of any server.
    pub const LEAST: u64 = 1 << 20;
    const ALLOWED: &str = "a share of the server's maxmemory, `1%` to `90%`, or `1mb` to `1024gb`";

    /// The bytes for all kinds together, where the server's `maxmemory` is this; 0 for none.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub(crate) fn bytes(self, maxmemory: u64) -> u64 {
        match self.0 {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(_) if maxmemory == 0 => Self::UNBOUNDED,
            Amount::Percent(percent) => (maxmemory / 100 * u64::from(percent)).max(Self::LEAST),
        }
    }

    /// Whether the server's `maxmemory` matters.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub(crate) fn is_share(self) -> bool {
        matches!(self.0, Amount::Percent(_))
    }
}

impl Default for AnalyticsMemory {
    fn default() -> Self {
        Self(Amount::Percent(50))
    }
}

impl FromStr for AnalyticsMemory {
    type Err = ConfigError;

    /// Reads `50%`, or as Redis does, `67108864b`, `65536kb`, `64mb`, `1gb`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::new("analytics_memory", text, Self::ALLOWED);
        let end = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(end.unwrap_or(text.len()));
        let number: u64 = number.parse().map_err(|_| refused())?;
        let shift = match unit {
            "%" if (1..=90).contains(&number) => {
                // At most 90.
                return Ok(Self(Amount::Percent(number as u8)));
            }
            "b" => 0,
            "kb" => 10,
            "mb" => 20,
            "gb" => 30,
            _ => return Err(refused()),
        };
        let bytes = number.checked_mul(1 << shift).ok_or_else(refused)?;
        if !(Self::LEAST..=1 << 40).contains(&bytes) {
            return Err(refused());
        }
        Ok(Self(Amount::Bytes(bytes)))
    }
}

impl fmt::Display for AnalyticsMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Amount::Percent(percent) => write!(f, "{percent}%"),
            Amount::Bytes(bytes) => write!(f, "{bytes}b"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_share_of_what_the_server_has_or_a_number_of_bytes() {
        let bytes =
            |text: &str, maxmemory| text.parse::<AnalyticsMemory>().unwrap().bytes(maxmemory);
        assert_eq!(bytes("25%", 16 << 20), (16 << 20) / 100 * 25);
        assert_eq!(bytes("25%", 4_000_000), AnalyticsMemory::LEAST);
        assert_eq!(bytes("25%", 0), AnalyticsMemory::UNBOUNDED);
        for text in ["1048576b", "1024kb", "1mb"] {
            assert_eq!(bytes(text, 16 << 20), 1 << 20, "{text}");
        }
        assert_eq!(bytes("1024gb", 0), 1 << 40);
        for text in [
            "",
            "%",
            "0%",
            "91%",
            "-5%",
            "5",
            "1mib",
            "0mb",
            "1kb",
            "1025gb",
            "1.5gb",
            "99999999999999999999b",
            "18446744073709551615gb",
            "1 mb",
        ] {
            let error = text.parse::<AnalyticsMemory>().unwrap_err();
            assert_eq!(error.key(), "analytics_memory", "{text}");
        }
    }
}
