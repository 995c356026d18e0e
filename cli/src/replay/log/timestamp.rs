use jiff::civil;
use jiff::tz::Offset;

/// The length of `17/May/2015:10:05:03 +0000`.
pub(super) const LENGTH: usize = 26;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Reads `%t` without its brackets, `17/May/2015:10:05:03 +0000`, as seconds since 1970 in UTC.
///
/// By hand, since the form is fixed and this runs once a line. A leap second counts as the second before it.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let text: &[u8; LENGTH] = text.try_into().ok()?;
    let separators = [
        (2, b'/'),
        (6, b'/'),
        (11, b':'),
        (14, b':'),
        (17, b':'),
        (20, b' '),
    ];
    if separators.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let two = |at: usize| number(&text[at..at + 2]).and_then(|n| i8::try_from(n).ok());
    let month = MONTHS.iter().position(|name| text[3..6] == name[..])?;
    let second = match two(18)? {
        60 => 59,
        second => second,
    };
    let local = civil::DateTime::new(
        number(&text[7..11])?,
        i8::try_from(month).ok()? + 1,
        two(0)?,
        two(12)?,
        two(15)?,
        second,
        0,
    )
    .ok()?;
    let sign = match text[21] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (i32::from(two(22)?), i32::from(two(24)?));
    if minutes > 59 {
        return None;
    }
    let offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
    Some(offset.to_timestamp(local).ok()?.as_second())
}

fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0_i16, |n, digit| {
        digit
            .is_ascii_digit()
            .then(|| n * 10 + i16::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_instant_in_any_offset() {
        for (text, expected) in [
            ("17/May/2015:10:05:03 +0000", "2015-05-17T10:05:03Z"),
            ("22/Dec/2016:16:30:52 +0300", "2016-12-22T13:30:52Z"),
            ("29/Feb/2024:23:59:59 -0930", "2024-03-01T09:29:59Z"),
            ("31/Dec/2016:23:59:60 +0000", "2016-12-31T23:59:59Z"),
            ("01/Jan/1969:00:00:00 +0000", "1969-01-01T00:00:00Z"),
        ] {
            let expected: jiff::Timestamp = expected.parse().unwrap();
            assert_eq!(parse(text.as_bytes()), Some(expected.as_second()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_instant() {
        for text in [
            "",
            "17/May/2015:10:05:03",
            "17/May/2015:10:05:03 0000 ",
            "17/may/2015:10:05:03 +0000",
            "30/Feb/2015:10:05:03 +0000",
            "29/Feb/2015:10:05:03 +0000",
            "17/May/2015:24:05:03 +0000",
            "17/May/2015:10:60:03 +0000",
            "17/May/2015:10:05:61 +0000",
            "17/May/2015:10:05:03 +0060",
            "17/May/2015:10:05:03 +9900",
            "17/May/2015 10:05:03 +0000",
            "+7/May/2015:10:05:03 +0000",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
