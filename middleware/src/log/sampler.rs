//! A few lines of the log in a second, each with the number of events that it stands for.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lets a limited number of events pass in each second. An event that passes stands for itself and for all events that
/// were skipped since the last one passed.
///
/// Invariant, once the threads that offer have returned: the numbers that were returned and
/// [`skipped`](Self::skipped) add up to the events offered. An event either adds one to the skipped, or takes all of them
/// in one step. In any second of the clock at most [`limit`](Self::new) events pass, whatever the threads: an event passes
/// by raising the count of that second, by compare-and-swap, from below the limit.
#[derive(Debug)]
pub(crate) struct Sampler {
    limit: u16,
    /// The second of the clock, and how many passed in it: `second << 16 | passed`.
    window: AtomicU64,
    /// Since the last that passed.
    skipped: AtomicU64,
}

impl Sampler {
    pub(crate) fn new(limit: u16) -> Self {
        Self {
            limit,
            window: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Offers an event in a second of the clock, below 2^48. Returns how many events it stands for, if it passes.
    ///
    /// A thread that comes late with an earlier second counts in the latest that any thread saw.
    pub(crate) fn offer(&self, second: u64) -> Option<u64> {
        let mut seen = self.window.load(Ordering::Relaxed);
        loop {
            let (latest, passed) = (seen >> 16, seen & 0xffff);
            let next = if second > latest { second << 16 } else { seen };
            let passed = if second > latest { 0 } else { passed };
            if passed >= u64::from(self.limit) {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let raised = self.window.compare_exchange_weak(
                seen,
                next + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match raised {
                Ok(_) => return Some(1 + self.skipped.swap(0, Ordering::Relaxed)),
                Err(now) => seen = now,
            }
        }
    }

    /// The events since the last one passed.
    #[cfg(test)]
    fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn so_many_pass_in_a_second_and_the_next_stands_for_the_rest() {
        let sampler = Sampler::new(2);
        let offered = [0, 0, 0, 0, 0, 1, 1, 1, 7].map(|second| sampler.offer(second));
        let one = Some(1);
        let expected = [one, one, None, None, None, Some(4), one, None, Some(2)];
        assert_eq!(offered, expected);
        assert_eq!(sampler.skipped(), 0);
    }

    #[test]
    fn a_limit_of_none_lets_none_through() {
        let sampler = Sampler::new(0);
        assert!((0..9).all(|second| sampler.offer(second).is_none()));
        assert_eq!(sampler.skipped(), 9);
    }

    proptest! {
        /// Whatever the seconds, those that come late too.
        #[test]
        fn what_passed_and_what_is_left_are_all_that_was_offered(
            limit in 0_u16..5,
            seconds in prop::collection::vec(0_u64..6, 0..200),
        ) {
            let sampler = Sampler::new(limit);
            let (mut latest, mut passed, mut stood_for) = (0, BTreeMap::new(), 0);
            for (offered, second) in (1_u64..).zip(seconds) {
                latest = latest.max(second);
                if let Some(represents) = sampler.offer(second) {
                    prop_assert!(represents >= 1);
                    stood_for += represents;
                    let passed: &mut u16 = passed.entry(latest).or_default();
                    *passed += 1;
                    prop_assert!(*passed <= limit);
                }
                prop_assert_eq!(stood_for + sampler.skipped(), offered);
            }
        }
    }

    #[test]
    fn threads_lose_nothing_and_pass_no_more_than_the_limit() {
        const EACH: u64 = 200_000;
        const LIMIT: u16 = 3;
        let (sampler, clock) = (Sampler::new(LIMIT), AtomicU64::new(0));
        let done = AtomicBool::new(false);
        let (mut lines, mut stood_for) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    clock.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
            let offering = [(); 4].map(|()| {
                scope.spawn(|| {
                    let offers =
                        (0..EACH).filter_map(|_| sampler.offer(clock.load(Ordering::Relaxed)));
                    offers.fold((0, 0), |(lines, sum), represents| {
                        (lines + 1, sum + represents)
                    })
                })
            });
            for thread in offering {
                let (written, sum) = thread.join().unwrap();
                lines += written;
                stood_for += sum;
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(stood_for + sampler.skipped(), 4 * EACH);
        let seconds = clock.load(Ordering::Relaxed) + 1;
        assert!(lines <= seconds * u64::from(LIMIT), "{lines} in {seconds}");
        assert!(lines > 0);
    }
}
