//! How much was lost, told at most once a minute.

use std::sync::atomic::{AtomicU64, Ordering};

/// Invariant: the losses that were logged and those that were not yet add up to the losses that were counted.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    untold: AtomicU64,
    /// When it was last told, in milliseconds of the caller's clock; 0 for never.
    told: AtomicU64,
}

impl Losses {
    const EVERY: u64 = 60_000;

    /// Counts one that was lost at `now`, in milliseconds: how many were since that was last told, if it is time to tell.
    pub(crate) fn count(&self, now: u64) -> Option<u64> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let (now, told) = (now.max(1), self.told.load(Ordering::Relaxed));
        let is_time = (told == 0 || now.abs_diff(told) >= Self::EVERY)
            && self
                .told
                .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_time.then(|| self.untold.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_many_were_dropped_at_most_once_a_minute() {
        let losses = Losses::default();
        let mut told = Vec::new();
        // Ten a second for three minutes.
        for n in 0..1_800 {
            told.extend(losses.count(1 + 100 * n).map(|dropped| (n, dropped)));
        }
        assert_eq!(told, [(0, 1), (600, 600), (1_200, 600)]);
    }
}
