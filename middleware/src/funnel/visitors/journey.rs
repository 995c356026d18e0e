//! How far one visitor came: the arithmetic of the port's contract, without a store around it.

use smallvec::SmallVec;

/// Microseconds on a store's clock, never 0 for a moment that happened.
pub(crate) type Moment = u64;

/// One visitor's way through the funnel.
///
/// Counted stages are always the first ones, so that a number tells which they are.
#[derive(Debug, Default)]
pub(crate) struct Journey {
    /// The earliest moment that can count: the start of the window, or while there is none the end of the last.
    floor: Moment,
    counted: u8,
    /// For each stage after the first: when it was counted or, if it was not, when it was last reached; 0 for
    /// never. Moments before the floor are left over from an earlier window, and can no more count.
    later: SmallVec<[Moment; 2]>,
}

/// A reach's result: how many stages were counted before, and for each that it made count, the microseconds since the
/// stage before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    pub(crate) before: u8,
    pub(crate) steps: SmallVec<[u64; 2]>,
}

impl Journey {
    /// The visitor reached a stage (below 16) at a moment not after `now`.
    pub(crate) fn reach(&mut self, stage: u8, at: Moment, now: Moment, window: Moment) -> Advance {
        // A clock that stepped back leaves moments of the future, which would keep the visitor waiting for them.
        self.floor = self.floor.min(now);
        for moment in &mut self.later {
            *moment = (*moment).min(now);
        }
        if self.end(window).is_some_and(|end| at >= end) {
            self.floor += window;
            self.counted = 0;
        }
        let before = self.counted;
        let mut steps = SmallVec::new();
        if at < self.floor || stage < before {
            return Advance { before, steps };
        }
        match usize::from(stage).checked_sub(1) {
            None => {
                self.floor = at;
                self.counted = 1;
                steps.push(0);
            }
            Some(place) => {
                if self.later.len() <= place {
                    self.later.resize(place + 1, 0);
                }
                self.later[place] = self.later[place].max(at);
            }
        }
        while let Some(step) = self.next_step(window) {
            self.counted += 1;
            steps.push(step);
        }
        Advance { before, steps }
    }

    /// The time from the last counted stage to the next one, if that counts too.
    fn next_step(&self, window: Moment) -> Option<u64> {
        let end = self.end(window)?;
        let next = *self.later.get(usize::from(self.counted) - 1)?;
        let last = match self.counted {
            1 => self.floor,
            counted => *self.later.get(usize::from(counted) - 2)?,
        };
        (next < end).then(|| next.checked_sub(last)).flatten()
    }

    /// When the visitor's window ends, if there is one.
    pub(crate) fn end(&self, window: Moment) -> Option<Moment> {
        (self.counted > 0).then(|| self.floor.saturating_add(window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Moment = 1_000;

    /// Reaches as they come (stage, moment), and the stages that each makes count.
    #[track_caller]
    fn walk<const N: usize>(reaches: [(u8, Moment, &[u64]); N]) -> Journey {
        let mut journey = Journey::default();
        for (stage, at, steps) in reaches {
            let advance = journey.reach(stage, at, at.max(9_999), WINDOW);
            assert_eq!(&advance.steps[..], steps, "stage {stage} at {at}");
        }
        journey
    }

    #[test]
    fn each_stage_counts_once_with_the_time_since_the_one_before() {
        walk([
            (0, 10, &[0]),
            (0, 11, &[]),
            (1, 25, &[15]),
            (1, 26, &[]),
            (0, 27, &[]),
            (2, 25, &[0]),
            (3, 1_009, &[984]),
            (3, 1_009, &[]),
        ]);
    }

    #[test]
    fn a_stage_before_its_predecessor_does_not_count() {
        walk([
            (3, 5, &[]),
            (1, 6, &[]),
            (0, 10, &[0]),
            (2, 12, &[]),
            (1, 13, &[3]),
            (2, 14, &[1]),
        ]);
    }

    #[test]
    fn a_late_predecessor_lets_all_that_waited_for_it_count() {
        walk([
            (3, 40, &[]),
            (1, 20, &[]),
            (2, 30, &[]),
            (0, 10, &[0, 10, 10, 10]),
        ]);
        // By the latest moment, since the earliest came before the predecessor.
        walk([(1, 5, &[]), (1, 20, &[]), (1, 15, &[]), (0, 10, &[0, 10])]);
    }

    #[test]
    fn a_window_ends_at_exactly_its_length_and_the_next_begins_with_the_first_stage() {
        walk([
            (0, 10, &[0]),
            (1, 1_009, &[999]),
            (0, 1_009, &[]),
            (2, 1_010, &[]),
            (1, 1_011, &[]),
            (0, 1_010, &[0, 1]),
            (2, 1_010, &[]),
            (2, 1_011, &[0]),
        ]);
    }

    #[test]
    fn what_waited_counts_only_if_it_lies_in_the_window() {
        walk([(1, 1_010, &[]), (0, 10, &[0])]);
        walk([(1, 1_009, &[]), (0, 10, &[0, 999])]);
    }

    #[test]
    fn windows_never_overlap_however_late_a_reach_is() {
        walk([
            (0, 10, &[0]),
            (1, 1_010, &[]),
            (0, 1_009, &[]),
            (0, 9, &[]),
            (0, 1_500, &[0]),
            (0, 1_400, &[]),
            (0, 2_499, &[]),
            (0, 2_500, &[0]),
        ]);
    }

    #[test]
    fn moments_of_an_earlier_window_unlock_nothing() {
        walk([
            (0, 10, &[0]),
            (1, 20, &[10]),
            (2, 30, &[10]),
            (0, 1_010, &[0]),
            (2, 1_012, &[]),
            (1, 1_011, &[1, 1]),
        ]);
    }

    #[test]
    fn a_clock_that_stepped_back_keeps_nobody_waiting() {
        let mut journey = walk([(0, 5_000, &[0])]);
        let advance = journey.reach(1, 100, 100, WINDOW);
        assert_eq!((advance.before, &advance.steps[..]), (1, &[0][..]));
        assert_eq!(journey.end(WINDOW), Some(1_100));
    }
}
