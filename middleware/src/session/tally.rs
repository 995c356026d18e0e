use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::EndReason;
use crate::model::AlertKind;

/// What was done to sessions, and how it went, since start: plain counters.
#[derive(Debug, Default)]
pub struct SessionTally {
    operations: [[AtomicU64; SessionOutcome::ALL.len()]; SessionOperation::ALL.len()],
    alerts: [AtomicU64; AlertKind::ALL.len()],
    ends: [AtomicU64; EndReason::ALL.len()],
    active: Mutex<Option<Active>>,
}

/// What the store said of the sessions that live.
#[derive(Debug)]
struct Active {
    count: u64,
    until: Instant,
}

/// Something that is done to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionOperation {
    /// A login.
    Create,
    /// A request with a token.
    Validate,
    /// Another secret.
    Rotate,
    /// An end, of one session or of many.
    End,
    /// A look at a user's sessions.
    List,
}

impl SessionOperation {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Validate,
        Self::Rotate,
        Self::End,
        Self::List,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Validate => "validate",
            Self::Rotate => "rotate",
            Self::End => "end",
            Self::List => "list",
        }
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionOutcome {
    /// It was done; a token was valid.
    Done,
    /// Done before: a repeat with the same idempotency key, a token that this process proved a moment ago.
    Known,
    /// Refused: overtaken, at the cap, a token that opens nothing any more.
    Refused,
    /// A token that this service did not make, or more than one.
    Forged,
    /// The store failed.
    Failed,
    /// The store failed, and what this process knew stood in.
    FallenBack,
}

impl SessionOutcome {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Done,
        Self::Known,
        Self::Refused,
        Self::Forged,
        Self::Failed,
        Self::FallenBack,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Known => "known",
            Self::Refused => "refused",
            Self::Forged => "forged",
            Self::Failed => "failed",
            Self::FallenBack => "fallen_back",
        }
    }
}

impl SessionTally {
    pub(super) fn count(&self, operation: SessionOperation, outcome: SessionOutcome) {
        self.operations[operation as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often an operation went so.
    #[must_use]
    pub fn operations(&self, operation: SessionOperation, outcome: SessionOutcome) -> u64 {
        self.operations[operation as usize][outcome as usize].load(Ordering::Relaxed)
    }

    pub(super) fn alert(&self, kind: AlertKind) {
        self.alerts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many security events of a kind this process told.
    #[must_use]
    pub fn alerts(&self, kind: AlertKind) -> u64 {
        self.alerts[kind as usize].load(Ordering::Relaxed)
    }

    pub(super) fn end(&self, reason: EndReason, sessions: u64) {
        self.ends[reason as usize].fetch_add(sessions, Ordering::Relaxed);
    }

    /// How many sessions this process ended for a reason.
    #[must_use]
    pub fn ends(&self, reason: EndReason) -> u64 {
        self.ends[reason as usize].load(Ordering::Relaxed)
    }

    /// Takes the store's count, which stands for so long.
    pub(super) fn count_active(&self, count: u64, asked: Instant, stands: Duration) {
        let until = asked + stands;
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Some(Active { count, until });
    }

    /// About how many sessions live in the store, of all users and from all processes; `None` until it was counted, and
    /// while the store has not answered for three counts.
    #[must_use]
    pub fn active(&self) -> Option<u64> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let active = active.as_ref()?;
        (Instant::now() < active.until).then_some(active.count)
    }
}
