//! From a configuration, and what only code can say, to the layers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Method, Response, Uri};
use tower_layer::Identity;

use super::Stack;
#[cfg(feature = "ops")]
use super::panels::Heard;
use super::stores::Stores;
#[cfg(feature = "redis")]
use super::stores::{CallObserver, shared};
use crate::ConfigError;
use crate::client::{
    ExtractUser, IdentifyLayer, IdentifyLayerBuilder, ResolveCountry, TrustedProxies,
};
use crate::config::{Config, CountVisitors};
#[cfg(feature = "otel")]
use crate::funnel::Steps;
use crate::funnel::{FunnelLayer, FunnelLayerBuilder, Stage, Visitors};
use crate::model::{Countries, MatchedRoute, ObserveExchange, ResolveRoute, Route, Secret};
#[cfg(feature = "redis")]
use crate::model::{Operation, Outcome};
use crate::observe::{AccessLog, ObserveLayer};
#[cfg(feature = "ops")]
use crate::ops::Ops;
use crate::preflight::PreflightLayer;
use crate::rate_limit::{RateLimitLayer, RateLimitLayerBuilder, Rejection};
use crate::segment::store::CustomerStore;
use crate::segment::{Action, ClassifyLayer, ClassifyLayerBuilder, Money};
#[cfg(all(feature = "otel", feature = "redis"))]
use crate::store::Calls;
use crate::store::memory::MemoryStore;
#[cfg(feature = "redis")]
use crate::store::redis::RedisStore;
use crate::suspicion::{Bans, IncidentKind, SecurityEvent, SuspicionLayer, SuspicionLayerBuilder};
#[cfg(feature = "otel")]
use crate::telemetry::{HttpMetricsLayer, Telemetry};

/// Settings of a [`Stack`].
#[must_use]
pub struct StackBuilder {
    config: Config,
    client: IdentifyLayerBuilder,
    countries: Countries,
    stages: Vec<Stage>,
    visitors: CountVisitors,
    step_observers: Vec<StepObserver>,
    observers: Vec<Box<dyn ObserveExchange>>,
    security_observers: Vec<SecurityObserver>,
    #[cfg(feature = "ops")]
    ops: Option<Ops>,
    actions: Vec<Action>,
    convert: Option<Convert>,
    route: Arc<dyn ResolveRoute>,
    memory: MemoryStore,
    reject: Option<Reject>,
    deny_cache: Option<usize>,
    #[cfg(feature = "redis")]
    redis: Option<RedisStore>,
    #[cfg(feature = "redis")]
    call_observers: Vec<CallObserver>,
}

type StepObserver = Box<dyn Fn(&str, &str, std::time::Duration) + Send + Sync>;
type SecurityObserver = Box<dyn Fn(&SecurityEvent<'_>) + Send + Sync>;
type Convert = Box<dyn Fn(Money) -> Option<i64> + Send + Sync>;

type Reject = Box<dyn Fn(&Rejection<'_>) -> Response<Bytes> + Send + Sync>;

impl StackBuilder {
    pub(super) fn new() -> Self {
        Self {
            config: Config::default(),
            client: IdentifyLayer::builder(),
            countries: Countries::default(),
            stages: Vec::new(),
            visitors: CountVisitors::Off,
            step_observers: Vec::new(),
            observers: Vec::new(),
            security_observers: Vec::new(),
            #[cfg(feature = "ops")]
            ops: None,
            actions: Vec::new(),
            convert: None,
            route: Arc::new(MatchedRoute),
            memory: MemoryStore::new(),
            reject: None,
            deny_cache: None,
            #[cfg(feature = "redis")]
            redis: None,
            #[cfg(feature = "redis")]
            call_observers: Vec::new(),
        }
    }

    /// Everything that a configuration file can say.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How the verified user of a request is found; without it, every request is anonymous.
    pub fn user(mut self, user: impl ExtractUser) -> Self {
        self.client = self.client.user(user);
        self
    }

    /// Which countries are labels, and how the country of a request is found.
    pub fn country(mut self, countries: Countries, country: impl ResolveCountry) -> Self {
        self.countries = countries.clone();
        self.client = self.client.country(countries, country);
        self
    }

    /// The stages whose responses are counted, by country; see [`funnel`](crate::funnel). None unless set.
    pub fn funnel(mut self, stages: impl IntoIterator<Item = Stage>) -> Self {
        self.stages = stages.into_iter().collect();
        self
    }

    /// Whether the funnel counts visitors where the configuration does not say; off unless set. See
    /// [`funnel`](crate::funnel#visitors) for what is kept of them.
    pub fn visitors(mut self, visitors: CountVisitors) -> Self {
        self.visitors = visitors;
        self
    }

    /// Is told of every step of a visitor; several may be added. See [`Visitors::observer`].
    pub fn observe_steps(
        mut self,
        observer: impl Fn(&str, &str, std::time::Duration) + Send + Sync + 'static,
    ) -> Self {
        self.step_observers.push(Box::new(observer));
        self
    }

    /// Is told what became of each request; several may be added, and are told in their order. See
    /// [`observe`](crate::observe).
    pub fn observe(mut self, observer: impl ObserveExchange) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Is told of each event of the security log; several may be added. See
    /// [`observe_events`](SuspicionLayerBuilder::observe_events).
    pub fn observe_security(
        mut self,
        observer: impl Fn(&SecurityEvent<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.security_observers.push(Box::new(observer));
        self
    }

    /// What customers do, counted by segment and country: names, or [`Action`]s with their routes. None unless set; they
    /// count when the configuration has its `segments` on.
    pub fn actions(mut self, actions: impl IntoIterator<Item = impl Into<Action>>) -> Self {
        self.actions = actions.into_iter().map(Into::into).collect();
        self
    }

    /// Makes amounts in another currency ones in minor units of the segments' currency; see
    /// [`convert`](ClassifyLayerBuilder::convert).
    pub fn convert(
        mut self,
        convert: impl Fn(Money) -> Option<i64> + Send + Sync + 'static,
    ) -> Self {
        self.convert = Some(Box::new(convert));
        self
    }

    /// How the route of a request is found; axum's `MatchedPath` unless set.
    pub fn route(mut self, route: impl ResolveRoute) -> Self {
        self.route = Arc::new(route);
        self
    }

    /// The store of this process: all there is without Redis, and what `local` policies fall back to with it.
    ///
    /// Set it for another bound on its keys, or another clock.
    pub fn memory(mut self, memory: MemoryStore) -> Self {
        self.memory = memory;
        self
    }

    /// Answers refusals with responses of your own; see
    /// [`reject_with`](RateLimitLayerBuilder::reject_with).
    pub fn reject_with(
        mut self,
        respond: impl Fn(&Rejection<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.reject = Some(Box::new(respond));
        self
    }

    /// How many denials are remembered; see [`deny_cache`](RateLimitLayerBuilder::deny_cache).
    pub fn deny_cache(mut self, entries: usize) -> Self {
        self.deny_cache = Some(entries);
        self
    }

    /// A ready store in place of the one that `store.redis_url` would make: with a breaker of its own, or shared by
    /// several stacks.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use palisade::stack::Stack;
    /// use palisade::store::redis::RedisStore;
    ///
    /// let store = RedisStore::builder("redis://127.0.0.1:6379")
    ///     .prefix("shop:")
    ///     .breaker(3, Duration::from_millis(100))
    ///     .build()?;
    /// let stack = Stack::builder().redis(store).build()?;
    /// # Ok::<(), palisade::ConfigError>(())
    /// ```
    ///
    /// The store's own settings hold. A configuration that says otherwise is refused by name when the stack is built: any
    /// `store.redis_url`, and another `store.prefix` or `store.deadline` than the store's. What observes the calls
    /// ([`observe_store`](Self::observe_store), telemetry, the live page) is told of all calls of the store, so one stack
    /// alone may observe it; the observer of the store's own builder is told as well.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, store: RedisStore) -> Self {
        self.redis = Some(store);
        self
    }

    /// Is told of every call to Redis, with its outcome and how long it took.
    #[cfg(feature = "redis")]
    pub fn observe_store(
        mut self,
        observer: impl Fn(Operation, Outcome, std::time::Duration) + Send + Sync + 'static,
    ) -> Self {
        self.call_observers.push(Box::new(observer));
        self
    }

    /// Feeds the live page with what this stack sees; nothing is gathered for it unless set. See [`ops`](crate::ops).
    #[cfg(feature = "ops")]
    pub fn ops(mut self, ops: &Ops) -> Self {
        self.ops = Some(ops.clone());
        self
    }

    /// The stack. With Redis it connects when the first request comes, and starts also while Redis is down.
    ///
    /// # Errors
    /// A setting that cannot be used, and an [`Ops`] that another stack feeds.
    #[cfg(feature = "ops")]
    pub fn build(mut self) -> Result<Stack, ConfigError> {
        let Some(ops) = self.ops.take() else {
            return self.build_layers();
        };
        let (heard, this) = Heard::from(self);
        let stack = this.build_layers()?;
        ops.attach(stack.panels(heard))?;
        Ok(stack)
    }

    /// The stack. With Redis it connects when the first request comes, and starts also while Redis is down.
    ///
    /// # Errors
    /// A setting that cannot be used.
    #[cfg(not(feature = "ops"))]
    pub fn build(self) -> Result<Stack, ConfigError> {
        self.build_layers()
    }

    fn build_layers(mut self) -> Result<Stack, ConfigError> {
        if let Some(lines @ 1..) = self.config.log.access {
            self.observers.push(Box::new(AccessLog::new(lines)));
        }
        let stages = self.stages.into_iter();
        let funnel = stages
            .fold(FunnelLayer::builder(), FunnelLayerBuilder::stage)
            .countries(self.countries.clone());

        let stores = Stores {
            memory: self.memory,
            #[cfg(feature = "redis")]
            redis: shared(self.redis, &self.config.store, self.call_observers)?,
        };
        #[cfg(not(feature = "redis"))]
        if self.config.store.redis_url.is_some() {
            let allowed = "nothing in this build: palisade's feature `redis` is off";
            return Err(ConfigError::without_value("store.redis_url", allowed));
        }
        let secret = match self.config.secret()? {
            Some(secret) => secret,
            None => {
                if stores.are_shared() {
                    tracing::warn!(
                        target: "palisade::stack",
                        event = "secret_missing",
                        "no secret is configured: ids that are hashed differ from process to process, so such \
                         users are limited, and logins and anonymous visitors of the funnel counted, by each process apart; \
                         set `store.secret_file` or PALISADE_SECRET"
                    );
                }
                Secret::random()?
            }
        };
        let settings = &self.config.client;
        let proxies = TrustedProxies::parse(settings.trusted_proxies.iter().map(String::as_str))?;
        let client = self
            .client
            .trusted_proxies(proxies)
            .forwarded_header(settings.forwarded_header)
            .ipv6_prefix(settings.ipv6_prefix)
            .route(SharedRoute(self.route))
            .secret(secret.clone())
            .build()?;

        let window = match (self.config.funnel.visitors, self.visitors) {
            (CountVisitors::Unsaid, CountVisitors::Within(window))
            | (CountVisitors::Within(window), _) => Some(window),
            _ => None,
        };
        let (step_observers, visitors_secret) = (self.step_observers, secret.clone());
        let with_visitors = |visitors: Visitors| {
            let Some(window) = window else {
                return funnel.build();
            };
            let visitors = visitors.window(window);
            let visitors = if step_observers.is_empty() {
                visitors
            } else {
                visitors.observer(move |from, to, took| {
                    for observer in &step_observers {
                        observer(from, to, took);
                    }
                })
            };
            funnel.visitors(visitors).build()
        };
        let in_funnel = |error: ConfigError| error.under("funnel");

        let (settings, observers) = (self.config.suspicion, self.security_observers);
        let suspicions = |builder: SuspicionLayerBuilder, bans: Bans| {
            let builder = match settings.bans {
                None => builder,
                Some(settings) => {
                    let bans = bans
                        .sentence(settings.sentence)
                        .kinds(settings.kinds)
                        .response(settings.response);
                    let dry_run = settings.dry_run;
                    builder.bans(if dry_run { bans.dry_run() } else { bans })
                }
            };
            let builder = IncidentKind::ALL
                .into_iter()
                .fold(builder, SuspicionLayerBuilder::without)
                .secret(secret.clone())
                .exempt(settings.exempt);
            let builder = observers
                .into_iter()
                .fold(builder, SuspicionLayerBuilder::observe_events);
            let builder = settings
                .thresholds
                .into_iter()
                .fold(builder, |builder, (kind, threshold)| {
                    builder.threshold(kind, threshold)
                });
            if settings.hash_clients {
                builder.hash_clients(secret)
            } else {
                builder
            }
            .build()
        };
        let in_suspicion = |error: ConfigError| error.under("suspicion");

        let settings = &self.config.rate_limit;
        let (reject, deny_cache) = (self.reject, self.deny_cache);
        let limits = |mut builder: RateLimitLayerBuilder| {
            builder = builder
                .exempt(settings.exempt.clone())
                .headers(settings.headers);
            if let Some(respond) = reject {
                builder = builder.reject_with(respond);
            }
            if let Some(entries) = deny_cache {
                builder = builder.deny_cache(entries);
            }
            let policies = settings.policies.iter().cloned();
            policies
                .fold(builder, RateLimitLayerBuilder::policy)
                .build()
        };
        let in_limits = |error: ConfigError| error.under("rate_limit");

        let (settings, actions, convert) = (self.config.segments, self.actions, self.convert);
        let settings = settings.filter(|settings| settings.enabled);
        let segments = |store: Box<dyn CustomerStore>| {
            let Some(settings) = settings else {
                return Ok(ClassifyLayer::default());
            };
            let mut builder = ClassifyLayerBuilder::new(store)
                .criteria(settings.criteria)
                .retention(settings.retention)
                .sweep_every(settings.sweep_every)
                .countries(self.countries)
                .actions(actions);
            if let Some(convert) = convert {
                builder = builder.convert(convert);
            }
            builder.build().map_err(|error| error.under("segments"))
        };

        let funnel = with_visitors(stores.visitors(visitors_secret)).map_err(in_funnel)?;
        let suspicion = suspicions(stores.failures(), stores.bans()).map_err(in_suspicion)?;
        let segment = segments(stores.customers())?;
        let rate_limit = limits(stores.limits()).map_err(in_limits)?;
        Ok(Stack {
            telemetry: Identity::new(),
            client,
            observe: ObserveLayer::new(self.observers),
            preflight: preflight(&suspicion, &segment, &rate_limit)?,
            suspicion,
            rate_limit,
            segment,
            funnel,
            #[cfg(feature = "redis")]
            health: stores.redis.as_ref().map(RedisStore::health),
        })
    }
}

/// What these layers must ask the store, at once.
fn preflight(
    suspicion: &SuspicionLayer,
    segment: &ClassifyLayer,
    rate_limit: &RateLimitLayer,
) -> Result<PreflightLayer, ConfigError> {
    PreflightLayer::builder()
        .ask(suspicion.clone())
        .ask(segment.clone())
        .ask(rate_limit.clone())
        .build()
}

#[cfg(feature = "otel")]
impl StackBuilder {
    /// The stack inside the HTTP metrics of `telemetry`, which also exports what the limits decide, what failures add
    /// up to, what customers do, which stages are reached, and how the store does.
    ///
    /// # Errors
    /// As [`StackBuilder::build`].
    pub fn build_measured(
        self,
        telemetry: &Telemetry,
    ) -> Result<Stack<HttpMetricsLayer>, ConfigError> {
        let http = telemetry
            .http_layer()
            .route(SharedRoute(Arc::clone(&self.route)));
        let this = self.observe_steps(telemetry.timer::<Steps>());
        #[cfg(feature = "redis")]
        let this = this.observe_store(telemetry.timer::<Calls>());
        let stack = this.build()?;
        telemetry.watch(&stack.funnel_tally());
        if let Some(visitors) = stack.visitor_tally() {
            telemetry.watch(&visitors);
        }
        telemetry.watch(&stack.tally());
        telemetry.watch(&stack.suspicion_tally());
        if let Some(tally) = stack.segment_tally() {
            telemetry.watch(&tally);
        }
        #[cfg(feature = "redis")]
        if let Some(health) = &stack.health {
            telemetry.watch(&Arc::new(health.clone()));
        }
        Ok(Stack {
            telemetry: http,
            client: stack.client,
            observe: stack.observe,
            preflight: stack.preflight,
            suspicion: stack.suspicion,
            rate_limit: stack.rate_limit,
            segment: stack.segment,
            funnel: stack.funnel,
            #[cfg(feature = "redis")]
            health: stack.health,
        })
    }
}

/// One way to find routes, for the client layer and for the metrics.
struct SharedRoute(Arc<dyn ResolveRoute>);

impl ResolveRoute for SharedRoute {
    fn resolve(&self, method: &Method, uri: &Uri, extensions: &Extensions) -> Option<Route> {
        self.0.resolve(method, uri, extensions)
    }
}

impl fmt::Debug for StackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
