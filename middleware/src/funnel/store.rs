//! The port of the funnel, by which a store counts visitors; for authors of a store.
//!
//! [`VisitStore`] is for one that several processes share, [`LocalVisitStore`] for one inside this process.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

pub use crate::model::Reply;
use crate::model::{Network, PartitionKey, Secret, UserId};

/// Keeps how far each visitor came.
///
/// The contract that every store is held to, for each visitor and on the store's clock: a window begins with a counted
/// reach of stage 0 and lasts as long as the call says; windows never overlap. In a window each stage counts
/// at most once, and stage k only at a moment that lies in the window and at or after the one of stage k-1. A reach that
/// comes before its predecessor's is remembered by the latest moment, and counts as soon as the predecessor does at an
/// earlier or the same moment. A reach of a moment before the visitor's window, or in one that a later reach has ended,
/// counts nothing.
///
/// Journeys of another window, or through other stages, are others: the same visitor begins each anew.
pub trait VisitStore: Send + Sync + 'static {
    /// Counts reaches of these journeys in their order, all in one round trip; one [`Progress`] for each.
    ///
    /// The reply times out by itself. A call that failed may have been executed.
    fn reach(&self, journeys: Journeys, reaches: &[Reach]) -> Reply<Vec<Progress>>;
}

/// A store inside the process: as [`VisitStore`], but it answers at once and cannot fail.
pub trait LocalVisitStore: Send + Sync + 'static {
    /// As [`VisitStore::reach`].
    fn reach_now(&self, journeys: Journeys, reaches: &[Reach]) -> Vec<Progress>;
}

/// Which journeys a visitor's reaches belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Journeys {
    /// For how long a visitor counts once.
    pub window: Duration,
    /// A fingerprint of the stages: 32 bits of a hash of their names in order. A stage on another route is the same stage.
    pub stages: u32,
}

impl Journeys {
    /// Journeys in windows of this length through the stages of these names.
    #[must_use]
    pub fn of<'a>(stages: impl IntoIterator<Item = &'a str>, window: Duration) -> Self {
        let mut hash = Sha256::new();
        for stage in stages {
            hash.update((stage.len() as u64).to_be_bytes());
            hash.update(stage);
        }
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
        Self {
            window,
            stages: u32::from_be_bytes([a, b, c, d]),
        }
    }
}

/// A visitor of the funnel: a verified user, or else everyone of one network.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Visitor(PartitionKey);

impl Visitor {
    /// A verified user, by the id.
    #[must_use]
    pub fn user(user: UserId) -> Self {
        Self(user.into())
    }

    /// An anonymous client, by a keyed hash of the network, which does not identify the client.
    #[must_use]
    pub fn anonymous(network: Network, secret: &Secret) -> Self {
        Self(PartitionKey::hashed(
            b"visitor",
            network.to_string().as_bytes(),
            secret,
        ))
    }

    /// The visitor as a key: 1 to 64 characters.
    pub(crate) fn key(&self) -> &PartitionKey {
        &self.0
    }
}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A visitor reached a stage.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The visitor.
    pub visitor: Visitor,
    /// The stage's place in the funnel, from 0 and below [`Reach::STAGES`].
    pub stage: u8,
    /// How long ago, at most [`Reach::OLDEST`]. An age, since it means the same on every clock.
    pub age: Duration,
}

impl Reach {
    /// How many stages a funnel may have.
    pub const STAGES: usize = 16;
    /// Older reaches are not brought to a store, so it need not keep for longer the state that they could change.
    pub const OLDEST: Duration = Duration::from_secs(30);
    /// How long a store keeps state that only late reaches can change: twice the oldest, for the way to the store.
    pub(crate) const KEPT: Duration = Duration::from_secs(60);
}

/// The result of a reach: the stages that it made count, and how far the visitor is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// How many stages were counted in the visitor's window before: those below it.
    pub before: u8,
    /// The stages that this reach made count, from stage `before` on: for each the time since the one before it, zero for
    /// stage 0. Several when the reach was late, and later stages waited for it.
    pub steps: SmallVec<[Duration; 2]>,
    /// From now to the end of the visitor's window; zero without one.
    pub left: Duration,
    /// Whether nothing was counted or remembered, since the store has no room for a visitor that it does not know.
    pub refused: bool,
}

impl Progress {
    /// How many stages are counted in the visitor's window now: those below it.
    #[must_use]
    pub fn counted(&self) -> u8 {
        // At most 16.
        self.before.saturating_add(self.steps.len() as u8)
    }
}
