//! The port of the sessions, for authors of a store.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use super::token::{Claim, Proof};
use super::{Details, Lifetime, Session, SessionId};
use crate::model::UserId;
pub use crate::model::{Reply, SessionGate};

/// Keeps sessions.
///
/// The contract that every store is held to, by one conformance suite and a plain reference model. All times are the store's
/// own clock's, and each call sees them in one step with all that it does.
///
/// - **Life.** A session lives until it is ended, has been idle for its idle time, has its absolute age, or has another epoch
///   than its user. What does not live is never made to live again, by no order of calls.
/// - **Epoch.** Each user has a counter. It begins anywhere and only ever moves on, at [`KeepSessions::end_all`]. A session has
///   the epoch of its creation, and that of an `end_all` that kept it. A session whose user's epoch is lost does not live. The
///   epoch is kept for a day after a create or an `end_all`, and for as long as a session of the user may live.
/// - **Cap.** After a create, at most [`Keeping::max_per_user`] sessions of the user live, unless [`OnMax::Alert`].
/// - **Once.** A create first looks for its key, then whether the login was overtaken, then for a place.
/// - **Clock.** A moment of a session that lies in the future, since the clock stepped back, becomes now when the session is
///   looked at. So it lives no longer than its lifetimes from then on, and counts by the hour of that moment.
/// - **Secrets.** A store keeps a [`Proof`] and never a token.
pub trait SessionStore: Send + Sync + 'static {
    /// Prepares the store; binds share its sessions.
    fn keep_sessions(&self, keeping: &Keeping) -> Arc<dyn KeepSessions>;
}

/// A store bound to the settings of one layer. A store inside the process answers at once ([`Reply::Ready`]) and cannot fail. Any
/// other reply times out by itself, and after an error the call may have been executed.
pub trait KeepSessions: Send + Sync + 'static {
    /// The user's epoch, before credentials are checked.
    fn begin(&self, user: &UserId) -> Reply<Began>;

    /// Creates a session, unless the login was overtaken or the cap refuses it.
    fn create(&self, new: &Creation) -> Reply<Created>;

    /// Whether a claim proves a session that lives. With `touch`, notes activity, at most every [`Keeping::touch_every`].
    fn prove(&self, claim: &Claim, touch: bool) -> Reply<Proved>;

    /// Where the limits' call proves these sessions too, for people to read; `None` of a store in which it does not.
    fn proved_in(&self) -> Option<&str> {
        None
    }

    /// What that call needs to prove a claim, by the rules of [`KeepSessions::prove`].
    fn gate(&self, claim: &Claim, touch: bool) -> Option<SessionGate> {
        let _ = (claim, touch);
        None
    }

    /// The session of a record that such a call found to live; `None` of one that cannot be read.
    fn read(&self, claim: &Claim, record: &[u8]) -> Option<Session> {
        let _ = (claim, record);
        None
    }

    /// Gives a session that lives another secret, and what has changed of it. The old secret is worth nothing from then on.
    /// It is no activity. `None` if the claim proves nothing.
    fn rotate(&self, claim: &Claim, to: &Proof, renewal: &Renewal) -> Reply<Option<Session>>;

    /// Ends a session; `None` unless it lived.
    fn end(&self, user: &UserId, id: SessionId) -> Reply<Option<Session>>;

    /// Moves the user's epoch on, so that every session but the kept one ends, also one that no index knows, and every login
    /// that began before is overtaken. The sessions that lived, were known and ended, in any order.
    fn end_all(&self, user: &UserId, keep: Option<SessionId>) -> Reply<Vec<Session>>;

    /// The user's sessions that live, the newest activity first, in one round trip.
    fn list(&self, user: &UserId) -> Reply<Vec<Session>>;

    /// How many sessions the user had.
    fn statistics(&self, user: &UserId) -> Reply<Statistics>;

    /// Removes what is left of the user's sessions that no longer live; how many.
    fn clean(&self, user: &UserId) -> Reply<u64>;

    /// About how many sessions live, of all users: a session that was lost without a word is counted until it would have
    /// ended.
    fn active(&self) -> Reply<u64>;

    /// The sessions that live and are younger than this time, which is at most [`Origin::KEPT`], of those created from an
    /// origin; in any order.
    fn created_from(&self, origin: Origin, within: Duration) -> Reply<Vec<(UserId, SessionId)>>;
}

/// Settings that a store needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keeping {
    /// How often activity is noted, at most; less than every idle time.
    pub touch_every: Duration,
    /// How many sessions of a user may live.
    pub max_per_user: u16,
    /// What becomes of one more.
    pub on_max: OnMax,
}

impl Keeping {
    /// The default settings: activity every minute, 10 sessions a user, the oldest gives way.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            touch_every: Duration::from_secs(60),
            max_per_user: 10,
            on_max: OnMax::EvictOldest,
        }
    }
}

impl Default for Keeping {
    fn default() -> Self {
        Self::new()
    }
}

/// What becomes of a login when a user has as many sessions as may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnMax {
    /// The session that was created first ends.
    #[default]
    EvictOldest,
    /// The login is refused.
    Deny,
    /// The login goes on, and is told.
    Alert,
}

/// The moment before credentials were checked, as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Began {
    /// By the user's epoch then; `None` if there was none.
    Epoch(Option<u64>),
    /// By an identity provider's clock: an `end_all` at this moment or after it overtakes the login.
    At(SystemTime),
}

/// A session that is to be created.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Creation {
    /// Whose.
    pub user: UserId,
    /// The id, drawn at random.
    pub id: SessionId,
    /// The hash of its secret.
    pub proof: Proof,
    /// When the login began.
    pub began: Began,
    /// How long it lasts.
    pub lifetime: Lifetime,
    /// What the service says of it.
    pub details: Details,
    /// Where it was created from, as [`KeepSessions::created_from`] looks it up.
    pub origin: Option<Origin>,
    /// Repeats with one key, within [`Once::KEPT`], create one session.
    pub once: Option<Once>,
}

impl Creation {
    /// A session with nothing said of it.
    #[must_use]
    pub fn new(claim: Claim, began: Began, lifetime: Lifetime) -> Self {
        let Claim { user, id, proof } = claim;
        Self {
            user,
            id,
            proof,
            began,
            lifetime,
            details: Details::default(),
            origin: None,
            once: None,
        }
    }
}

/// The network that a session was created from, as a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(pub [u8; 16]);

impl Origin {
    /// How long an origin's sessions can be looked up.
    pub const KEPT: Duration = Duration::from_secs(7_200);
}

/// The hash of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Once(pub [u8; 16]);

impl Once {
    /// How long a key is remembered.
    pub const KEPT: Duration = Duration::from_secs(600);
}

/// What became of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Created {
    /// The session lives.
    New {
        /// It.
        session: Session,
        /// Those that it took the place of.
        evicted: Vec<Session>,
        /// Whether the user now has more than may live, by [`OnMax::Alert`].
        over: bool,
    },
    /// An earlier create with the same key made this session, which lives.
    Repeated(Session),
    /// An earlier create with the same key made a session that has ended.
    Ended,
    /// An `end_all` came after the login began, or the epoch that it began in is lost.
    Overtaken,
    /// As many sessions live as may, by [`OnMax::Deny`].
    AtMax,
    /// The store is at its bound.
    Full,
}

/// What a claim proved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proved {
    /// The session lives for this long yet without activity, and this is its secret.
    Lives(Session, Duration),
    /// The session lives, and has another secret by now.
    Rotated,
    /// No such session lives.
    Gone,
}

/// What changes with another secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Renewal {
    /// Whether the user has just logged in again.
    pub authenticated: bool,
    /// The level of assurance from now on.
    pub aal: Option<u8>,
}

/// How many sessions a user had in [`Statistics::OVER`]; `total` is the sum of the next three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// All of them.
    pub total: u64,
    /// Those that live, however old.
    pub active: u64,
    /// Those that idled or aged out, or were lost.
    pub expired: u64,
    /// Those that were ended.
    pub terminated: u64,
    /// Those that were created in this hour and the 24 before it.
    pub recent_24h: u64,
}

impl Statistics {
    /// Sessions count by the hour of their creation, this one and those within 30 days before it.
    pub const OVER: Duration = Duration::from_secs(30 * 86_400);
}
