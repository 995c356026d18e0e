//! The port of the bans.

use std::time::Duration;

use super::{Ban, Sentence};
use crate::model::{Network, Reply};
use crate::suspicion::IncidentKind;

/// Keeps the bans that processes share.
///
/// The contract that every store is held to, for each client on the store's clock: a client is banned while the end of
/// its ban is later than now. No call but [`lift`](Self::lift) makes a ban end sooner. An offence is remembered until
/// [`Sentence::FORGET_AFTER`] has passed since the end of the client's last ban, and the offence of number `n` bans for
/// [`Sentence::length`] of `n`. Each call is atomic; its reply times out by itself, and a call that failed may have
/// been executed.
pub trait BanStore: Send + Sync + 'static {
    /// Counts an offence and bans the client for it; `roll` is that of [`Sentence::length`]. The ban as it then stands.
    fn impose(
        &self,
        client: Network,
        kind: IncidentKind,
        sentence: &Sentence,
        roll: u32,
    ) -> Reply<Ban>;

    /// Bans a client by hand, which is no offence, for [`Ban::SHORTEST`] to [`Ban::LONGEST`]. The ban as it then
    /// stands.
    fn impose_for(&self, client: Network, length: Duration) -> Reply<Ban>;

    /// Ends a client's ban and forgets its offences; whether it was banned.
    fn lift(&self, client: Network) -> Reply<bool>;

    /// How long a client is still banned, if it is.
    fn banned_for(&self, client: Network) -> Reply<Option<Duration>>;

    /// At most `limit` bans, in the order in which they end, the latest first.
    ///
    /// A store may keep only the 10,000 that end last for the list. A ban that is not listed still holds.
    fn list(&self, limit: usize) -> Reply<Vec<Ban>>;
}

/// A store inside the process: as [`BanStore`], but it answers at once and cannot fail.
pub trait LocalBanStore: Send + Sync + 'static {
    /// As [`BanStore::impose`].
    fn impose_now(
        &self,
        client: Network,
        kind: IncidentKind,
        sentence: &Sentence,
        roll: u32,
    ) -> Ban;

    /// As [`BanStore::impose_for`].
    fn impose_for_now(&self, client: Network, length: Duration) -> Ban;

    /// As [`BanStore::lift`].
    fn lift_now(&self, client: Network) -> bool;

    /// As [`BanStore::banned_for`].
    fn banned_for_now(&self, client: Network) -> Option<Duration>;

    /// As [`BanStore::list`].
    fn list_now(&self, limit: usize) -> Vec<Ban>;
}
