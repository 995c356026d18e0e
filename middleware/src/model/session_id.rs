use std::fmt;
use std::str::FromStr;

use crate::ConfigError;

/// A session's name in every API and log. It opens nothing: that takes the secret of the [token](crate::session::Token).
///
/// It reads and displays as a UUID (version 4), such as `9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c11`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The id of 16 random bytes, of which six bits become the UUID's version and variant.
    #[must_use]
    pub const fn of(mut random: [u8; 16]) -> Self {
        random[6] = (random[6] & 0x0f) | 0x40;
        random[8] = (random[8] & 0x3f) | 0x80;
        Self(random)
    }

    /// The bytes, as a store keeps them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id that a store or a token holds, if it is one.
    #[must_use]
    pub fn kept(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        (Self::of(bytes).0 == bytes).then_some(Self(bytes))
    }
}

impl FromStr for SessionId {
    type Err = ConfigError;

    /// Reads a UUID of this form alone, with lower-case digits or upper-case ones.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::without_value("session_id", "a UUID of version 4");
        let text = text.as_bytes();
        if text.len() != 36 || [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
            return Err(refused());
        }
        let mut digits = text.iter().filter(|byte| **byte != b'-');
        let mut digit = || {
            let digit = char::from(*digits.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (high, low) = (digit().ok_or_else(refused)?, digit().ok_or_else(refused)?);
            *byte = high << 4 | low;
        }
        Self::kept(&bytes).ok_or_else(refused)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_displays_and_nothing_else() {
        for random in [[0; 16], [255; 16], [0x5a; 16]] {
            let id = SessionId::of(random);
            let text = id.to_string();
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.to_uppercase().parse(), Ok(id));
            assert_eq!(SessionId::kept(id.as_bytes()), Some(id));
        }
        for text in [
            "",
            "9f3c1b0e5d644c7a8f0b2b6d1a9e4c11",
            "9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c1",
            "9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c111",
            "9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c1g",
            "9f3c1b0e-5d64-1c7a-8f0b-2b6d1a9e4c11",
            "9f3c1b0e-5d64-4c7a-cf0b-2b6d1a9e4c11",
            "9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c1-",
            "9f3c1b0eü5d64-4c7a-8f0b-2b6d1a9e4c1",
            &"x".repeat(36),
        ] {
            assert!(text.parse::<SessionId>().is_err(), "{text:?}");
        }
        assert_eq!(SessionId::kept(&[0; 16]), None);
        assert_eq!(SessionId::kept(&[0x40; 15]), None);
    }
}
