//! The kinds of logins: accounts that failed from a network, networks that failed for an account, and their successes.

use std::sync::Arc;

use super::clock::Clock;
use super::distinct::{Counted, Distinct};
use super::log::Micros;
use super::sketch::Sketches;
use super::table::Table;
use super::trail::Trail;
use crate::model::PartitionKey;
use crate::suspicion::store::{FailedRequest, Incident, Watch};
use crate::suspicion::{AccountHash, AccountState, Kind, Threshold};

type Watched<E> = (Watch, Arc<Table<E>>);

/// The trails of some kinds of logins.
pub(super) struct Logins {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sketches: Sketches,
    pub(super) watches: Vec<Watched<Distinct>>,
    /// The kinds whose episodes make a network suspicious by its failures.
    pub(super) failures: Vec<Watched<Trail>>,
}

impl Logins {
    fn of(&self, kind: Kind) -> Option<&Watched<Distinct>> {
        self.watches.iter().find(|(watch, _)| watch.kind == kind)
    }

    /// Counts the logins among the requests, in their order.
    pub(super) fn count_all(&self, requests: &[FailedRequest], incidents: &mut Vec<Incident>) {
        for (place, request) in requests.iter().enumerate() {
            let Some(login) = request.login else {
                continue;
            };
            let network = PartitionKey::from(request.client);
            let account = PartitionKey::of_ours(login.account.to_string());
            let mut count = |kind, key, item| {
                let Some((watch, table)) = self.of(kind) else {
                    return;
                };
                if let Some(counted) = self.count(table, key, watch.threshold, item) {
                    incidents.push(Incident {
                        request: place,
                        watch: *watch,
                        count: counted.count,
                        estimated: counted.estimated,
                        span: counted.span,
                        routes: vec![request.route.clone()],
                    });
                }
            };
            if !login.succeeded {
                count(Kind::PasswordSpraying, &network, login.account.item());
                count(Kind::DistributedStuffing, &account, login.network);
            } else if self.is_suspicious(&network, &account) {
                count(Kind::SuccessAfterFailures, &account, login.network);
            }
        }
    }

    fn count(
        &self,
        table: &Table<Distinct>,
        key: &PartitionKey,
        threshold: Threshold,
        item: u64,
    ) -> Option<Counted> {
        let hash = table.hash(key);
        let mut shard = table.shard(hash);
        // Read with the lock held, as for failures.
        let now = self.clock.now().as_micros() as Micros;
        let slot = match shard.find(hash, key) {
            Some(slot) => slot,
            None => shard.insert(table.hasher(), hash, key, now, threshold.window_micros()),
        };
        let trail = shard.entry_mut(slot);
        let counted = trail.count(now, threshold, item, &self.sketches);
        let suspicious = trail.has_episode();
        shard.used(slot, suspicious);
        counted
    }

    /// Whether the account is in an episode of [`Kind::DistributedStuffing`], or the network in one of its own.
    fn is_suspicious(&self, network: &PartitionKey, account: &PartitionKey) -> bool {
        let distinct = |kind, key| {
            self.of(kind).is_some_and(|(watch, table)| {
                look(table, key, |trail| {
                    trail.is_in_episode(self.now(), watch.threshold)
                })
            })
        };
        let failures = |(watch, table): &Watched<Trail>| {
            look(table, network, |trail| {
                trail.is_in_episode(self.now(), watch.threshold)
            })
        };
        distinct(Kind::DistributedStuffing, account)
            || distinct(Kind::PasswordSpraying, network)
            || self.failures.iter().any(failures)
    }

    fn now(&self) -> Micros {
        self.clock.now().as_micros() as Micros
    }

    pub(super) fn account(&self, account: AccountHash) -> AccountState {
        let Some((watch, table)) = self.of(Kind::DistributedStuffing) else {
            return AccountState::default();
        };
        let key = PartitionKey::of_ours(account.to_string());
        look(table, &key, |trail| {
            trail.state(self.now(), watch.threshold)
        })
    }
}

/// The answer about a key's entry; `None` for a key that is not held.
fn look<E: super::shard::Entry, T: Default>(
    table: &Table<E>,
    key: &PartitionKey,
    say: impl FnOnce(&mut E) -> T,
) -> T {
    let hash = table.hash(key);
    let mut shard = table.shard(hash);
    match shard.find(hash, key) {
        Some(slot) => say(shard.entry_mut(slot)),
        None => T::default(),
    }
}
