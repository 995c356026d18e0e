//! How each layer is made of the configuration and of what only code can say.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::builder::{SharedRoute, StackBuilder};
use super::checks;
use super::stores::Stores;
#[cfg(feature = "redis")]
use super::stores::shared;
use crate::ConfigError;
use crate::client::unmet::Unmet;
use crate::client::{IdentifyLayer, Nat64Prefixes, TrustedProxies};
use crate::config::CountVisitors;
use crate::funnel::{FunnelLayer, FunnelLayerBuilder};
use crate::model::{Ask, Room, Secret};
use crate::observe::{AccessLog, ObserveLayer};
use crate::preflight::PreflightLayer;
use crate::rate_limit::{RateLimitLayer, RateLimitLayerBuilder};
use crate::segment::{ClassifyLayer, ClassifyLayerBuilder};
use crate::session::{Keyring, OnConviction, SessionLayer, Sessions};
use crate::suspicion::{
    BanReason, IncidentKind, Occurrence, SecurityEvent, SuspicionLayer, SuspicionLayerBuilder,
    nobody,
};
use crate::task::shielded;

/// What layers are made of. Each takes its part; the innermost layer is made first.
pub(super) struct Setup {
    /// The configuration, and what only code can say.
    pub(super) said: StackBuilder,
    pub(super) stores: Stores,
    pub(super) secret: Secret,
    /// The secret before it, by which tokens are valid too.
    previous: Option<Secret>,
    /// Whether the secret is configured.
    has_secret: bool,
    /// The questions of the layers that are made already, for preflight to ask.
    pub(super) asks: Vec<Box<dyn Ask>>,
    unmet: Option<Unmet>,
    /// The handle of the layer further in.
    sessions: Option<Sessions>,
}

impl Setup {
    #[cfg_attr(not(feature = "redis"), allow(unused_mut))]
    pub(super) fn new(mut said: StackBuilder) -> Result<Self, ConfigError> {
        let stores = Stores {
            memory: said.memory.clone(),
            #[cfg(feature = "redis")]
            redis: shared(
                said.redis.take(),
                &said.config.store,
                mem::take(&mut said.call_observers),
            )?,
        };
        #[cfg(not(feature = "redis"))]
        if said.config.store.redis_url.is_some() {
            let allowed = "nothing in this build: palisade's feature `redis` is off";
            return Err(ConfigError::without_value("store.redis_url", allowed));
        }
        let secret = match said.secret.take() {
            Some(secret) => Some(secret),
            None => said.config.secret()?,
        };
        let has_secret = secret.is_some();
        let previous = said.config.previous_secret()?;
        checks::check_secrets(&said.config, secret.as_ref(), previous.as_ref())?;
        let unmet = checks::check(&said, has_secret, stores.are_shared())?;
        #[cfg(all(feature = "otel", feature = "redis"))]
        if let (Some(redis), Some(service)) = (&stores.redis, &said.service) {
            redis.mark(service, secret.as_ref(), previous.as_ref());
        }
        let secret = match secret {
            Some(secret) => secret,
            None => {
                if stores.are_shared() {
                    if said.config.sessions.is_some() {
                        let allowed = "a file with a secret of at least 16 bytes, or PALISADE_SECRET: with \
                                       `[sessions]`, processes that share Redis check each other's tokens";
                        return Err(ConfigError::without_value("store.secret_file", allowed));
                    }
                    tracing::warn!(
                        target: "palisade::stack",
                        event = "secret_missing",
                        "no secret is configured, so each process hashes by a random key of its own: it limits users with odd ids, \
                         and counts logins, anonymous visitors of the funnel and what bans are for, apart from the others. \
                         Set `store.secret_file` or PALISADE_SECRET"
                    );
                }
                Secret::random()?
            }
        };
        Ok(Self {
            said,
            stores,
            secret,
            previous,
            has_secret,
            asks: Vec::new(),
            unmet,
            sessions: None,
        })
    }

    /// Makes a layer; preflight, further out, is to ask for it.
    pub(super) fn make<L: Room>(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<L, ConfigError>,
    ) -> Result<L, ConfigError> {
        let layer = make(self)?;
        self.asks.extend(layer.ask());
        Ok(layer)
    }

    pub(super) fn client(&mut self) -> Result<IdentifyLayer, ConfigError> {
        let settings = &self.said.config.client;
        let proxies = TrustedProxies::parse(settings.trusted_proxies.iter().map(String::as_str))?;
        let prefixes = Nat64Prefixes::parse(settings.nat64_prefixes.iter().map(String::as_str))?;
        mem::replace(&mut self.said.client, IdentifyLayer::builder())
            .trusted_proxies(proxies)
            .forwarded_header(settings.forwarded_header)
            .ipv6_prefix(settings.ipv6_prefix)
            .nat64_prefixes(prefixes)
            .route(SharedRoute(Arc::clone(&self.said.route)))
            .secret(self.secret.clone())
            .unmet(self.unmet.take())
            .build()
    }

    pub(super) fn observe(&mut self) -> Result<ObserveLayer, ConfigError> {
        let mut observers = mem::take(&mut self.said.observers);
        if let Some(lines @ 1..) = self.said.config.log.access {
            observers.push(Box::new(AccessLog::new(lines)));
        }
        Ok(ObserveLayer::new(observers))
    }

    /// For the layers further in, which are made by now.
    pub(super) fn preflight(&mut self) -> Result<PreflightLayer, ConfigError> {
        let asks = mem::take(&mut self.asks).into_iter();
        asks.fold(PreflightLayer::builder(), |builder, ask| {
            builder.ask_boxed(ask)
        })
        .build()
    }

    pub(super) fn suspicion(&mut self) -> Result<SuspicionLayer, ConfigError> {
        let settings = mem::take(&mut self.said.config.suspicion);
        let mut builder = IncidentKind::ALL
            .into_iter()
            .fold(self.stores.failures(), SuspicionLayerBuilder::without)
            .secret(self.secret.clone())
            .exempt(settings.exempt);
        if let Some(settings) = settings.bans {
            let bans = self.stores.bans();
            let bans = bans
                .sentence(settings.sentence)
                .kinds(settings.kinds)
                .response(settings.response);
            builder = builder.bans(if settings.dry_run {
                bans.dry_run()
            } else {
                bans
            });
        }
        for observer in mem::take(&mut self.said.security_observers) {
            builder = builder.observe_events(move |event| observer(event));
        }
        if let Some(sessions) = self.sessions.take() {
            let watches = settings.watches.iter();
            let windows: Vec<_> = watches
                .filter(|(kind, _)| kind.tries_credentials())
                .map(|(kind, watch)| (*kind, watch.threshold.window()))
                .collect();
            builder = builder.observe_events(move |event| heed(&sessions, &windows, event));
        }
        for (kind, watch) in settings.watches {
            builder = builder.watch(kind, watch);
        }
        if settings.hash_clients {
            builder = builder.hash_clients(self.secret.clone());
        }
        builder.build().map_err(|error| error.under("suspicion"))
    }

    pub(super) fn rate_limit(&mut self) -> Result<RateLimitLayer, ConfigError> {
        let settings = mem::take(&mut self.said.config.rate_limit);
        let mut builder = self
            .stores
            .limits()
            .exempt(settings.exempt)
            .headers(settings.headers);
        if let Some(respond) = self.said.reject.take() {
            builder = builder.reject_with(respond);
        }
        if let Some(entries) = self.said.deny_cache {
            builder = builder.deny_cache(entries);
        }
        let policies = settings.policies.into_iter();
        policies
            .fold(builder, RateLimitLayerBuilder::policy)
            .build()
            .map_err(|error| error.under("rate_limit"))
    }

    pub(super) fn session(&mut self) -> Result<SessionLayer, ConfigError> {
        let Some(mut settings) = self.said.config.sessions.take() else {
            return Ok(SessionLayer::default());
        };
        let mut keys = Keyring::new(self.secret.clone(), self.previous.take());
        if !self.has_secret {
            keys = keys.of_this_process();
        }
        let bans = &self.said.config.suspicion.bans;
        if bans.as_ref().is_some_and(|bans| bans.dry_run) {
            // What refuses nothing ends nothing either.
            settings.on_conviction = OnConviction::Alert;
        }
        let mut listeners = mem::take(&mut self.said.listeners);
        if self.said.config.suspicion.hash_clients {
            listeners = listeners.hash_clients(self.secret.clone());
        }
        let observers = self.said.security_observers.clone();
        let listeners = listeners.observe_named(move |alert, client, name| {
            let event = SecurityEvent {
                client: client.unwrap_or_else(nobody),
                name,
                occurrence: Occurrence::Session { alert },
            };
            for observer in &observers {
                shielded("security", || observer(&event));
            }
        });
        let layer = SessionLayer::with_keys(&*self.stores.sessions(), keys, settings, listeners)
            .map_err(|error| error.under("sessions"))?;
        self.sessions = layer.sessions();
        Ok(layer)
    }

    pub(super) fn segment(&mut self) -> Result<ClassifyLayer, ConfigError> {
        let settings = self.said.config.segments.take();
        let Some(settings) = settings.filter(|settings| settings.enabled) else {
            return Ok(ClassifyLayer::default());
        };
        let mut builder = ClassifyLayerBuilder::new(self.stores.customers())
            .criteria(settings.criteria)
            .retention(settings.retention)
            .sweep_every(settings.sweep_every)
            .countries(self.said.countries.clone())
            .actions(mem::take(&mut self.said.actions));
        if let Some(path) = settings.spill_file {
            if !self.stores.are_shared() {
                tracing::warn!(
                    target: "palisade::stack",
                    event = "spill_file_unused",
                    file = %path.display(),
                    "`segments.spill_file` has no effect: the memory of this process takes every change at once, and \
                     ends with it; set `store.redis_url`"
                );
            }
            builder = builder.spill_file(path);
        }
        if let Some(convert) = self.said.convert.take() {
            builder = builder.convert(convert);
        }
        builder.build().map_err(|error| error.under("segments"))
    }

    pub(super) fn funnel(&mut self) -> Result<FunnelLayer, ConfigError> {
        let stages = mem::take(&mut self.said.stages).into_iter();
        let mut builder = stages
            .fold(FunnelLayer::builder(), FunnelLayerBuilder::stage)
            .countries(self.said.countries.clone());
        let window = match (self.said.config.funnel.visitors, self.said.visitors) {
            (CountVisitors::Unsaid, CountVisitors::Within(window))
            | (CountVisitors::Within(window), _) => Some(window),
            _ => None,
        };
        if let Some(window) = window {
            let mut visitors = self.stores.visitors(self.secret.clone()).window(window);
            let observers = mem::take(&mut self.said.step_observers);
            if !observers.is_empty() {
                visitors = visitors.observer(move |from, to, took| {
                    for observer in &observers {
                        shielded("steps", || observer(from, to, took));
                    }
                });
            }
            builder = builder.visitors(visitors);
        }
        builder.build().map_err(|error| error.under("funnel"))
    }
}

/// What the sessions learn of failures.
fn heed(sessions: &Sessions, windows: &[(IncidentKind, Duration)], event: &SecurityEvent<'_>) {
    match event.occurrence {
        Occurrence::Incident {
            incident,
            user: Some(user),
            ..
        } if incident.rule.kind == IncidentKind::SuccessAfterFailures => {
            sessions.succeeded_after_failures(user, event.client);
        }
        Occurrence::Banned {
            reason: BanReason::Incident(reason),
            ban,
        } => {
            let window = windows.iter().find(|(kind, _)| *kind == reason);
            if let (Some((_, window)), Some(client)) = (window, ban.subject.network()) {
                sessions.convicted(client, *window);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
#[cfg(feature = "serde")]
mod tests {
    use crate::client::{Secret, UserId};
    use crate::config::Config;
    use crate::stack::Stack;

    /// How a stack with this secret, or one of its own, writes an id that is no plain one.
    fn hashed(secret: Option<&Secret>) -> UserId {
        let mut builder = Stack::builder().config(Config::from_toml("[sessions]").unwrap());
        if let Some(secret) = secret {
            builder = builder.secret(secret.clone());
        }
        let stack = builder.build().unwrap();
        stack.sessions().unwrap().user("an id with spaces")
    }

    #[tokio::test]
    async fn a_secret_of_the_service_is_in_place_of_the_configurations() {
        let secret = Secret::random().unwrap();
        assert_eq!(hashed(Some(&secret)), hashed(Some(&secret)));
        assert_eq!(
            hashed(Some(&secret)),
            UserId::new("an id with spaces", &secret)
        );
        assert_ne!(hashed(Some(&secret)), hashed(None));
    }
}
