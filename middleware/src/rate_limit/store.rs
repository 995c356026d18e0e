//! The port of the limits, for authors of a store.
//!
//! [`Store`] is for one that several processes share, and [`LocalStore`] for one inside this process, on which a layer
//! also falls back. Each is bound once to the policies of a layer, so that a request finds its logs without a search.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

pub use crate::model::{Barred, Found, Gate, Reply, SessionGate};
use crate::model::{PartitionKey, Quota, SOMEWHERE, StoreError, StoreErrorKind};

/// Keeps the logs of admitted cost.
///
/// The contract that every store is held to, by one conformance suite: in every half-open window `(t-w, t]` on
/// the store's clock the admitted cost of a key never exceeds its quota; a request that fits is never denied;
/// a request is charged to all its enforced policies or to none.
pub trait Store: Send + Sync + 'static {
    /// Prepares the logs of policies, each named once; binds of one name and window share its logs, whatever their order.
    /// Binds of other windows have others: a shorter window lets go of what a longer one still counts.
    fn bind(&self, policies: &[Logs]) -> Arc<dyn Admit>;
}

/// The logs of one policy: one for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logs {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The window of all of its quotas.
    pub window: Duration,
}

impl Logs {
    /// The logs of a policy with quotas of this window.
    ///
    /// ```
    /// use palisade::rate_limit::Quota;
    /// use palisade::rate_limit::store::{Logs, Store};
    /// use palisade::store::memory::MemoryStore;
    ///
    /// let quota: Quota = "200/1m".parse()?;
    /// let limits = MemoryStore::new().bind(&[Logs::of("ip", quota.window())]);
    /// # Ok::<(), palisade::ConfigError>(())
    /// ```
    pub fn of(policy: impl Into<Arc<str>>, window: Duration) -> Self {
        Self {
            policy: policy.into(),
            window,
        }
    }
}

/// A store bound to the policies of one layer.
pub trait Admit: Send + Sync + 'static {
    /// Charges all of the charges when every enforced one has room, otherwise none.
    ///
    /// A charge that is not enforced (dry run) is charged when the request is admitted and it has room itself.
    /// `charges` name each policy at most once, in the order of the bind, and only policies that were bound: the layer
    /// holds to it, and a store need not check.
    fn admit(&self, charges: &[Charge<'_>]) -> Reply<Verdict>;

    /// As [`Admit::admit`], unless the gate is closed: an enforced one then denies the request, and nothing is charged.
    ///
    /// The default is for a store that keeps no bans: every gate is open.
    fn admit_through(&self, gate: Gate, charges: &[Charge<'_>]) -> Reply<Verdict> {
        let _ = gate;
        self.admit(charges)
    }

    /// Proves a session, and decides the request as `proved` says if that session lives and this is its secret, and as
    /// `otherwise` says if not, in one step: nothing is looked up or charged for the other way.
    ///
    /// Where nobody can tell whether it lives, nothing is decided. The default is for a store that keeps no sessions.
    fn admit_either_way(
        &self,
        gate: &SessionGate,
        proved: Way<'_>,
        otherwise: Way<'_>,
    ) -> Reply<Shown> {
        let _ = (gate, proved, otherwise);
        let error = StoreError::new(StoreErrorKind::Failed);
        Reply::Ready(Err(error.with_source("this store keeps no sessions")))
    }

    /// Where the sessions are that [`Admit::admit_either_way`] proves, for people to read; `None` of a store that proves none.
    fn sessions_in(&self) -> Option<&str> {
        None
    }

    /// Where the bans are that a gate stands for, for people to read: as [`BanStore::place`] says it.
    ///
    /// [`BanStore::place`]: crate::suspicion::store::BanStore::place
    fn place(&self) -> &str {
        SOMEWHERE
    }

    /// Forgets the logs of a key under every policy of the bind, so that the key has its whole quota again; whether there was
    /// any. The default is for a store that cannot.
    fn forget(&self, key: &PartitionKey) -> Reply<bool> {
        let _ = key;
        let error = StoreError::new(StoreErrorKind::Failed);
        Reply::Ready(Err(error.with_source("this store forgets no single key")))
    }

    /// Whether the store is known not to answer at the moment, so that asking it is in vain.
    fn is_failing(&self) -> bool {
        false
    }
}

/// A store inside the process: it decides at once and cannot fail.
pub trait LocalStore: Store {
    /// As [`Store::bind`].
    fn bind_local(&self, policies: &[Logs]) -> Arc<dyn AdmitNow>;
}

/// A local store bound to the policies of one layer.
pub trait AdmitNow: Send + Sync + 'static {
    /// As [`Admit::admit`].
    fn admit_now(&self, charges: &[Charge<'_>]) -> Verdict;

    /// As [`Admit::forget`], of one policy.
    fn forget_now(&self, policy: usize, key: &PartitionKey) -> bool;
}

/// One charge: the cost of one request under one policy.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The policy, by its place in [`Store::bind`].
    pub policy: usize,
    /// The key of the log.
    pub key: &'a PartitionKey,
    /// The quota at this moment, with the window of the bind. A changed limit keeps the history.
    pub quota: Quota,
    /// How much the request costs, at least 1. More than [`Quota::MAX_COST`] never fits, whatever the limit.
    pub cost: u32,
    /// Whether a lack of room denies the request; `false` in a dry run.
    pub enforced: bool,
}

/// How a request is decided one way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way<'a> {
    /// What may refuse it before any policy does.
    pub gate: Option<&'a Gate>,
    /// Its charges; with none and no gate it passes.
    pub charges: &'a [Charge<'a>],
}

/// What became of a request that claims a session.
#[derive(Debug)]
pub struct Shown {
    /// What was found of the session; an error where only that failed.
    pub session: Result<Found, StoreError>,
    /// The decision, by the way that the session says; `None` where nothing was decided, since the session is not known.
    pub verdict: Option<Result<Verdict, StoreError>>,
}

/// What the store decided, one tier for each charge and in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether every enforced charge had room and no enforced gate was closed, and all were charged.
    pub admitted: bool,
    /// How long the gate that was asked for stays closed.
    pub banned: Barred,
    /// The state of each log after the decision.
    pub tiers: SmallVec<[Tier; 2]>,
}

/// The state of one key's log after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// How much cost still fits now.
    pub remaining: u32,
    /// From the decision until more than `remaining` fits; zero for an empty log.
    pub reset: Duration,
    /// `None` where the charge had room; otherwise how long from the decision until it can have.
    ///
    /// [`Duration::MAX`] for a cost above the limit or above [`Quota::MAX_COST`], which never fits.
    pub retry: Option<Duration>,
}
