use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use palisade::segment::Timestamp;

/// What [`Moment`] reads.
pub(super) const ALLOWED: &str = "a date such as `1998-07-01`, which is 00:00 UTC, or a time such as `1998-07-01T08:30:00Z`, from 1970 on";

/// A moment as an argument or a file gives it: an RFC 3339 time, or a date, which is its 00:00 UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(pub(super) jiff::Timestamp);

impl Moment {
    /// What is finer than a millisecond is cut off; `None` before 1970.
    pub(super) fn timestamp(self) -> Option<Timestamp> {
        let millis = u64::try_from(self.0.as_millisecond()).ok()?;
        (self.0.as_nanosecond() >= 0).then(|| Timestamp::from_millis(millis))
    }

    pub(super) fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    fn of_date(date: Date) -> Option<Self> {
        Some(Self(date.to_zoned(TimeZone::UTC).ok()?.timestamp()))
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text).ok_or_else(|| format!("allowed is {ALLOWED}"))
    }
}

fn read(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let moment = if let [.., b'-', _, _, b'-', _, _] = bytes
        && bytes.len() == "1998-07-01".len()
    {
        Moment::of_date(text.parse().ok()?)?
    } else {
        // RFC 3339 has a `T` (or a space) after the date, and no other form of ISO 8601.
        let separated = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
        let plain = text.is_ascii() && !text.contains('[');
        Moment((separated && plain).then(|| text.parse().ok())??)
    };
    moment.timestamp().map(|_| moment)
}

/// Reads `19980701`.
pub(super) fn of_digits(text: &[u8]) -> Option<Timestamp> {
    let text: &[u8; 8] = text.try_into().ok()?;
    let digits = text.iter().try_fold(0_i32, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i32::from(digit - b'0'))
    })?;
    let part = |number: i32| i8::try_from(number % 100).ok();
    let year = i16::try_from(digits / 10_000).ok()?;
    let date = Date::new(year, part(digits / 100)?, part(digits)?).ok()?;
    Moment::of_date(date)?.timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<u64> {
        read(text)
            .and_then(Moment::timestamp)
            .map(Timestamp::as_millis)
    }

    #[test]
    fn reads_dates_and_times() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1998-07-01", 899_251_200_000),
            ("1998-07-01T00:00:00Z", 899_251_200_000),
            ("1998-07-01T02:00:00+02:00", 899_251_200_000),
            ("1998-06-30 23:59:59.999Z", 899_251_199_999),
            ("1998-06-30T23:59:59.9999Z", 899_251_199_999),
            ("9999-12-30", 253_402_128_000_000),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        assert_eq!(
            of_digits(b"19980701").map(Timestamp::as_millis),
            Some(899_251_200_000)
        );
        assert_eq!(
            of_digits(b"20000229").map(Timestamp::as_millis),
            Some(951_782_400_000)
        );
    }

    #[test]
    fn refuses_what_is_no_moment_or_lies_before_1970() {
        for text in [
            "",
            "1998",
            "1998-7-1",
            "1998-02-29",
            "1998-13-01",
            "1998-07-01T",
            "1998-07-01T00:00:00",
            "1998-07-01T24:00:00Z",
            "1998-07-01T00:00:00Z[UTC]",
            "19980701",
            "19980701T000000Z",
            "+001998-07-01",
            "1969-12-31",
            "1969-12-31T23:59:59.9999Z",
            "now",
            "1998-07-01\0",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
        for text in [
            &b"19690101"[..],
            b"19980230",
            b"1998070",
            b"199807011",
            b"1998-7-1",
            b"00000000",
            b"19981301",
        ] {
            assert_eq!(of_digits(text), None, "{}", text.escape_ascii());
        }
    }
}
