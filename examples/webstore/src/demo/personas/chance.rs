use std::ops::Range;
use std::time::Duration;

/// Chance that a seed repeats: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
/// Nothing here needs more than that.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another source, whose numbers have nothing to do with this one's.
    pub(super) fn split(&mut self) -> Self {
        Self(self.draw())
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// True in so many of 100 cases.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them, each as likely as its weight says; `otherwise` when there are none.
    pub(super) fn weighted<T: Copy>(&mut self, otherwise: T, choices: &[(T, u64)]) -> T {
        let total = choices.iter().map(|(_, weight)| weight).sum();
        let mut at = self.below(total);
        for (choice, weight) in choices {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        otherwise
    }

    /// A fraction between two.
    pub(in crate::demo) fn between(&mut self, least: f64, most: f64) -> f64 {
        let share = f64::from(u32::try_from(self.below(1 << 20)).unwrap_or(0)) / f64::from(1 << 20);
        least + (most - least) * share
    }

    /// A length of time in a range of milliseconds.
    pub(super) fn millis(&mut self, range: &Range<u64>) -> Duration {
        let width = range.end.saturating_sub(range.start);
        Duration::from_millis(range.start + self.below(width))
    }
}
