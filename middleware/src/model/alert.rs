use std::fmt;
use std::time::SystemTime;

use super::{SessionId, UserId};

/// A security event of a user's sessions: something that their owner should look at.
///
/// It has no address, no secret and no text of the client's, so that it may be shown and sent to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alert {
    /// What it is.
    pub kind: AlertKind,
    /// Whose session it is about.
    pub user: UserId,
    /// The session; `None` if it is about the user alone.
    pub session: Option<SessionId>,
    /// When it was seen, by this process's clock.
    pub at: SystemTime,
}

impl Alert {
    /// An alert of now.
    #[must_use]
    pub fn new(kind: AlertKind, user: UserId, session: Option<SessionId>) -> Self {
        Self {
            kind,
            user,
            session,
            at: SystemTime::now(),
        }
    }
}

/// What an [`Alert`] is about; the label `type` of `session.security_events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AlertKind {
    /// A login found as many sessions of the user as may live.
    ConcurrentSessions,
    /// One session is used from two networks in turns, within a minute.
    ConcurrentNetworks,
    /// A session is used by another browser, or on another system, than the one that it was created for.
    UserAgentChanged,
    /// One session is used from two places that nobody travels between so fast.
    ImpossibleTravel,
    /// A session was created by a client that was then banned for trying credentials.
    SessionFromConvictedClient,
    /// A login succeeded from a client, or for an account, that had failed too often before.
    SuccessAfterFailures,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::ConcurrentSessions,
        Self::ConcurrentNetworks,
        Self::UserAgentChanged,
        Self::ImpossibleTravel,
        Self::SessionFromConvictedClient,
        Self::SuccessAfterFailures,
    ];

    /// The label's value, and the kind's name in logs and streams.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrentSessions => "concurrent_sessions",
            Self::ConcurrentNetworks => "concurrent_networks",
            Self::UserAgentChanged => "user_agent_changed",
            Self::ImpossibleTravel => "impossible_travel",
            Self::SessionFromConvictedClient => "session_from_convicted_client",
            Self::SuccessAfterFailures => "success_after_failures",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
