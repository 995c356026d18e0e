use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::SessionId;
use crate::ConfigError;
use crate::model::UserId;

/// The session of a request: an extension that handlers and inner layers read.
///
/// It is there only if the store, or this process a moment ago, said that the session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The id, which opens nothing.
    pub id: SessionId,
    /// Whose session it is.
    pub user: UserId,
    /// What the service said of it when it was created.
    pub details: Arc<Details>,
    /// When it was created, on the store's clock, as are the others.
    pub created: SystemTime,
    /// The last login within it.
    pub authenticated: SystemTime,
    /// The last activity that was noted; one in each `touch_every` is.
    pub last_activity: SystemTime,
    /// How long it may be idle and how long it may last.
    pub lifetime: Lifetime,
}

impl Session {
    /// When it ends, unless there is activity before.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        let idle = self.last_activity.checked_add(self.lifetime.idle);
        let absolute = self.created.checked_add(self.lifetime.absolute);
        idle.into_iter()
            .chain(absolute)
            .min()
            .unwrap_or(self.created)
    }
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Without activity.
    pub idle: Duration,
    /// In any case; at least `idle`.
    pub absolute: Duration,
}

impl Lifetime {
    /// The shortest of either.
    pub const LEAST: Duration = Duration::from_secs(1);
    /// The longest of either: 400 days, the most that a browser keeps a cookie.
    pub const MOST: Duration = Duration::from_secs(400 * 86_400);
}

/// What a service says of a session. Every text is bounded; see [`Text`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Details {
    /// The tenant.
    pub tenant: Option<Text<64>>,
    /// The device, by an id of the service's own.
    pub device: Option<Text<64>>,
    /// The kind of client.
    pub kind: SessionType,
    /// How the user logged in, such as `password`.
    pub method: Option<Text<64>>,
    /// The level of assurance of the login, 0 to 3; 2 is a second factor.
    pub aal: u8,
    /// The identity provider's id of its session.
    pub idp_session: Option<Text<64>>,
    /// The browser's family and system, such as `Firefox on Linux`.
    pub user_agent: Option<Text<64>>,
    /// Anything else that the service keeps with it.
    pub data: Option<Text<256>>,
}

/// The kind of client that holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum SessionType {
    /// A browser.
    #[default]
    Web,
    /// An app on a phone.
    Mobile,
    /// A program.
    Api,
}

impl SessionType {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Web, Self::Mobile, Self::Api];

    /// How it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Mobile => "mobile",
            Self::Api => "api",
        }
    }
}

/// A text of 1 to `MOST` bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MOST: usize>(Arc<str>);

impl<const MOST: usize> Text<MOST> {
    /// The text, if it is one; `key` is what the error calls it.
    ///
    /// # Errors
    /// An empty text, a longer one, and control characters. The error does not repeat the text.
    pub fn new(key: &str, text: &str) -> Result<Self, ConfigError> {
        if (1..=MOST).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Ok(Self(text.into()));
        }
        let allowed = format!("1 to {MOST} bytes without control characters");
        Err(ConfigError::without_value(key, allowed))
    }

    /// As much of a text of any length as fits, with `?` for each control character; `None` if nothing is left.
    #[must_use]
    pub fn cut(text: &str) -> Option<Self> {
        let mut end = text.len().min(MOST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let clean = |c: char| if c.is_control() { '?' } else { c };
        let text: String = text[..end].chars().map(clean).collect();
        // A control character of two bytes becomes one byte: it only gets shorter.
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> fmt::Debug for Text<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<const MOST: usize> fmt::Display for Text<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_bounded_and_has_no_control_characters() {
        assert!(Text::<4>::new("t", "abcd").is_ok());
        for text in ["", "abcde", "a\n", "ab\u{85}"] {
            let error = Text::<4>::new("t", text).unwrap_err();
            assert_eq!(
                error.to_string(),
                "`t` cannot be used: allowed is 1 to 4 bytes without control characters"
            );
        }
        let cut = |text| Text::<4>::cut(text).map(|text| text.to_string());
        assert_eq!(cut("abcdef").as_deref(), Some("abcd"));
        assert_eq!(cut("abcü").as_deref(), Some("abc"));
        assert_eq!(cut("\n\u{85}").as_deref(), Some("??"));
        assert_eq!(cut(""), None);
    }

    #[test]
    fn a_session_ends_by_idling_or_by_its_age_whichever_comes_first() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let session = |last_activity| Session {
            id: SessionId::of([1; 16]),
            user: UserId::kept("ada").unwrap(),
            details: Arc::default(),
            created: at(0),
            authenticated: at(0),
            last_activity: at(last_activity),
            lifetime: Lifetime {
                idle: Duration::from_secs(10),
                absolute: Duration::from_secs(100),
            },
        };
        assert_eq!(session(0).expires(), at(10));
        assert_eq!(session(80).expires(), at(90));
        assert_eq!(session(95).expires(), at(100));
    }
}
