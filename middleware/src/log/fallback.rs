//! Whether something fails, told once for each change and not at each failure.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Something that may fail for a time, such as the store as one room uses it.
///
/// Invariant: news alternate, a failure first; and between the news of a failure and that of its end there are at least
/// [`Outage::QUIET`] without a failure, so that what fails at every other call is no news at every call.
#[derive(Debug)]
pub(crate) struct Outage {
    /// When it last failed, in milliseconds of this process's clock, which begins at 1; 0 while it works.
    failed: AtomicU64,
}

impl Outage {
    /// How long nothing may have failed before a success is news.
    pub(crate) const QUIET: Duration = Duration::from_secs(5);

    pub(crate) const fn new() -> Self {
        Self {
            failed: AtomicU64::new(0),
        }
    }

    /// It failed: whether that is news.
    pub(crate) fn fail(&self) -> bool {
        self.fail_at(now())
    }

    /// It worked: whether that is news.
    pub(crate) fn succeed(&self) -> bool {
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

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Outage {
        fn works_at(&self, now: u64) -> bool {
            let failed = self.failed.load(Ordering::Relaxed);
            failed != 0 && self.succeed_at(failed, now)
        }
    }

    #[test]
    fn the_first_failure_and_the_first_success_after_a_quiet_time_are_news() {
        let outage = Outage::new();
        assert!(!outage.works_at(1), "it always worked");
        assert!(outage.fail_at(10));
        assert!(!outage.fail_at(11));
        assert!(!outage.works_at(5_010), "not quiet since the last failure");
        assert!(outage.works_at(5_011));
        assert!(!outage.works_at(5_012));
        assert!(outage.fail_at(5_013));
    }

    #[test]
    fn what_fails_at_every_other_call_is_news_once() {
        let outage = Outage::new();
        let news = (1..100_000).filter(|now| outage.fail_at(*now) | outage.works_at(*now + 1));
        assert_eq!(news.count(), 1);
    }

    #[test]
    fn by_the_real_clock_too() {
        let outage = Outage::new();
        assert!(!outage.succeed());
        assert!(outage.fail() && !outage.fail() && !outage.succeed());
    }
}
