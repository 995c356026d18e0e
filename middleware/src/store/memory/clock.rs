use std::time::{Duration, Instant};

/// The time of a memory store, since any fixed start.
///
/// It must not run backwards; a reading before an earlier one counts as that earlier one for the same key.
pub trait Clock: Send + Sync + 'static {
    /// The time now, read with the store's locks held: keep it quick.
    fn now(&self) -> Duration;
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
