//! A room's lines for the failure and the return of its store: one for each change.

use std::error::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::model::{StoreError, StoreErrorKind};

/// A store, as one room uses it, that may fail for a time.
///
/// Invariant: the two lines alternate, that of a failure first, and the store worked for at least
/// [`Fallback::QUIET`] without a failure before it is said to work again; what an open breaker refused is no failure. So a
/// store that fails at every other call is written of once.
#[derive(Debug, Default)]
pub(crate) struct Fallback {
    /// When it last failed, in milliseconds of this process's clock, which begins at 1; 0 while it works.
    failed: AtomicU64,
}

/// The line to write.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// The store failed with this error, of this cause.
    Failed(&'a StoreError, Option<String>),
    /// The store works again.
    Restored,
}

impl Fallback {
    /// How long the calls must have gone well before the store counts as restored.
    pub(crate) const QUIET: Duration = Duration::from_secs(5);

    /// Heeds a call that failed or was answered. A refusal by an open breaker writes no line: the breaker has its own.
    pub(crate) fn heed<'a>(&self, error: Option<&'a StoreError>) -> Option<News<'a>> {
        let Some(error) = error else {
            return self.works().then_some(News::Restored);
        };
        let is_news = error.kind() != StoreErrorKind::Rejected && self.fail_at(now());
        is_news.then(|| News::Failed(error, error.source().map(ToString::to_string)))
    }

    /// Heeds something else that failed; whether that is news.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn fails(&self) -> bool {
        self.fail_at(now())
    }

    /// Heeds that it worked; whether that is news.
    pub(crate) fn works(&self) -> bool {
        // A load keeps the line shared between cores.
        let failed = self.failed.load(Ordering::Relaxed);
        failed != 0 && self.succeed_at(failed, now())
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
    use super::*;

    impl Fallback {
        fn works_at(&self, now: u64) -> bool {
            let failed = self.failed.load(Ordering::Relaxed);
            failed != 0 && self.succeed_at(failed, now)
        }
    }

    #[test]
    fn the_first_failure_and_the_first_success_after_a_quiet_time_are_news() {
        let fallback = Fallback::default();
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
        let fallback = Fallback::default();
        let news = (1..100_000).filter(|now| fallback.fail_at(*now) | fallback.works_at(*now + 1));
        assert_eq!(news.count(), 1);
    }

    #[test]
    fn by_the_real_clock_too() {
        let fallback = Fallback::default();
        let error = |kind| StoreError::new(kind).with_source("why");
        assert!(fallback.heed(None).is_none());
        let rejected = error(StoreErrorKind::Rejected);
        assert!(fallback.heed(Some(&rejected)).is_none());
        let failed = error(StoreErrorKind::Failed);
        let Some(News::Failed(_, cause)) = fallback.heed(Some(&failed)) else {
            panic!("the first failure is no news");
        };
        assert_eq!(cause.as_deref(), Some("why"));
        assert!(fallback.heed(Some(&failed)).is_none());
        assert!(fallback.heed(None).is_none(), "not quiet yet");
    }
}
