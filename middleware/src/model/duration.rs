//! Durations as the configuration writes them.

use std::fmt;
use std::time::Duration;

/// Writes `8d` or `1h30m`, which a configuration can repeat; humantime writes `8days`, and months and years of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written(pub(crate) Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 7] = [
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (length, unit) in UNITS {
            let count = rest / length;
            rest %= length;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_days_and_less_without_spaces() {
        let of = |text: &str| Written(humantime::parse_duration(text).unwrap()).to_string();
        for text in [
            "0s", "8d", "400d", "1h", "90d", "1h30m", "50ms", "1d1h", "1s500ms", "1us", "1ns",
        ] {
            assert_eq!(of(text), text);
        }
        assert_eq!(of("1month"), "30d10h33m36s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_duration(
            seconds in 0..=u64::from(u32::MAX) * 1_000,
            nanos in prop::sample::select(vec![0, 1, 1_000, 1_000_000, 999_999_999]),
        ) {
            let duration = Duration::new(seconds, nanos);
            let text = Written(duration).to_string();
            prop_assert_eq!(humantime::parse_duration(&text).unwrap(), duration);
        }
    }
}
