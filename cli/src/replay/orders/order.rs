use std::fmt;

use palisade::segment::Timestamp;

/// One order of a history, whatever the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order<'a> {
    pub(super) id: &'a str,
    pub(super) customer: &'a str,
    pub(super) at: Timestamp,
    /// In minor units, not negative.
    pub(super) amount: i64,
}

/// What is wrong with a line, and what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    field: Option<&'static str>,
    value: Option<String>,
    allowed: &'static str,
}

impl Wrong {
    const SHOWN: usize = 60;

    /// A field with a value that it cannot have.
    pub(super) fn field(field: &'static str, value: &[u8], allowed: &'static str) -> Self {
        Self {
            field: Some(field),
            value: Some(shown(value)),
            allowed,
        }
    }

    /// A line that is wrong as a whole.
    pub(super) fn line(value: &[u8], allowed: &'static str) -> Self {
        Self {
            field: None,
            value: Some(shown(value)),
            allowed,
        }
    }

    pub(super) const fn too_long() -> Self {
        Self {
            field: None,
            value: None,
            allowed: "at most 64 KiB",
        }
    }
}

/// The start of a value, in ASCII.
fn shown(value: &[u8]) -> String {
    match value.get(..Wrong::SHOWN) {
        Some(start) if value.len() > Wrong::SHOWN => format!("{}…", start.escape_ascii()),
        _ => value.escape_ascii().to_string(),
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = self.allowed;
        match (self.field, &self.value) {
            (Some(field), Some(value)) => {
                write!(f, "`{field}` cannot be `{value}`: allowed is {allowed}")
            }
            (_, Some(value)) => write!(f, "the line cannot be `{value}`: allowed is {allowed}"),
            (_, None) => write!(f, "the line is too long: allowed is {allowed}"),
        }
    }
}

/// An id as text: palisade hashes what is no plain id, so that most text can be one.
pub(super) fn id<'a>(field: &'static str, value: &'a [u8]) -> Result<&'a str, Wrong> {
    const LONGEST: usize = 256;
    let text = str::from_utf8(value).ok();
    text.filter(|id| (1..=LONGEST).contains(&id.len()) && !id.chars().any(char::is_control))
        .ok_or_else(|| {
            let allowed = "1 to 256 bytes of UTF-8 without control characters";
            Wrong::field(field, value, allowed)
        })
}

/// Reads `11.77`, `11.7` or `11` as minor units, without floats.
pub(super) fn amount(field: &'static str, value: &[u8]) -> Result<i64, Wrong> {
    minor_units(value).ok_or_else(|| {
        let allowed = "an amount from 0.00 to 9999999999.99 such as `11.77`";
        Wrong::field(field, value, allowed)
    })
}

/// At most ten digits before the point, so that no sum of a file overflows.
fn minor_units(value: &[u8]) -> Option<i64> {
    let (major, minor) = match value.iter().position(|&byte| byte == b'.') {
        Some(point) => (&value[..point], &value[point + 1..]),
        None => (value, &b"00"[..]),
    };
    let digits = |text: &[u8]| {
        text.iter().try_fold(0_i64, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    if !(1..=10).contains(&major.len()) {
        return None;
    }
    let minor = match minor {
        [_] => digits(minor)? * 10,
        [_, _] => digits(minor)?,
        _ => return None,
    };
    Some(digits(major)? * 100 + minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_amounts_to_the_cent() {
        for (text, cents) in [
            ("11.77", 1_177),
            ("0.00", 0),
            ("0.29", 29),
            ("12", 1_200),
            ("12.5", 1_250),
            ("500.01", 50_001),
            ("007.10", 710),
            ("9999999999.99", 999_999_999_999),
        ] {
            assert_eq!(amount("amount", text.as_bytes()), Ok(cents), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1.00",
            "+1",
            "1.000",
            "1,00",
            "1e3",
            "NaN",
            " 1",
            "1 ",
            "10000000000",
            "0x1",
            "１",
            "1.0\0",
        ] {
            let wrong = amount("amount", text.as_bytes()).unwrap_err().to_string();
            assert!(wrong.starts_with("`amount` cannot be `"), "{text}: {wrong}");
        }
    }

    #[test]
    fn shows_the_start_of_a_value_in_ascii() {
        let long = [&b"a\0\x1b\xff\""[..], &[b'x'; 300]].concat();
        let wrong = id("customer_id", &long).unwrap_err().to_string();
        assert!(
            wrong.starts_with(r#"`customer_id` cannot be `a\x00\x1b\xff\"xxx"#),
            "{wrong}"
        );
        assert!(wrong.contains("x…`: allowed is 1 to 256 bytes"), "{wrong}");
        assert!(wrong.len() < 200, "{wrong}");
    }

    #[test]
    fn an_id_is_short_text_without_control_characters() {
        for text in ["a", "Ada Lovelace", "ädä", &"x".repeat(256)] {
            assert_eq!(id("customer_id", text.as_bytes()), Ok(text));
        }
        for text in ["", "a\0", "a\nb", "\u{85}", &"x".repeat(257)] {
            assert!(id("customer_id", text.as_bytes()).is_err(), "{text}");
        }
        assert!(id("customer_id", b"\xff").is_err());
    }
}
