//! What is counted by distinct items: the things of failures, and of logins the accounts that failed from a network, the
//! networks that failed for an account, and their successes.

use std::sync::Arc;

use super::clock::Clock;
use super::distinct::{Counted, Distinct};
use super::failures::Trail;
use super::log::Micros;
use super::sketch::Sketches;
use super::table::Table;
use crate::model::PartitionKey;
use crate::suspicion::store::{FailedRequest, Incident, Rule};
use crate::suspicion::{AccountHash, AccountState, IncidentKind, Threshold};

type Watched<E> = (Rule, Arc<Table<E>>);

/// The trails of some kinds that count distinct items.
pub(super) struct Logins {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sketches: Sketches,
    pub(super) rules: Vec<Watched<Distinct>>,
    /// The kinds whose episodes make a network suspicious by its failures.
    pub(super) failures: Vec<Watched<Trail>>,
}

impl Logins {
    fn of(&self, kind: IncidentKind) -> Option<&Watched<Distinct>> {
        self.rules.iter().find(|(rule, _)| rule.kind == kind)
    }

    /// Counts the things and the logins of the requests, in their order.
    pub(super) fn count_all(&self, requests: &[FailedRequest], incidents: &mut Vec<Incident>) {
        if self.rules.is_empty() {
            return;
        }
        for (place, request) in requests.iter().enumerate() {
            let network = PartitionKey::from(request.client);
            let mut count = |kind, key: &PartitionKey, item| {
                let Some((rule, table)) = self.of(kind) else {
                    return;
                };
                if let Some(counted) = self.count(table, key, rule.threshold, item) {
                    incidents.push(Incident {
                        request: place,
                        rule: *rule,
                        count: counted.count,
                        estimated: counted.estimated,
                        span: counted.span,
                        routes: vec![request.route.clone()],
                    });
                }
            };
            for kind in IncidentKind::BY_STATUS {
                if request.counts(kind) {
                    count(kind, &network, request.thing);
                }
            }
            let Some(login) = request.login else {
                continue;
            };
            let account = PartitionKey::of_ours(login.account.to_string());
            if !login.succeeded {
                count(
                    IncidentKind::PasswordSpraying,
                    &network,
                    login.account.item(),
                );
                count(IncidentKind::DistributedStuffing, &account, login.network);
            } else if self.is_suspicious(&network, &account) {
                count(IncidentKind::SuccessAfterFailures, &account, login.network);
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

    /// Whether the account is in an episode of [`IncidentKind::DistributedStuffing`], or the network in one of its own.
    fn is_suspicious(&self, network: &PartitionKey, account: &PartitionKey) -> bool {
        let distinct = |kind, key| {
            self.of(kind).is_some_and(|(rule, table)| {
                look(table, key, |trail| {
                    trail.is_in_episode(self.now(), rule.threshold)
                })
            })
        };
        let failures = |(rule, table): &Watched<Trail>| {
            look(table, network, |trail| {
                trail.is_in_episode(self.now(), rule.threshold)
            })
        };
        distinct(IncidentKind::DistributedStuffing, account)
            || distinct(IncidentKind::PasswordSpraying, network)
            || distinct(IncidentKind::CredentialStuffing, network)
            || distinct(IncidentKind::CredentialStuffingSlow, network)
            || self.failures.iter().any(failures)
    }

    fn now(&self) -> Micros {
        self.clock.now().as_micros() as Micros
    }

    pub(super) fn account(&self, account: AccountHash) -> AccountState {
        let Some((rule, table)) = self.of(IncidentKind::DistributedStuffing) else {
            return AccountState::default();
        };
        let key = PartitionKey::of_ours(account.to_string());
        look(table, &key, |trail| trail.state(self.now(), rule.threshold))
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
