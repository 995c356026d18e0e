use http::HeaderValue;

use super::store::{Began, Once};
use super::{Details, SessionType, Text};
use crate::ConfigError;
use crate::model::{Client, Secret, UserId};

/// What a service says of a session that it is about to create. Every text is bounded.
///
/// ```
/// use palisade::session::{NewSession, SessionType};
///
/// let new = NewSession::new().kind(SessionType::Mobile).method("password")?.aal(2).remember();
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct NewSession {
    pub(super) details: Details,
    pub(super) remember: bool,
    pub(super) client: Option<Client>,
    pub(super) key: Option<Box<str>>,
}

/// A login that has begun: from before the credentials were checked to the session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a login that has begun is to be finished by `create`"]
pub struct Begun {
    pub(super) user: UserId,
    pub(super) began: Began,
}

impl NewSession {
    /// A session of a browser, with nothing else said of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tenant.
    ///
    /// # Errors
    /// What is not 1 to 64 bytes without control characters; so too for the other texts.
    pub fn tenant(mut self, tenant: &str) -> Result<Self, ConfigError> {
        self.details.tenant = Some(Text::new("tenant", tenant)?);
        Ok(self)
    }

    /// The device, by an id of the service's own.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant).
    pub fn device(mut self, device: &str) -> Result<Self, ConfigError> {
        self.details.device = Some(Text::new("device", device)?);
        Ok(self)
    }

    /// The kind of client; a browser unless set.
    pub fn kind(mut self, kind: SessionType) -> Self {
        self.details.kind = kind;
        self
    }

    /// How the user logged in, such as `password`.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant).
    pub fn method(mut self, method: &str) -> Result<Self, ConfigError> {
        self.details.method = Some(Text::new("method", method)?);
        Ok(self)
    }

    /// The level of assurance of the login; 2 is a second factor.
    pub fn aal(mut self, aal: u8) -> Self {
        self.details.aal = aal;
        self
    }

    /// The identity provider's id of its session.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant).
    pub fn idp_session(mut self, id: &str) -> Result<Self, ConfigError> {
        self.details.idp_session = Some(Text::new("idp_session", id)?);
        Ok(self)
    }

    /// Anything else that the service keeps with it, of 1 to 256 bytes.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant), for more than 256 bytes.
    pub fn data(mut self, data: &str) -> Result<Self, ConfigError> {
        self.details.data = Some(Text::new("data", data)?);
        Ok(self)
    }

    /// By the request's `User-Agent`: family and system are kept, such as `Firefox on Linux`, and not the text.
    pub fn user_agent(mut self, header: Option<&HeaderValue>) -> Self {
        let text = header.and_then(|value| value.to_str().ok());
        self.details.user_agent = text.and_then(super::agent::summary);
        self
    }

    /// The client that logs in: a hash of its network is kept for two hours, to find the sessions of a convicted client.
    pub fn from(mut self, client: &Client) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// The user asked to be remembered: the session has the idle and absolute times of `remember`.
    pub fn remember(mut self) -> Self {
        self.remember = true;
        self
    }

    /// Repeats of a login with one key, within ten minutes, are answered with one session and one token. Keys of two users are
    /// two keys. Of an identity provider, use the login's `jti`: its `sid` outlives a logout.
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(super) fn once(&self, secret: &Secret) -> Option<Once> {
        let key = self.key.as_ref()?;
        Some(Once(secret.digest(b"session-once", key.as_bytes())))
    }
}
