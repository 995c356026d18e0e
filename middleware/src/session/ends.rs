//! Why sessions ended.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::SessionId;

/// Why a session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Its user wanted so: a logout, or an end of another session of its own.
    UserRequest,
    /// An operator did.
    Admin,
    /// A newer one took its place at `max_per_user`.
    Evicted,
    /// The client that created it was convicted of trying credentials.
    Conviction,
    /// A factor of its user's was changed.
    FactorChanged,
}

impl EndReason {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::UserRequest,
        Self::Admin,
        Self::Evicted,
        Self::Conviction,
        Self::FactorChanged,
    ];

    /// The label's value, and the reason's name in streams.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserRequest => "user_request",
            Self::Admin => "admin",
            Self::Evicted => "evicted",
            Self::Conviction => "conviction",
            Self::FactorChanged => "factor_changed",
        }
    }
}

/// Ends that are remembered for the streams, which look once a second.
const REMEMBERED: usize = 1_024;

/// The latest ends in this process, the newest last.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<VecDeque<(SessionId, EndReason)>>);

impl Ends {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(SessionId, EndReason)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, id: SessionId, reason: EndReason) {
        let mut ends = self.lock();
        if ends.len() >= REMEMBERED {
            ends.pop_front();
        }
        ends.push_back((id, reason));
    }

    /// Why a session ended; `None` if it ended by itself, in another process, or long ago.
    #[cfg_attr(not(feature = "session-api"), allow(dead_code))]
    pub(super) fn reason(&self, id: SessionId) -> Option<EndReason> {
        let ends = self.lock();
        let mut newest_first = ends.iter().rev();
        let (_, reason) = newest_first.find(|(ended, _)| *ended == id)?;
        Some(*reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ends_are_remembered() {
        let ends = Ends::default();
        let id = |n: usize| {
            let [a, b] = (n as u16).to_be_bytes();
            SessionId::of([a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        };
        for n in 0..=REMEMBERED {
            ends.note(id(n), EndReason::Admin);
        }
        assert_eq!(ends.reason(id(0)), None);
        assert_eq!(ends.reason(id(1)), Some(EndReason::Admin));
        ends.note(id(1), EndReason::Evicted);
        assert_eq!(ends.reason(id(1)), Some(EndReason::Evicted));
    }
}
