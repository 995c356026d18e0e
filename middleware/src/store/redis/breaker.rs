//! When not to ask: after a row of failures, until a probe shows that the server decides again.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Opens after a number of failures in a row; only a probe closes it.
///
/// There are two rows. That of the decisions holds every failure of one, and only a decision ends it: the successes of other
/// calls do not hide that limits fail. That of the connection holds what would have met any call, whosever it was, and any
/// success ends it: calls that fail now and then among others that succeed open nothing.
///
/// Pure state: the caller names the time, asks the server and writes the log.
#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    decisions: AtomicU32,
    connection: AtomicU32,
    open: AtomicBool,
    /// Since when it is open; held only while the state changes.
    since: Mutex<Option<Instant>>,
}

impl Breaker {
    /// A closed breaker that opens at the failure number `threshold` in a row.
    pub(super) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            decisions: AtomicU32::new(0),
            connection: AtomicU32::new(0),
            open: AtomicBool::new(false),
            since: Mutex::new(None),
        }
    }

    /// Whether calls are to fail at once.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// A decision was answered. An open breaker stays open: the call was sent before it opened.
    pub(super) fn decided(&self) {
        end(&self.decisions);
        end(&self.connection);
    }

    /// Any other call was answered.
    pub(super) fn answered(&self) {
        end(&self.connection);
    }

    /// A call failed at `now`: a decision, or any other in a way that would have met a decision too. True if that opened the
    /// breaker, once for each opening.
    pub(super) fn fail(&self, of: Failed, now: Instant) -> bool {
        let longer = |row: &AtomicU32| row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let row = match of {
            Failed::Decision { by_connection } => {
                let decisions = longer(&self.decisions);
                if by_connection {
                    decisions.max(longer(&self.connection))
                } else {
                    decisions
                }
            }
            Failed::Other => longer(&self.connection),
        };
        if row < self.threshold || self.is_open() {
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
        self.decisions.store(0, Ordering::Relaxed);
        self.connection.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Release);
        Some(now.saturating_duration_since(opened))
    }
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// A decision of the limits.
    Decision {
        /// Whether any other call would have failed too.
        by_connection: bool,
    },
    /// Another call, by the connection.
    Other,
}

fn end(row: &AtomicU32) {
    // Mostly 0 already; a load keeps the line shared between cores.
    if row.load(Ordering::Relaxed) != 0 {
        row.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECISION: Failed = Failed::Decision {
        by_connection: true,
    };
    const DENIED: Failed = Failed::Decision {
        by_connection: false,
    };

    #[test]
    fn opens_at_the_failure_that_completes_the_row_and_says_so_once() {
        let breaker = Breaker::new(3);
        let now = Instant::now();
        assert!(!breaker.fail(DECISION, now) && !breaker.fail(DECISION, now) && !breaker.is_open());
        assert!(breaker.fail(DECISION, now) && breaker.is_open());
        assert!(!breaker.fail(DECISION, now) && breaker.is_open());
    }

    #[test]
    fn counts_only_failures_in_a_row() {
        let breaker = Breaker::new(2);
        let now = Instant::now();
        for _ in 0..10 {
            assert!(!breaker.fail(DECISION, now));
            breaker.decided();
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn single_failures_among_successes_of_any_port_open_nothing() {
        let breaker = Breaker::new(2);
        let now = Instant::now();
        for _ in 0..10 {
            assert!(!breaker.fail(Failed::Other, now));
            breaker.answered();
            assert!(!breaker.fail(Failed::Other, now));
            breaker.decided();
        }
        assert!(!breaker.fail(Failed::Other, now));
        assert!(
            breaker.fail(DECISION, now),
            "two of the connection in a row"
        );
    }

    #[test]
    fn successes_of_other_calls_hide_no_row_of_decisions() {
        for failed in [DECISION, DENIED] {
            let breaker = Breaker::new(3);
            let now = Instant::now();
            for failures in 1..=3 {
                assert_eq!(breaker.fail(failed, now), failures == 3, "{failed:?}");
                breaker.answered();
            }
        }
    }

    #[test]
    fn what_only_decisions_meet_is_no_failure_of_the_connection() {
        let breaker = Breaker::new(2);
        let now = Instant::now();
        assert!(!breaker.fail(DENIED, now) && !breaker.fail(Failed::Other, now));
        assert!(!breaker.is_open());
        assert!(breaker.fail(Failed::Other, now));
    }

    #[test]
    fn a_late_success_does_not_close_it_and_a_probe_does() {
        let breaker = Breaker::new(1);
        let opened = Instant::now();
        assert!(breaker.fail(DECISION, opened));
        breaker.decided();
        assert!(breaker.is_open());
        let outage = Duration::from_secs(7);
        assert_eq!(breaker.close(opened + outage), Some(outage));
        assert!(!breaker.is_open());
        assert_eq!(breaker.close(opened + outage), None);
        assert!(breaker.fail(DECISION, opened + outage), "opens again");
    }

    #[test]
    fn starts_a_new_row_after_closing() {
        let breaker = Breaker::new(2);
        let now = Instant::now();
        assert!(!breaker.fail(DECISION, now) && breaker.fail(DECISION, now));
        breaker.close(now);
        assert!(!breaker.fail(DECISION, now) && !breaker.is_open());
        assert!(breaker.fail(DECISION, now));
    }

    #[test]
    fn opens_once_when_many_threads_fail_together() {
        let breaker = Breaker::new(5);
        let opened = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..100)
                            .filter(|_| breaker.fail(DECISION, Instant::now()))
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(opened, 1);
    }
}
