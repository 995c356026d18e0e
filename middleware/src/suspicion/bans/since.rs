//! The time since a layer's start.

use std::time::Duration;
#[cfg(not(test))]
use std::time::Instant;

#[cfg(not(test))]
pub(super) struct Since(Instant);

#[cfg(not(test))]
impl Since {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Stands until a test moves it.
#[cfg(test)]
pub(super) struct Since(std::sync::Mutex<Duration>);

#[cfg(test)]
impl Since {
    pub(super) fn start() -> Self {
        Self(std::sync::Mutex::default())
    }

    pub(super) fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}
