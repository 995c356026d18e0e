//! Counters that every request adds to: one row for each of a few threads, read as their sum.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const STRIPES: usize = 8;

/// `N` counters that belong together. Each thread adds to one of a few rows, so that threads on different cores seldom
/// write to one cache line.
#[derive(Debug)]
pub(crate) struct Striped<const N: usize>([Row<N>; STRIPES]);

/// Counters side by side, on a cache line of their own (two for more than eight).
#[derive(Debug)]
#[repr(align(64))]
struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Striped<N> {
    /// Adds to a counter; one that does not exist is not counted.
    pub(crate) fn add(&self, counter: usize, by: u64) {
        if let Some(counter) = self.0[stripe()].0.get(counter) {
            counter.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Adds a time to a counter of microseconds.
    #[cfg(feature = "ops")]
    pub(crate) fn add_time(&self, counter: usize, took: std::time::Duration) {
        self.add(counter, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// The seconds of a counter of microseconds.
    #[cfg(feature = "ops")]
    pub(crate) fn seconds(&self, counter: usize) -> f64 {
        std::time::Duration::from_micros(self.sum(counter)).as_secs_f64()
    }

    /// A counter's sum over all threads; 0 for one that does not exist.
    pub(crate) fn sum(&self, counter: usize) -> u64 {
        let rows = self.0.iter().filter_map(|row| row.0.get(counter));
        rows.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

impl<const N: usize> Default for Striped<N> {
    fn default() -> Self {
        let row = || Row(std::array::from_fn(|_| AtomicU64::new(0)));
        Self(std::array::from_fn(|_| row()))
    }
}

/// The row of this thread: the threads take them in turn.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
    STRIPE.with(|stripe| *stripe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_holds_what_every_thread_added() {
        let counters = Striped::<2>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..1_000).for_each(|_| counters.add(1, 3)));
            }
        });
        assert_eq!(counters.sum(0), 0);
        assert_eq!(counters.sum(1), 2 * STRIPES as u64 * 3_000);
    }
}
