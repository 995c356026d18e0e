//! Every layer and their order: the only file that knows them all.
//!
//! A request meets them from the top down, its response from the bottom up. A layer reads only what those above
//! it wrote.
//!
//! | layer | reads | writes | on the way back |
//! |---|---|---|---|
//! | telemetry ([`StackBuilder::build_measured`]) | | start | status, duration, cancellation |
//! | client | peer, trusted headers | [`Client`](crate::client::Client) | |
//! | observe ([`StackBuilder::observe`]) | `Client` | | tells observers what became of the request |
//! | preflight | `Client` | what the next three must ask the store, asked at once | |
//! | suspicion | `Client` | rejects who is banned | counts 401, 404, 4xx and [`Login`](crate::suspicion::Login), unless [`Rejected`](crate::rate_limit::Rejected) |
//! | rate_limit | `Client` | [`Decision`](crate::rate_limit::Decision), or rejects | `RateLimit` headers |
//! | segment ([`StackBuilder::actions`]) | `Client` | [`Segment`](crate::segment::Segment) | counts the action and records orders, by [`CustomerEvents`](crate::segment::CustomerEvents) |
//! | funnel ([`StackBuilder::funnel`]) | `Client` | | counts the stage, by [`Reached`](crate::funnel::Reached) if the handler says so, and its visitor |
//!
//! ```
//! use palisade::client::Peer;
//! use palisade::stack::Stack;
//! use tower::{Layer, Service, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let stack = Stack::builder().build()?;
//! let mut service = stack.layer(tower::service_fn(|_request: http::Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::<bytes::Bytes>::from("hello")))
//! }));
//! let mut request = http::Request::new(());
//! request.extensions_mut().insert(Peer("192.0.2.1:5000".parse().unwrap()));
//! let response = service.ready().await.unwrap().call(request).await.unwrap();
//! assert_eq!(response.headers()["ratelimit"], r#""ip";r=199;t=60"#);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Method, Response, Uri};
use tower_layer::{Identity, Layer};

use crate::ConfigError;
use crate::client::{
    ClientLayer, ClientLayerBuilder, Countries, ExtractUser, IdentifyClient, MatchedRoute,
    ResolveCountry, ResolveRoute, Route, Secret, TrustedProxies,
};
use crate::config::{Config, CountVisitors};
use crate::funnel::{self, Funnel, FunnelLayer, FunnelLayerBuilder, Stage, VisitorTally, Visitors};
use crate::observe::{AccessLog, Observe, ObserveExchange, ObserveLayer};
#[cfg(feature = "ops")]
use crate::ops::{Ops, Sources};
use crate::preflight::{Preflight, PreflightLayer};
#[cfg(all(feature = "ops", feature = "redis"))]
use crate::rate_limit::StoreErrorKind;
use crate::rate_limit::{RateLimit, RateLimitLayer, RateLimitLayerBuilder, Rejection, Tally};
use crate::segment::{
    self, Action, CustomerStore, Customers, Money, SegmentLayer, SegmentLayerBuilder, Segmented,
};
use crate::store::memory::MemoryStore;
#[cfg(feature = "redis")]
use crate::store::redis::{RedisStore, StoreHealth};
#[cfg(feature = "redis")]
use crate::store::{Operation, Outcome};
use crate::suspicion::{
    self, Bans, Kind, SecurityEvent, Suspicion, SuspicionLayer, SuspicionLayerBuilder, Suspicions,
};
#[cfg(all(feature = "otel", feature = "redis"))]
use crate::telemetry::StoreState;
#[cfg(feature = "otel")]
use crate::telemetry::{HttpMetricsLayer, Telemetry};

/// The layers in their order, as one layer. Clones share everything.
///
/// `T` stands for what is outermost: nothing, or the HTTP metrics.
#[derive(Clone)]
pub struct Stack<T = Identity> {
    telemetry: T,
    client: ClientLayer,
    observe: ObserveLayer,
    preflight: PreflightLayer,
    suspicion: SuspicionLayer,
    rate_limit: RateLimitLayer,
    segment: SegmentLayer,
    funnel: FunnelLayer,
    #[cfg(feature = "redis")]
    health: Option<StoreHealth>,
}

impl Stack {
    /// A stack with every default: limits of 200 per minute and network and 60 per minute and user, kept in the
    /// memory of this process.
    pub fn builder() -> StackBuilder {
        StackBuilder {
            config: Config::default(),
            client: ClientLayer::builder(),
            countries: Countries::default(),
            stages: Vec::new(),
            visitors: CountVisitors::Off,
            step_observer: None,
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
            observer: None,
        }
    }
}

impl<T> Stack<T> {
    /// How many responses reached each stage of the funnel so far.
    #[must_use]
    pub fn funnel_tally(&self) -> Arc<funnel::Tally> {
        self.funnel.tally()
    }

    /// How many visitors reached each stage of the funnel so far; `None` unless they are counted.
    #[must_use]
    pub fn visitor_tally(&self) -> Option<Arc<VisitorTally>> {
        self.funnel.visitor_tally()
    }

    /// What the rate limits decided so far.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        self.rate_limit.tally()
    }

    /// What clients' failures added up to so far.
    #[must_use]
    pub fn suspicion_tally(&self) -> Arc<suspicion::Tally> {
        self.suspicion.tally()
    }

    /// What the service can ask of the suspicion layer, and tell it.
    #[must_use]
    pub fn suspicions(&self) -> Suspicions {
        self.suspicion.suspicions()
    }

    /// What customers did by segment, and how their records fare; `None` without segments.
    #[must_use]
    pub fn segment_tally(&self) -> Option<Arc<segment::Tally>> {
        self.segment.tally()
    }

    /// What the service can ask of the segment layer, and tell it; `None` without segments. Called within a runtime, it
    /// starts the count of the population, which otherwise begins with the first request.
    #[must_use]
    pub fn customers(&self) -> Option<Customers> {
        self.segment.customers()
    }

    /// The state of the Redis store; `None` on memory.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn store_health(&self) -> Option<&StoreHealth> {
        self.health.as_ref()
    }
}

#[cfg(feature = "ops")]
impl<T> Stack<T> {
    /// What the live page shows of the stack.
    fn sources(&self) -> Sources {
        #[cfg(feature = "redis")]
        let health = self.health.clone();
        #[cfg(not(feature = "redis"))]
        let health: Option<std::convert::Infallible> = None;
        Sources {
            store: if health.is_some() { "redis" } else { "memory" },
            policies: self.rate_limit.describe(),
            decisions: self.tally(),
            suspicions: self.suspicions(),
            incidents: self.suspicion_tally(),
            stages: self.funnel_tally(),
            visitors: self.visitor_tally(),
            segments: self.segment_tally(),
            #[cfg(feature = "redis")]
            health: health.map(|health| -> crate::ops::Health {
                Box::new(move || crate::ops::StoreState {
                    breaker_open: health.is_breaker_open(),
                    last_error: health.last_error().map(|kind| match kind {
                        StoreErrorKind::Timeout => Outcome::Timeout.as_str(),
                        _ => Outcome::Error.as_str(),
                    }),
                    corrupt_keys: health.broken_logs(),
                })
            }),
            #[cfg(not(feature = "redis"))]
            health: None,
        }
    }
}

impl<S, T> Layer<S> for Stack<T>
where
    T: Layer<IdentifyClient<Observe<Preflight<Suspicion<RateLimit<Segmented<Funnel<S>>>>>>>>,
{
    type Service = T::Service;

    fn layer(&self, inner: S) -> T::Service {
        let segmented = self.segment.layer(self.funnel.layer(inner));
        let limited = self.rate_limit.layer(segmented);
        let watched = self.suspicion.layer(limited);
        let asked = self.preflight.layer(watched);
        let observed = self.observe.layer(asked);
        self.telemetry.layer(self.client.layer(observed))
    }
}

impl<T> fmt::Debug for Stack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("suspicion", &self.suspicion)
            .field("rate_limit", &self.rate_limit)
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Stack`].
#[must_use]
pub struct StackBuilder {
    config: Config,
    client: ClientLayerBuilder,
    countries: Countries,
    stages: Vec<Stage>,
    visitors: CountVisitors,
    step_observer: Option<StepObserver>,
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
    observer: Option<Observer>,
}

type StepObserver = Box<dyn Fn(&str, &str, std::time::Duration) + Send + Sync>;
type SecurityObserver = Box<dyn Fn(&SecurityEvent<'_>) + Send + Sync>;
type Convert = Box<dyn Fn(Money) -> Option<i64> + Send + Sync>;

type Reject = Box<dyn Fn(&Rejection<'_>) -> Response<Bytes> + Send + Sync>;

#[cfg(feature = "redis")]
type Observer = Box<dyn Fn(Operation, Outcome, std::time::Duration) + Send + Sync>;

impl StackBuilder {
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

    /// The stages whose responses are counted, by country; see [`funnel`]. None unless set.
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

    /// Is told of every step of a visitor; see [`Visitors::observer`].
    pub fn observe_steps(
        mut self,
        observer: impl Fn(&str, &str, std::time::Duration) + Send + Sync + 'static,
    ) -> Self {
        self.step_observer = Some(Box::new(observer));
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
    /// [`convert`](SegmentLayerBuilder::convert).
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

    /// Is told of every call to Redis, with its outcome and how long it took.
    #[cfg(feature = "redis")]
    pub fn observe_store(
        mut self,
        observer: impl Fn(Operation, Outcome, std::time::Duration) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Box::new(observer));
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
        self = self
            .observe(ops.exchanges())
            .observe_security(ops.security_events());
        #[cfg(feature = "redis")]
        {
            let (calls, own) = (ops.calls(), self.observer.take());
            self = self.observe_store(move |operation, outcome, took| {
                calls(operation, outcome, took);
                if let Some(own) = &own {
                    own(operation, outcome, took);
                }
            });
        }
        let stack = self.build_layers()?;
        ops.attach(stack.sources())?;
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

        let secret = match self.config.secret()? {
            Some(secret) => secret,
            None => {
                if self.config.store.redis_url.is_some() {
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
        let (step_observer, visitors_secret) = (self.step_observer, secret.clone());
        let with_visitors = |new: &dyn Fn(Secret) -> Visitors| {
            let Some(window) = window else {
                return funnel.build();
            };
            let visitors = new(visitors_secret).window(window);
            let visitors = match step_observer {
                Some(observer) => visitors.observer(observer),
                None => visitors,
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
            let builder = Kind::ALL
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
                return Ok(SegmentLayer::default());
            };
            let mut builder = SegmentLayerBuilder::new(store)
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

        #[cfg(feature = "redis")]
        if let Some(url) = &self.config.store.redis_url {
            let mut redis = RedisStore::builder(url.as_str())
                .prefix(&self.config.store.prefix)
                .deadline(self.config.store.deadline);
            if let Some(observer) = self.observer {
                redis = redis.observer(observer);
            }
            let redis = redis.build().map_err(|error| error.under("store"))?;
            let health = Some(redis.health());
            let failures = SuspicionLayer::shared(redis.clone(), self.memory.clone());
            let bans = Bans::shared(redis.clone(), self.memory.clone());
            let suspicion = suspicions(failures, bans).map_err(in_suspicion)?;
            let funnel = with_visitors(&|secret| Visitors::shared(redis.clone(), secret))
                .map_err(in_funnel)?;
            let segment = segments(Box::new(redis.clone()))?;
            let rate_limit =
                limits(RateLimitLayer::shared(redis, self.memory)).map_err(in_limits)?;
            return Ok(Stack {
                telemetry: Identity::new(),
                client,
                observe: ObserveLayer::new(self.observers),
                preflight: PreflightLayer::shared(&suspicion, &rate_limit, &segment),
                suspicion,
                rate_limit,
                segment,
                funnel,
                health,
            });
        }
        #[cfg(not(feature = "redis"))]
        if self.config.store.redis_url.is_some() {
            let allowed = "nothing in this build: palisade's feature `redis` is off";
            return Err(ConfigError::without_value("store.redis_url", allowed));
        }
        let funnel = with_visitors(&|secret| Visitors::embedded(self.memory.clone(), secret))
            .map_err(in_funnel)?;
        let failures = SuspicionLayer::embedded(self.memory.clone());
        let bans = Bans::embedded(self.memory.clone());
        let suspicion = suspicions(failures, bans).map_err(in_suspicion)?;
        let segment = segments(Box::new(self.memory.clone()))?;
        let rate_limit = limits(RateLimitLayer::embedded(self.memory)).map_err(in_limits)?;
        Ok(Stack {
            telemetry: Identity::new(),
            client,
            observe: ObserveLayer::new(self.observers),
            preflight: PreflightLayer::embedded(&suspicion, &rate_limit, &segment),
            suspicion,
            rate_limit,
            segment,
            funnel,
            #[cfg(feature = "redis")]
            health: None,
        })
    }
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
        let this = self.observe_steps(telemetry.step_observer());
        #[cfg(feature = "redis")]
        let stack = this.observe_store(telemetry.store_observer()).build()?;
        #[cfg(not(feature = "redis"))]
        let stack = this.build()?;
        telemetry.watch_funnel(stack.funnel_tally());
        if let Some(visitors) = stack.visitor_tally() {
            telemetry.watch_visitors(visitors);
        }
        telemetry.watch_rate_limit(stack.tally());
        telemetry.watch_suspicion(stack.suspicion_tally());
        if let Some(tally) = stack.segment_tally() {
            telemetry.watch_segments(tally);
        }
        #[cfg(feature = "redis")]
        if let Some(health) = stack.health.clone() {
            telemetry.watch_store(move || StoreState {
                breaker_open: health.is_breaker_open(),
                corrupt_keys: health.broken_logs(),
            });
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
