use std::sync::atomic::{AtomicU64, Ordering};

/// What was done to sessions, and how it went, since start: plain counters.
#[derive(Debug, Default)]
pub struct SessionTally {
    operations: [[AtomicU64; SessionOutcome::ALL.len()]; SessionOperation::ALL.len()],
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
}
