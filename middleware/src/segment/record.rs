use std::time::{Duration, SystemTime};

/// A customer's record. A customer without one is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Record {
    /// When the customer was first seen.
    pub first_activity: Timestamp,
    /// When the customer was last seen.
    pub last_activity: Timestamp,
    /// The sum of the orders less that of the refunds, in minor units of [`Criteria::currency`](super::Criteria); below zero
    /// when refunds came before their orders.
    pub spend: i64,
    /// How many orders were counted; a refund takes none away.
    pub orders: u64,
}

impl Record {
    /// A customer who was seen once and bought nothing.
    #[must_use]
    pub const fn seen(at: Timestamp) -> Self {
        Self {
            first_activity: at,
            last_activity: at,
            spend: 0,
            orders: 0,
        }
    }
}

/// A moment in whole milliseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest moment that every store can hold exactly: 2^53 - 1 ms.
    const LAST: u64 = (1 << 53) - 1;

    /// This number of milliseconds after 1970-01-01 00:00 UTC; a higher one than 2^53 - 1 counts as that.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > Self::LAST {
            Self::LAST
        } else {
            millis
        })
    }

    /// Milliseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This much later.
    pub(super) fn plus(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_millis()).unwrap_or(Self::LAST);
        Self::from_millis(self.0.saturating_add(by))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    /// A moment before 1970 counts as 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        Self::from_millis(since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(Self::LAST)
        }))
    }
}

/// The wall clock by which segments are told; closures implement it.
///
/// It need not be monotonic: a step back makes the cache ask the store again, and a last activity in the future counts
/// as just now.
pub trait WallClock: Send + Sync + 'static {
    /// The time now; read for each request of a known user, so keep it quick.
    fn now(&self) -> SystemTime;
}

impl<F> WallClock for F
where
    F: Fn() -> SystemTime + Send + Sync + 'static,
{
    fn now(&self) -> SystemTime {
        self()
    }
}
