use std::sync::Arc;
use std::time::Duration;

use super::{Network, StoreErrorKind};

/// What may refuse a client before any policy does: a ban, looked up in the same call.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    /// Who may be banned.
    pub client: Network,
    /// Whether a ban denies the request; `false` in a dry run.
    pub enforced: bool,
}

/// The ban of a request's client, as an extension of the request: the limits ask about it in their own call.
#[derive(Clone)]
pub(crate) enum Screened {
    /// Nobody asked yet.
    Open(Gate, Arc<dyn HearBan>),
    /// How long the client is still banned, if it is. The bans' layer asks nothing then.
    Heard(Option<Duration>),
}

/// Takes the store's answer about a ban.
pub(crate) trait HearBan: Send + Sync {
    /// How long the client is banned by this answer, or by what the process knows if there is none.
    fn hear(
        &self,
        client: Network,
        answer: Result<Option<Duration>, StoreErrorKind>,
    ) -> Option<Duration>;
}

impl Screened {
    /// What is to be asked.
    pub(crate) fn gate(&self) -> Option<Gate> {
        match self {
            Self::Open(gate, _) => Some(*gate),
            Self::Heard(_) => None,
        }
    }

    /// Takes the store's answer.
    pub(crate) fn hear(&mut self, answer: Result<Option<Duration>, StoreErrorKind>) {
        if let Self::Open(gate, bans) = self {
            *self = Self::Heard(bans.hear(gate.client, answer));
        }
    }
}
