use std::time::{Duration, Instant, SystemTime};

/// The time of a memory store, since any fixed start.
///
/// It must not run backwards; a reading before an earlier one counts as that earlier one for the same key.
pub trait Clock: Send + Sync + 'static {
    /// The time now, read with the store's locks held: keep it quick.
    fn now(&self) -> Duration;

    /// The same moment as people tell it: the times of a session are told by it, and a provider's are compared with it.
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The process's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock(Instant);

impl Default for MonotonicClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that stands until a test moves it.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Hand(std::sync::Arc<std::sync::atomic::AtomicU64>);

#[cfg(test)]
impl Hand {
    pub(crate) fn set(&self, micros: u64) {
        self.0.store(micros, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, by: Duration) {
        let micros = by.as_micros() as u64;
        self.0
            .fetch_add(micros, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}
