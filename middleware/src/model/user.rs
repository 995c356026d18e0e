use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ConfigError;

/// A verified user's id, in the bounded form that keys and events use.
///
/// An id of 1 to 64 characters of `A-Za-z0-9._@-` stands as it is; any other is replaced by a keyed hash,
/// `~` and 32 hexadecimal digits, which no plain id can equal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Longest id, in characters, that is kept as it is.
    pub const MAX_PLAIN: usize = 64;

    /// The key form of `subject`, hashed with `secret` where it is not plain.
    ///
    /// ```
    /// use palisade::client::{Secret, UserId};
    ///
    /// let secret = Secret::from_bytes(b"at least sixteen bytes, from a file");
    /// assert_eq!(UserId::new("ada@example.org", &secret).as_str(), "ada@example.org");
    /// assert!(UserId::new("Ada Lovelace", &secret).as_str().starts_with('~'));
    /// ```
    #[must_use]
    pub fn new(subject: &str, secret: &Secret) -> Self {
        if is_plain(subject) {
            Self(subject.into())
        } else {
            Self(secret.hash(b"user", subject.as_bytes()).into())
        }
    }

    /// An id that was kept in its key form.
    pub(crate) fn kept(text: &str) -> Option<Self> {
        Self::is_legal(text).then(|| Self(text.into()))
    }

    /// The id as shared text.
    pub(crate) fn into_text(self) -> Arc<str> {
        self.0
    }

    /// Whether `text` can be the key form of a user at all.
    pub(crate) fn is_legal(text: &str) -> bool {
        let is_hash = |hash: &str| {
            hash.len() == 32
                && hash
                    .bytes()
                    .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        };
        is_plain(text) || text.strip_prefix('~').is_some_and(is_hash)
    }

    /// The id as text, at most 64 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_plain(subject: &str) -> bool {
    (1..=UserId::MAX_PLAIN).contains(&subject.len())
        && subject
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'-'))
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The key of the hashes that replace client-chosen text in keys and events.
///
/// Processes that share a store must share the secret too. Otherwise a user whose id is hashed has other keys, and so limits
/// of its own, in each process.
#[derive(Clone)]
pub struct Secret(Arc<Hmac<Sha256>>);

impl Secret {
    /// A secret from bytes of the operator's choice, of any length; 32 random bytes are a good one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // HMAC takes keys of any length (RFC 2104, section 2), so the error arm is never taken.
        let mac = Hmac::<Sha256>::new_from_slice(bytes)
            .unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self(Arc::new(mac))
    }

    /// The fewest bytes of a secret that an operator configures.
    pub(crate) const LEAST: usize = 16;
    pub(crate) const ALLOWED: &str = "a secret of at least 16 bytes";

    /// The secret in a file; `key` is the setting that names the file.
    pub(crate) fn from_file(key: &str, path: &Path) -> Result<Self, ConfigError> {
        let refused = |why| {
            // Where there is no such place, the secret itself may stand there.
            let is_a_place = path.is_absolute() || path.parent().is_some_and(Path::is_dir);
            if is_a_place {
                ConfigError::new(key, path.display(), why)
            } else {
                ConfigError::without_value(key, why)
            }
        };
        let bytes = std::fs::read(path)
            .map_err(|error| refused(format!("a file that can be read ({error})")))?;
        let bytes = bytes.trim_ascii_end();
        if bytes.len() < Self::LEAST {
            return Err(refused(format!("a file with {}", Self::ALLOWED)));
        }
        Ok(Self::from_bytes(bytes))
    }

    /// A secret of this process alone: 32 bytes from the operating system, drawn once at start.
    ///
    /// # Errors
    /// [`ConfigError`] when the operating system has no random bytes to give; [`Secret::from_bytes`] needs none.
    pub fn random() -> Result<Self, ConfigError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| {
            ConfigError::new(
                "secret",
                "random",
                format!("a secret of your own, because the operating system gave no random bytes ({error})"),
            )
        })?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Whether both key the same hashes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.digest(b"same", &[]) == other.digest(b"same", &[])
    }

    /// `~` and 128 bits of HMAC-SHA-256 over the domain and the text, in hexadecimal.
    #[must_use]
    pub(crate) fn hash(&self, domain: &[u8], text: &[u8]) -> String {
        use fmt::Write;
        self.digest(domain, text)
            .iter()
            .fold(String::from("~"), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }

    /// The 128 bits that [`hash`](Self::hash) writes.
    #[must_use]
    pub(crate) fn digest(&self, domain: &[u8], text: &[u8]) -> [u8; 16] {
        let mut mac = Hmac::clone(&self.0);
        mac.update(domain);
        mac.update(&[0]);
        mac.update(text);
        let mut digest = [0; 16];
        digest.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        digest
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_1_to_64_plain_characters_stands_as_it_is() {
        let secret = Secret::from_bytes(b"secret");
        for id in ["a", "ada@example.org", "A-Z_a.z-0", &"x".repeat(64)] {
            assert_eq!(UserId::new(id, &secret).as_str(), id);
        }
        for id in [
            "",
            "~",
            "a b",
            "a:b",
            "a{b}",
            "a\nb",
            "ädä",
            "\u{202e}",
            &"x".repeat(65),
            &"x".repeat(100_000),
        ] {
            let hashed = UserId::new(id, &secret);
            let digits = hashed.as_str().strip_prefix('~').unwrap();
            assert!(
                digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()),
                "{hashed}"
            );
        }
    }

    #[test]
    fn a_hash_depends_on_the_text_and_the_secret_and_cannot_be_chosen() {
        let (one, two) = (Secret::from_bytes(b"one"), Secret::from_bytes(b"two"));
        let hashed = UserId::new("a b", &one);
        assert_eq!(hashed, UserId::new("a b", &Secret::from_bytes(b"one")));
        assert_ne!(hashed, UserId::new("a c", &one));
        assert_ne!(hashed, UserId::new("a b", &two));
        assert_ne!(hashed, UserId::new(hashed.as_str(), &one));
    }

    #[test]
    fn random_secrets_differ_and_show_nothing() {
        let (one, two) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(UserId::new("a b", &one), UserId::new("a b", &two));
        assert_eq!(format!("{one:?}"), "Secret(…)");
    }
}
