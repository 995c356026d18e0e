//! The port of suspicion: the failures of each client and kind, and the logins beside them.

use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::log::{Log, Micros};
use super::logins::Logins;
use super::shard::Entry;
use super::table::Table;
use crate::model::{PartitionKey, Route};
use crate::suspicion::store::{FailedRequest, Incident, Rule};
use crate::suspicion::{AccountHash, AccountState, Threshold};

/// The times of the newest failures, as many as the threshold: whether that many, or half as many, lie in the window
/// is then exact, however many came.
#[derive(Debug, Default)]
pub(super) struct Trail {
    log: Log,
    /// Boxed, since most clients never have one.
    episode: Option<Box<Episode>>,
    /// The last distinct ones, the latest last.
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Episode {
    first: Micros,
    reported: Micros,
    count: u64,
}

impl Entry for Trail {
    fn is_idle(&self, now: Micros, window: Micros) -> bool {
        self.log.is_idle(now, window)
    }
}

impl Trail {
    /// Counts a failure; if it is an incident, how many failures the episode has and for how long.
    fn count(
        &mut self,
        now: Micros,
        threshold: Threshold,
        route: &Route,
    ) -> Option<(u64, Duration)> {
        let (limit, window) = (threshold.count(), threshold.window_micros());
        // The newest stamp of an empty log means nothing.
        let now = if self.log.len() == 0 {
            now
        } else {
            now.max(self.log.newest())
        };
        self.log.expire(now, window);
        let held = self.log.len();
        if held * 2 < limit {
            self.episode = None;
        }
        if held == 0 {
            self.routes.clear();
        }
        self.remember(route);
        let first = if held == 0 { now } else { self.log.stamp(0) };
        // More than one only after the threshold was lowered.
        while self.log.len() >= limit {
            self.log.forget_oldest();
        }
        self.log.push(now, 1, limit);
        match &mut self.episode {
            Some(episode) => {
                episode.count += 1;
                if now - episode.reported < window {
                    return None;
                }
                episode.reported = now;
            }
            None if held + 1 < limit => return None,
            None => {
                let count = u64::from(held) + 1;
                self.episode = Some(Box::new(Episode {
                    first,
                    reported: now,
                    count,
                }));
            }
        }
        let episode = self.episode.as_ref()?;
        Some((episode.count, Duration::from_micros(now - episode.first)))
    }

    /// Whether an episode has begun and not ended.
    pub(super) fn is_in_episode(&mut self, now: Micros, threshold: Threshold) -> bool {
        if self.episode.is_none() || self.log.len() == 0 {
            return false;
        }
        let now = now.max(self.log.newest());
        self.log.expire(now, threshold.window_micros());
        self.log.len() * 2 >= threshold.count()
    }

    fn remember(&mut self, route: &Route) {
        if self.routes.last() == Some(route) {
            return;
        }
        self.routes.retain(|known| known != route);
        if self.routes.len() == Incident::ROUTES {
            self.routes.remove(0);
        }
        // Most clients fail on one route alone.
        self.routes.reserve_exact(1);
        self.routes.push(route.clone());
    }
}

/// The trails of some kinds.
pub(super) struct Trails {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: Vec<(Rule, Arc<Table<Trail>>)>,
    pub(super) logins: Logins,
}

impl Trails {
    pub(super) fn count(&self, requests: &[FailedRequest]) -> Vec<Incident> {
        let mut incidents = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            let key = PartitionKey::from(request.client);
            let counting = self
                .rules
                .iter()
                .filter(|(rule, _)| request.counts(rule.kind));
            for (rule, table) in counting {
                let hash = table.hash(&key);
                let mut shard = table.shard(hash);
                // Read with the lock held: two failures of one client see the times in the order of their counts.
                let now = self.clock.now().as_micros() as Micros;
                let slot = match shard.find(hash, &key) {
                    Some(slot) => slot,
                    None => {
                        let window = rule.threshold.window_micros();
                        shard.insert(table.hasher(), hash, &key, now, window)
                    }
                };
                let trail = shard.entry_mut(slot);
                let counted = trail.count(now, rule.threshold, &request.route);
                let suspicious = trail.episode.is_some();
                if let Some((count, span)) = counted {
                    incidents.push(Incident {
                        request: place,
                        rule: *rule,
                        count,
                        estimated: false,
                        span,
                        routes: trail.routes.clone(),
                    });
                }
                shard.used(slot, suspicious);
            }
        }
        self.logins.count_all(requests, &mut incidents);
        incidents
    }

    pub(super) fn account(&self, account: AccountHash) -> AccountState {
        self.logins.account(account)
    }
}
