//! The ports of suspicion and its bans, for authors of a store.
//!
//! [`FailureStore`] and [`BanStore`] are for one that several processes share, [`LocalFailureStore`] and
//! [`LocalBanStore`] for one inside this process, on which a layer also falls back.

use std::time::Duration;

use http::StatusCode;

pub use super::bans::store::{BanStore, Evidence, LocalBanStore};
use super::{AccountHash, AccountState, IncidentKind, LoginAttempt, Threshold};
pub use crate::model::{Barred, Reply};
use crate::model::{Network, Route};

/// Keeps the logs of failures.
///
/// The contract that every store is held to, for each client and kind on the store's clock: an episode begins with
/// the failure that makes the count in its window `(t-w, t]` reach the threshold, which is an incident; while it lasts,
/// the first failure a whole window or more after the last incident is another; it ends when fewer than half the
/// threshold are left in the window.
///
/// By a rule of [distinct items](Rule::distinct), these are counted instead of failures, each by when it was last seen: the
/// things of a client's failures; of the [kinds of logins](IncidentKind::is_of_logins), accounts whose login failed from a
/// client, networks that failed on an account, networks that logged in to an account under suspicion. The items of a call are
/// counted after all of its failures, in their order.
///
/// Calls by the same [`Rule`] share its logs. By another threshold or window a kind has other logs: each counts as if alone.
pub trait FailureStore: Send + Sync + 'static {
    /// Counts each request for every one of these kinds that [counts it](FailedRequest::counts), all in one round trip.
    ///
    /// The reply times out by itself. A call that failed may have been executed.
    fn count(&self, rules: &[Rule], requests: &[FailedRequest]) -> Reply<Counts>;

    /// Looks an account up: one read, which changes nothing. Without [`IncidentKind::DistributedStuffing`] among the kinds,
    /// no account is under attack.
    fn account(&self, rules: &[Rule], account: AccountHash) -> Reply<AccountState>;
}

/// A store inside the process: as [`FailureStore`], but it answers at once and cannot fail.
pub trait LocalFailureStore: Send + Sync + 'static {
    /// As [`FailureStore::count`].
    fn count_now(&self, rules: &[Rule], requests: &[FailedRequest]) -> Vec<Incident>;

    /// As [`FailureStore::account`].
    fn account_now(&self, rules: &[Rule], account: AccountHash) -> AccountState;
}

/// A kind and when it is suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// The kind.
    pub kind: IncidentKind,
    /// How many failures, or distinct items, in which window.
    pub threshold: Threshold,
    /// Whether distinct items are counted instead of failures, as the kinds of logins always do.
    pub distinct: bool,
}

impl Rule {
    /// A kind that counts failures, or if it is one of logins, distinct accounts or networks.
    #[must_use]
    pub const fn new(kind: IncidentKind, threshold: Threshold) -> Self {
        Self {
            kind,
            threshold,
            distinct: kind.is_of_logins(),
        }
    }

    /// A kind that counts the distinct [things](FailedRequest::thing) of failures, or distinct accounts or networks.
    #[must_use]
    pub const fn of_distinct(kind: IncidentKind, threshold: Threshold) -> Self {
        Self {
            kind,
            threshold,
            distinct: true,
        }
    }
}

/// A request that the service answered with a client error, or with the outcome of a login.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedRequest {
    /// The client.
    pub client: Network,
    /// The status of the response.
    pub status: StatusCode,
    /// The route's template, kept as evidence.
    pub route: Route,
    /// The login that it was, if its handler said so and some kind counts it.
    pub login: Option<LoginAttempt>,
    /// The thing that failed, as 64 bits of a keyed hash: what failures are told apart by.
    pub thing: u64,
    /// The kinds that leave it out, a bit for each place in [`IncidentKind::BY_STATUS`].
    pub(crate) left_out: u8,
    /// Whether it counts towards a ban of its verified user rather than of the client, whose address others may share; a guess
    /// at other credentials does not.
    pub(crate) is_of_user: bool,
}

impl FailedRequest {
    /// A failure that every kind counts that [counts its status](IncidentKind::counts), and no login.
    #[must_use]
    pub const fn new(client: Network, status: StatusCode, route: Route) -> Self {
        Self {
            client,
            status,
            route,
            login: None,
            thing: 0,
            left_out: 0,
            is_of_user: false,
        }
    }

    /// Whether it is a failure of the kind; never of the kinds of logins.
    #[must_use]
    pub fn counts(&self, kind: IncidentKind) -> bool {
        kind.counts(self.status) && self.left_out & kind.bit() == 0
    }
}

/// What a call that counts came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// The incidents, those of failures first, in the order of the requests.
    pub incidents: Vec<Incident>,
    /// What was not counted, since the store has no room for a client or an account that it does not know: the request by its
    /// place in the call, and the kind that leaves it out.
    pub refused: Vec<(usize, IncidentKind)>,
}

impl Counts {
    /// Adds an incident; one of no failures stands for a request that was refused.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    pub(crate) fn add(&mut self, incident: Incident) {
        if incident.count == 0 {
            self.refused.push((incident.request, incident.rule.kind));
        } else {
            self.incidents.push(incident);
        }
    }
}

/// A failure that is to be reported, with the evidence that the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The request that made it an incident, by its place in the call.
    pub request: usize,
    /// The kind of failures and its threshold.
    pub rule: Rule,
    /// Failures since the episode began, those that led to it included; by a rule of distinct items, distinct ones.
    pub count: u64,
    /// Whether the count is an estimate, as it can be of distinct items beyond 64 or beyond a window.
    pub estimated: bool,
    /// From the first of them to this one.
    pub span: Duration,
    /// The last distinct routes of the client's failures of this kind, the latest last; at most [`Incident::ROUTES`].
    pub routes: Vec<Route>,
}

impl Incident {
    /// How many routes are kept as evidence.
    pub const ROUTES: usize = 8;
}
