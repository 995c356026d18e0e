use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::event::{ObserveEvent, Reporter, SecurityEvent};
use super::handle::Suspicions;
use super::login::Logins;
use super::recorder::{Recorder, Stores};
use super::service::Suspicion;
use super::store::{FailureStore, LocalFailureStore, Rule};
use super::tally::SuspicionTally;
use super::thing::Things;
use super::{Bans, IncidentKind, Threshold, Watch};
use crate::ConfigError;
use crate::body::Wrap;
use crate::log::{Fallback, Losses};
use crate::model::{Ask, Exemptions, Room, Secret};
use crate::task::queue::Queue;

/// Counts the failures of each client and reports what they add up to. Clones share the counts.
#[derive(Clone)]
pub struct SuspicionLayer {
    pub(super) recorder: Arc<Recorder>,
}

impl SuspicionLayer {
    /// A layer whose counts live in this process alone.
    pub fn embedded(store: impl LocalFailureStore) -> SuspicionLayerBuilder {
        SuspicionLayerBuilder::new(Stores::Embedded(Box::new(store)))
    }

    /// A layer whose counts are shared through a store that may fail. While it fails, `local` counts.
    pub fn shared(
        store: impl FailureStore,
        local: impl LocalFailureStore,
    ) -> SuspicionLayerBuilder {
        SuspicionLayerBuilder::new(Stores::Shared {
            store: Box::new(store),
            local: Box::new(local),
        })
    }

    /// The layer's counts so far.
    #[must_use]
    pub fn tally(&self) -> Arc<SuspicionTally> {
        Arc::clone(&self.recorder.tally)
    }

    /// The layer's handle for the service.
    #[must_use]
    pub fn suspicions(&self) -> Suspicions {
        Suspicions {
            recorder: Arc::clone(&self.recorder),
        }
    }

    /// Around a service whose bodies are wrapped.
    pub(crate) fn around<S>(&self, inner: S) -> Suspicion<S> {
        Suspicion::new(inner, Arc::clone(&self.recorder))
    }
}

impl<S> Layer<S> for SuspicionLayer {
    type Service = Suspicion<Wrap<S>>;

    fn layer(&self, inner: S) -> Suspicion<Wrap<S>> {
        self.around(Wrap::new(inner))
    }
}

impl Room for SuspicionLayer {
    fn ask(&self) -> Option<Box<dyn Ask>> {
        Some(Box::new(self.clone()))
    }

    #[cfg(feature = "otel")]
    fn measure(&self, meters: &impl crate::model::metrics::Meters) {
        meters.watch(&self.tally());
    }
}

impl fmt::Debug for SuspicionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuspicionLayer")
            .field("rules", &self.recorder.rules)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`SuspicionLayer`].
#[must_use]
pub struct SuspicionLayerBuilder {
    stores: Stores,
    watches: Vec<(IncidentKind, Watch)>,
    exempt: Exemptions,
    hash_clients: Option<Secret>,
    observers: Vec<ObserveEvent>,
    bans: Option<Bans>,
    secret: Option<Secret>,
    queue: usize,
}

impl SuspicionLayerBuilder {
    /// A megabyte at most when full: 128 bytes for each failure, in two queues that keep their room.
    const QUEUE: usize = 4_096;
    const MOST_QUEUE: usize = 1_048_576;

    fn new(stores: Stores) -> Self {
        let watch = |kind: IncidentKind| (kind, kind.default_threshold().into());
        Self {
            stores,
            watches: IncidentKind::BY_STATUS.map(watch).into(),
            exempt: Exemptions::default(),
            hash_clients: None,
            observers: Vec::new(),
            bans: None,
            secret: None,
            queue: Self::QUEUE,
        }
    }

    /// When a kind is suspicious, instead of [`IncidentKind::default_threshold`]; turns a kind of logins on.
    pub fn threshold(self, kind: IncidentKind, threshold: Threshold) -> Self {
        self.watch(kind, threshold.into())
    }

    /// As [`threshold`](Self::threshold), and which failures are told apart, on which routes.
    pub fn watch(mut self, kind: IncidentKind, watch: Watch) -> Self {
        self = self.without(kind);
        self.watches.push((kind, watch));
        self
    }

    /// Does not count a kind.
    pub fn without(mut self, kind: IncidentKind) -> Self {
        self.watches.retain(|(known, _)| *known != kind);
        self
    }

    /// Bans clients and users for what they fail at; off unless set.
    pub fn bans(mut self, bans: Bans) -> Self {
        self.bans = Some(bans);
        self
    }

    /// Clients, users and routes whose failures never count and whose requests no ban refuses.
    pub fn exempt(mut self, exempt: Exemptions) -> Self {
        self.exempt = exempt;
        self
    }

    /// Writes keyed hashes of clients and users into events, `~` and 32 hexadecimal digits, instead of networks and ids.
    pub fn hash_clients(mut self, secret: Secret) -> Self {
        self.hash_clients = Some(secret);
        self
    }

    /// Adds an observer of each event of the security log, whether or not it has a line there.
    ///
    /// It runs in the task that counts failures, or in the call that bans or lifts, so it must not block. If it
    /// panics, nothing else suffers.
    pub fn observe_events(
        mut self,
        observer: impl Fn(&SecurityEvent<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Keys the hashes that stand for accounts and networks where a kind of logins is on, and for what failures are told apart
    /// by; random unless set.
    ///
    /// Processes that share a store must share it, or they count apart.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// How many failures may wait to be counted, 4,096 unless set (a megabyte at most); further ones are dropped: those with
    /// another status than 401 first, so that a flood of them hides no login.
    pub fn queue(mut self, failures: usize) -> Self {
        self.queue = failures;
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// A queue outside 1 to 1,048,576 failures, a threshold of distinct items above [`IncidentKind::MOST_DISTINCT`] (of
    /// [`IncidentKind::SuccessAfterFailures`], above 1), anything else said of a kind of logins, and no random bytes where a
    /// secret is needed.
    pub fn build(self) -> Result<SuspicionLayer, ConfigError> {
        if !(1..=Self::MOST_QUEUE).contains(&self.queue) {
            let allowed = "1 to 1048576 failures";
            return Err(ConfigError::new("queue", self.queue, allowed));
        }
        for (kind, watch) in &self.watches {
            let Watch {
                threshold,
                distinct,
                ..
            } = watch;
            if let Some(allowed) = kind.refuses(*threshold, *distinct == Some(true)) {
                return Err(ConfigError::new(kind.as_str(), threshold, allowed));
            }
            if kind.is_of_logins() && Watch::from(*threshold) != *watch {
                let allowed = "a threshold alone: a kind of logins counts distinct accounts or networks, whatever the route";
                return Err(ConfigError::without_value(kind.as_str(), allowed));
            }
        }
        let rules: Box<[Rule]> = self.watches.iter().map(rule).collect();
        let of_logins = rules.iter().any(|rule| rule.kind.is_of_logins());
        let mut by_status = rules.iter().filter(|rule| !rule.kind.is_of_logins());
        let tells_incidents = by_status.any(|rule| rule.distinct);
        let tells_apart = self.bans.is_some() || tells_incidents;
        let secret = match self.secret {
            _ if !of_logins && !tells_apart => None,
            Some(secret) => Some(secret),
            None => Some(Secret::random()?),
        };
        let logins = secret.clone().filter(|_| of_logins);
        let narrowed = self.watches.iter();
        let narrowed = narrowed.filter(|(_, watch)| !watch.routes.is_empty());
        let plain = self.watches.iter();
        let plain = plain.filter(|(_, watch)| watch.distinct == Some(false));
        let tally = Arc::default();
        Ok(SuspicionLayer {
            recorder: Arc::new(Recorder {
                logins: logins.map(|secret| Logins::new(&rules, secret)),
                narrowed: narrowed
                    .map(|(kind, watch)| (*kind, watch.routes.clone().into()))
                    .collect(),
                plain: plain.map(|(kind, _)| *kind).collect(),
                seeks: tells_apart || self.exempt.has_assets(),
                things: secret.filter(|_| tells_apart).map(Things::new),
                rules,
                exempt: self.exempt,
                stores: self.stores,
                queue: Queue::new(self.queue),
                losses: Losses::default(),
                warden: self.bans.map(|bans| bans.start(&tally)),
                tally,
                reporter: Reporter::new(self.hash_clients, self.observers),
                fallback: Fallback::default(),
            }),
        })
    }
}

impl fmt::Debug for SuspicionLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuspicionLayerBuilder")
            .field("watches", &self.watches)
            .finish_non_exhaustive()
    }
}

fn rule((kind, watch): &(IncidentKind, Watch)) -> Rule {
    if watch.distinct == Some(true) {
        Rule::of_distinct(*kind, watch.threshold)
    } else {
        Rule::new(*kind, watch.threshold)
    }
}
