//! When not to ask: after a row of failures, until a probe shows that the server decides again.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Opens after a number of failures in a row; only a probe closes it.
///
/// Pure state: the caller names the time, asks the server and writes the log.
#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    failures: AtomicU32,
    open: AtomicBool,
    /// Since when it is open; held only while the state changes.
    since: Mutex<Option<Instant>>,
}

impl Breaker {
    /// A closed breaker that opens at the failure number `threshold` in a row.
    pub(super) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            failures: AtomicU32::new(0),
            open: AtomicBool::new(false),
            since: Mutex::new(None),
        }
    }

    /// Whether calls are to fail at once.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// A call was answered. An open breaker stays open: the call was sent before it opened.
    pub(super) fn succeed(&self) {
        // Mostly 0 already; a load keeps the line shared between cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A call failed at `now`; true if that opened the breaker, once for each opening.
    pub(super) fn fail(&self, now: Instant) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        if failures.saturating_add(1) < self.threshold || self.is_open() {
            return false;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some() {
            return false;
        }
        *since = Some(now);
        self.open.store(true, Ordering::Release);
        true
    }

    /// A probe succeeded at `now`: closes, and returns for how long it was open.
    pub(super) fn close(&self, now: Instant) -> Option<Duration> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = since.take()?;
        self.failures.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Release);
        Some(now.saturating_duration_since(opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_the_failure_that_completes_the_row_and_says_so_once() {
        let breaker = Breaker::new(3);
        let now = Instant::now();
        assert!(!breaker.fail(now) && !breaker.fail(now) && !breaker.is_open());
        assert!(breaker.fail(now) && breaker.is_open());
        assert!(!breaker.fail(now) && breaker.is_open());
    }

    #[test]
    fn counts_only_failures_in_a_row() {
        let breaker = Breaker::new(2);
        let now = Instant::now();
        for _ in 0..10 {
            assert!(!breaker.fail(now));
            breaker.succeed();
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_late_success_does_not_close_it_and_a_probe_does() {
        let breaker = Breaker::new(1);
        let opened = Instant::now();
        assert!(breaker.fail(opened));
        breaker.succeed();
        assert!(breaker.is_open());
        let outage = Duration::from_secs(7);
        assert_eq!(breaker.close(opened + outage), Some(outage));
        assert!(!breaker.is_open());
        assert_eq!(breaker.close(opened + outage), None);
        assert!(breaker.fail(opened + outage), "opens again");
    }

    #[test]
    fn starts_a_new_row_after_closing() {
        let breaker = Breaker::new(2);
        let now = Instant::now();
        assert!(!breaker.fail(now) && breaker.fail(now));
        breaker.close(now);
        assert!(!breaker.fail(now) && !breaker.is_open());
        assert!(breaker.fail(now));
    }

    #[test]
    fn opens_once_when_many_threads_fail_together() {
        let breaker = Breaker::new(5);
        let opened = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..100).filter(|_| breaker.fail(Instant::now())).count()))
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(opened, 1);
    }
}
