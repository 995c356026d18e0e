//! What a room writes into the log when its store fails and when the store works again: once for each change.

use std::error::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::rate_limit::{StoreError, StoreErrorKind};

/// A store, as one room uses it, that may fail for a time.
///
/// Invariant: the two lines alternate, that of a failure first, and the store worked for at least
/// [`Fallback::QUIET`] without a failure before it is said to work again. So a store that fails at every other call is
/// written of once.
#[derive(Debug)]
pub(crate) struct Fallback {
    /// When it last failed, in milliseconds of this process's clock, which begins at 1; 0 while it works.
    failed: AtomicU64,
    tell_failed: fn(&StoreError, cause: Option<String>),
    tell_restored: fn(),
}

impl Fallback {
    /// How long nothing may have failed before a success is news.
    pub(crate) const QUIET: Duration = Duration::from_secs(5);

    /// `tell_failed` and `tell_restored` write the lines.
    pub(crate) const fn new(
        tell_failed: fn(&StoreError, cause: Option<String>),
        tell_restored: fn(),
    ) -> Self {
        Self {
            failed: AtomicU64::new(0),
            tell_failed,
            tell_restored,
        }
    }

    /// Heeds the answer to a call.
    pub(crate) fn heed<T>(&self, answer: &Result<T, StoreError>) {
        match answer {
            Ok(_) => self.succeed(),
            Err(error) => self.fail(error),
        }
    }

    /// A call failed. What an open breaker refuses is no news: the breaker tells of itself.
    pub(crate) fn fail(&self, error: &StoreError) {
        if error.kind() != StoreErrorKind::Rejected && self.fail_at(now()) {
            (self.tell_failed)(error, error.source().map(ToString::to_string));
        }
    }

    /// A call was answered.
    pub(crate) fn succeed(&self) {
        // A load keeps the line shared between cores.
        let failed = self.failed.load(Ordering::Relaxed);
        if failed != 0 && self.succeed_at(failed, now()) {
            (self.tell_restored)();
        }
    }

    fn fail_at(&self, now: u64) -> bool {
        self.failed.swap(now, Ordering::Relaxed) == 0
    }

    fn succeed_at(&self, failed: u64, now: u64) -> bool {
        u128::from(now.saturating_sub(failed)) >= Self::QUIET.as_millis()
            && self
                .failed
                .compare_exchange(failed, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Milliseconds of this process's clock, which begins at 1.
pub(crate) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn silent() -> Fallback {
        Fallback::new(|_, _| {}, || {})
    }

    impl Fallback {
        fn works_at(&self, now: u64) -> bool {
            let failed = self.failed.load(Ordering::Relaxed);
            failed != 0 && self.succeed_at(failed, now)
        }
    }

    #[test]
    fn the_first_failure_and_the_first_success_after_a_quiet_time_are_news() {
        let fallback = silent();
        assert!(!fallback.works_at(1), "it always worked");
        assert!(fallback.fail_at(10));
        assert!(!fallback.fail_at(11));
        assert!(
            !fallback.works_at(5_010),
            "not quiet since the last failure"
        );
        assert!(fallback.works_at(5_011));
        assert!(!fallback.works_at(5_012));
        assert!(fallback.fail_at(5_013));
    }

    #[test]
    fn what_fails_at_every_other_call_is_news_once() {
        let fallback = silent();
        let news = (1..100_000).filter(|now| fallback.fail_at(*now) | fallback.works_at(*now + 1));
        assert_eq!(news.count(), 1);
    }

    #[test]
    fn by_the_real_clock_too() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let fallback = Fallback::new(
            |error, cause| TOLD.lock().unwrap().push(format!("{error} {cause:?}")),
            || TOLD.lock().unwrap().push("restored".to_owned()),
        );
        let error = |kind| StoreError::new(kind).with_source("why");
        fallback.heed(&Ok(()));
        for kind in [
            StoreErrorKind::Rejected,
            StoreErrorKind::Timeout,
            StoreErrorKind::Failed,
        ] {
            fallback.heed::<()>(&Err(error(kind)));
        }
        fallback.heed(&Ok(()));
        let first = format!("{} Some(\"why\")", error(StoreErrorKind::Timeout));
        assert_eq!(*TOLD.lock().unwrap(), [first]);
    }
}
