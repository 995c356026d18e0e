use std::sync::Arc;
use std::time::Duration;

use super::{Network, StoreErrorKind, UserId};

/// What may refuse a request before any policy does: the ban of its client or of its user, looked up in the same call.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Who may be banned.
    pub client: Network,
    /// Who may be banned too, if verified.
    pub user: Option<UserId>,
    /// Whether a ban denies the request; `false` in a dry run.
    pub enforced: bool,
}

/// Where bans are, of a store that does not say which it is.
pub(crate) const SOMEWHERE: &str = "a store that does not say where it is";

/// How long those behind a request are still banned; `None` who is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Barred {
    /// The client.
    pub client: Option<Duration>,
    /// The verified user.
    pub user: Option<Duration>,
}

impl Barred {
    /// How long the request is refused, if it is: until the later end.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.client.max(self.user)
    }
}

/// The bans of a request, as an extension of the request: the limits ask about them in their own call.
#[derive(Clone)]
pub(crate) enum Screened {
    /// Nobody asked yet.
    Open(Gate, Arc<dyn HearBan>),
    /// How long the request is still banned, if it is. The bans' layer asks nothing then.
    Heard(Option<Duration>),
}

/// Takes the store's answer about a ban.
pub(crate) trait HearBan: Send + Sync {
    /// How long the request is banned by this answer, or by what the process knows if there is none.
    fn hear(&self, gate: &Gate, answer: Result<Barred, StoreErrorKind>) -> Option<Duration>;
}

impl Screened {
    /// What is to be asked.
    pub(crate) fn gate(&self) -> Option<&Gate> {
        match self {
            Self::Open(gate, _) => Some(gate),
            Self::Heard(_) => None,
        }
    }

    /// Takes the store's answer.
    pub(crate) fn hear(&mut self, answer: Result<Barred, StoreErrorKind>) {
        if let Self::Open(gate, bans) = self {
            *self = Self::Heard(bans.hear(gate, answer));
        }
    }
}
