use std::time::Duration;

use crate::ConfigError;
use crate::model::Written;

/// How long a convicted client is banned: twice as long at each further offence, up to a maximum, and then longer by a
/// random part, so that banned clients do not all come back at one moment.
///
/// A client that goes on when its ban is over offends again as soon as a threshold of things has come since, whether or not
/// the ban was shorter than the kind's window.
///
/// ```
/// use std::time::Duration;
/// use palisade::suspicion::Sentence;
///
/// let sentence = Sentence::new(Duration::from_secs(600), Duration::from_secs(3_600))?.jitter(0)?;
/// let minutes = [1, 2, 3, 4, 5].map(|offence| sentence.length(offence, 0).as_secs() / 60);
/// assert_eq!(minutes, [10, 20, 40, 60, 60]);
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sentence {
    first_micros: u64,
    longest_micros: u64,
    jitter_percent: u8,
}

impl Sentence {
    /// How long after the end of a client's last ban its offences are forgotten.
    pub const FORGET_AFTER: Duration = Duration::from_secs(86_400);

    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(30 * 86_400);
    const ALLOWED_FIRST: &str =
        "a duration of 1s to 30d, such as `10m`, and no more than `longest`";
    const ALLOWED_LONGEST: &str = "a duration of 1s to 30d, such as `24h`";

    /// A sentence of `first` for the first offence and at most `longest` for any, both cut to whole microseconds, with
    /// a jitter of 10 %.
    ///
    /// # Errors
    /// A duration outside 1 s to 30 days, and a first ban that is longer than the longest.
    pub fn new(first: Duration, longest: Duration) -> Result<Self, ConfigError> {
        let range = Self::LEAST..=Self::MOST;
        if !range.contains(&longest) {
            let value = Written(longest);
            return Err(ConfigError::new("longest", value, Self::ALLOWED_LONGEST));
        }
        if !range.contains(&first) || first > longest {
            let value = Written(first);
            return Err(ConfigError::new("for", value, Self::ALLOWED_FIRST));
        }
        Ok(Self {
            first_micros: micros(first),
            longest_micros: micros(longest),
            ..Self::default()
        })
    }

    /// By how much a ban may be lengthened at random: 0 to 100 percent, 10 unless set.
    ///
    /// # Errors
    /// More than 100.
    pub fn jitter(mut self, percent: u8) -> Result<Self, ConfigError> {
        if percent > 100 {
            return Err(ConfigError::new("jitter", percent, "0 to 100 percent"));
        }
        self.jitter_percent = percent;
        Ok(self)
    }

    /// The ban for the first offence, without jitter.
    #[must_use]
    pub const fn first(&self) -> Duration {
        Duration::from_micros(self.first_micros)
    }

    /// The longest ban for an offence, without jitter.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros)
    }

    /// The ban for the offence of this number, from 1; `roll` says how much of the jitter is added, 0 for nothing and
    /// [`u32::MAX`] for all of it. To whole microseconds, rounded down.
    #[must_use]
    pub fn length(&self, offence: u32, roll: u32) -> Duration {
        let doublings = offence.saturating_sub(1);
        let doubled = u128::from(self.first_micros) << doublings.min(64);
        let ban = doubled.min(self.longest_micros.into());
        let most = ban * u128::from(self.jitter_percent) / 100;
        let extra = most * u128::from(roll) / u128::from(u32::MAX);
        // At most twice 30 days.
        Duration::from_micros((ban + extra) as u64)
    }

    /// The bans for the first offence, the second and so on; the last holds for all that follow it.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn ladder(&self, roll: u32) -> impl Iterator<Item = Duration> {
        let to_longest = self.longest_micros.div_ceil(self.first_micros);
        let steps = to_longest.next_power_of_two().ilog2() + 1;
        (1..=steps).map(move |offence| self.length(offence, roll))
    }
}

impl Default for Sentence {
    /// 10 minutes, up to 24 hours, and a jitter of 10 %.
    fn default() -> Self {
        Self {
            first_micros: 600_000_000,
            longest_micros: 86_400_000_000,
            jitter_percent: 10,
        }
    }
}

/// In whole microseconds, as many as there can be.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_up_to_the_longest_and_never_overflows() {
        let sentence = Sentence::new(SECOND, 30 * DAY).unwrap().jitter(0).unwrap();
        assert_eq!(sentence.length(0, 7), SECOND);
        assert_eq!(sentence.length(1, 7), SECOND);
        assert_eq!(sentence.length(22, 7), (1 << 21) * SECOND);
        for offence in [23, 64, 65, 66, 129, u32::MAX] {
            assert_eq!(sentence.length(offence, u32::MAX), 30 * DAY, "{offence}");
        }
    }

    #[test]
    fn the_jitter_only_lengthens_and_by_no_more_than_its_percentage() {
        let sentence = Sentence::default();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(sentence.length(1, 0), minutes(10));
        assert_eq!(sentence.length(1, u32::MAX), minutes(11));
        let half = sentence.length(1, u32::MAX / 2 + 1);
        assert_eq!(half, minutes(10) + Duration::from_micros(30_000_000));
        let all = Sentence::new(30 * DAY, 30 * DAY)
            .unwrap()
            .jitter(100)
            .unwrap();
        assert_eq!(all.length(u32::MAX, u32::MAX), 60 * DAY);
    }

    #[test]
    fn the_ladder_ends_where_the_longest_is_reached() {
        for (first, longest, steps) in [
            (1, 1, 1),
            (1, 2, 2),
            (2, 3, 2),
            (600, 86_400, 9),
            (1, 30 * 86_400, 23),
        ] {
            let sentence = Sentence::new(first * SECOND, longest * SECOND).unwrap();
            for roll in [0, 12_345, u32::MAX] {
                let ladder: Vec<_> = sentence.ladder(roll).collect();
                assert_eq!(ladder.len(), steps, "{first}s to {longest}s");
                let of = |offence| sentence.length(offence, roll);
                assert!((1..).zip(&ladder).all(|(offence, ban)| of(offence) == *ban));
                assert_eq!(of(steps as u32 + 1), of(u32::MAX));
                assert_eq!(ladder.last(), Some(&of(u32::MAX)));
            }
        }
    }

    #[test]
    fn refuses_what_is_out_of_range_by_name() {
        let refused = |first, longest| Sentence::new(first, longest).unwrap_err().to_string();
        let micro = Duration::from_micros(1);
        assert!(refused(SECOND - micro, DAY).starts_with("`for` cannot be `999ms999us`"));
        assert!(refused(DAY + micro, DAY).starts_with("`for` cannot be `1d1us`"));
        assert!(refused(SECOND, 30 * DAY + micro).starts_with("`longest` cannot be"));
        assert!(refused(SECOND, Duration::ZERO).starts_with("`longest` cannot be `0s`"));
        let jitter = Sentence::default().jitter(101).unwrap_err();
        assert_eq!(
            jitter.to_string(),
            "`jitter` cannot be `101`: allowed is 0 to 100 percent"
        );
    }
}
