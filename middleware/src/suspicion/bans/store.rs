//! The port of the bans.

use std::time::Duration;

use super::{Ban, Sentence, Subject};
use crate::model::{Barred, Network, Reply, SOMEWHERE, UserId};
use crate::suspicion::{IncidentKind, Threshold};

/// A failure that counts towards a ban of its client or user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who failed.
    pub subject: Subject,
    /// The kind that it is a failure of.
    pub kind: IncidentKind,
    /// How many distinct things in which window are an offence.
    pub threshold: Threshold,
    /// The thing that it failed at: 64 bits of a hash.
    pub thing: u64,
}

/// Keeps the bans that processes share, and what counts towards them.
///
/// The contract that every store is held to, for each subject on the store's clock: it is banned while the end of
/// its ban is later than now. No call but [`lift`](Self::lift) makes a ban end sooner. An offence is remembered until
/// [`Sentence::FORGET_AFTER`] has passed since the end of its last ban, and the offence of number `n` bans for
/// [`Sentence::length`] of `n`. Should the clock step back to before a ban, the ban begins anew: it never lasts for longer
/// than it was imposed for. Each call is atomic; its reply times out by itself, and a call that failed may have
/// been executed.
pub trait BanStore: Send + Sync + 'static {
    /// Counts evidence, and bans those whose evidence is an offence; `roll` is that of [`Sentence::length`]. Returns
    /// these bans.
    ///
    /// An offence is the evidence that makes the distinct things of the subject and the kind, each by when it was last seen,
    /// reach the threshold in its window `(t-w, t]`. Evidence that comes during a ban of the subject does not count, and none
    /// counts any more from before its last ban or lift. So what was under way when a ban began is no further
    /// offence, and who goes on after its end is banned again.
    ///
    /// Calls that name a kind share what it counts, so calls on one store should ask for the same threshold and window: a call
    /// that asks for a shorter one forgets what lies beyond it.
    fn convict(&self, evidence: &[Evidence], sentence: &Sentence, roll: u32) -> Reply<Vec<Ban>>;

    /// Bans by hand, which is no offence, for [`Ban::SHORTEST`] to [`Ban::LONGEST`]. The ban as it then
    /// stands.
    fn impose_for(&self, subject: &Subject, length: Duration) -> Reply<Ban>;

    /// Ends a ban, and forgets the subject's offences and what counts towards the next; whether it was banned.
    fn lift(&self, subject: &Subject) -> Reply<bool>;

    /// How long a client and a user are still banned.
    fn banned_for(&self, client: Network, user: Option<&UserId>) -> Reply<Barred>;

    /// Where the bans are, for people to read, and without credentials: the server and the prefix of the keys, or their like.
    ///
    /// [`PreflightLayer`](crate::preflight::PreflightLayer) has the limits' store asked about bans, so it refuses limits whose
    /// store says something else.
    fn place(&self) -> &str {
        SOMEWHERE
    }

    /// At most `limit` bans, in the order in which they end, the latest first.
    ///
    /// A store may keep only the 10,000 that end last for the list. A ban that is not listed still holds.
    fn list(&self, limit: usize) -> Reply<Vec<Ban>>;
}

/// A store inside the process: as [`BanStore`], but it answers at once and cannot fail.
pub trait LocalBanStore: Send + Sync + 'static {
    /// As [`BanStore::convict`].
    fn convict_now(&self, evidence: &[Evidence], sentence: &Sentence, roll: u32) -> Vec<Ban>;

    /// As [`BanStore::impose_for`].
    fn impose_for_now(&self, subject: &Subject, length: Duration) -> Ban;

    /// As [`BanStore::lift`].
    fn lift_now(&self, subject: &Subject) -> bool;

    /// How long a subject is still banned, if it is.
    fn banned_for_now(&self, subject: &Subject) -> Option<Duration>;

    /// As [`BanStore::list`].
    fn list_now(&self, limit: usize) -> Vec<Ban>;
}
