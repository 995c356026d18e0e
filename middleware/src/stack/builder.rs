//! The settings of a stack: a configuration, and what only code can say.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Method, Response, Uri};

use super::Stack;
#[cfg(feature = "ops")]
use super::panels::Heard;
use super::setup::Setup;
#[cfg(feature = "redis")]
use super::stores::CallObserver;
use crate::ConfigError;
use crate::client::{ExtractUser, IdentifyLayer, IdentifyLayerBuilder, ResolveCountry, Secret};
use crate::config::{Config, CountVisitors};
use crate::funnel::Stage;
#[cfg(feature = "otel")]
use crate::funnel::Steps;
use crate::model::{Countries, MatchedRoute, ObserveExchange, ResolveRoute, Route};
#[cfg(feature = "redis")]
use crate::model::{Operation, Outcome};
#[cfg(feature = "ops")]
use crate::ops::Ops;
use crate::rate_limit::Rejection;
use crate::segment::{Action, Money};
use crate::session::{Listeners, Notify};
#[cfg(all(feature = "otel", feature = "redis"))]
use crate::store::Calls;
use crate::store::memory::MemoryStore;
#[cfg(feature = "redis")]
use crate::store::redis::RedisStore;
use crate::suspicion::SecurityEvent;
#[cfg(feature = "otel")]
use crate::telemetry::{HttpMetricsLayer, Telemetry};

/// Settings of a [`Stack`].
#[must_use]
pub struct StackBuilder {
    pub(super) config: Config,
    pub(super) client: IdentifyLayerBuilder,
    pub(super) countries: Countries,
    pub(super) stages: Vec<Stage>,
    pub(super) visitors: CountVisitors,
    pub(super) step_observers: Vec<StepObserver>,
    pub(super) observers: Vec<Box<dyn ObserveExchange>>,
    pub(super) security_observers: Vec<SecurityObserver>,
    pub(super) listeners: Listeners,
    #[cfg(feature = "ops")]
    pub(super) ops: Option<Ops>,
    pub(super) actions: Vec<Action>,
    pub(super) convert: Option<Convert>,
    pub(super) route: Arc<dyn ResolveRoute>,
    pub(super) routes: Option<Vec<Box<str>>>,
    pub(super) memory: MemoryStore,
    pub(super) secret: Option<Secret>,
    pub(super) reject: Option<Reject>,
    pub(super) deny_cache: Option<usize>,
    #[cfg(feature = "redis")]
    pub(super) redis: Option<RedisStore>,
    #[cfg(feature = "redis")]
    pub(super) call_observers: Vec<CallObserver>,
    /// The service's name, which marks its prefix in Redis.
    #[cfg(all(feature = "otel", feature = "redis"))]
    pub(super) service: Option<String>,
}

pub(super) type StepObserver = Box<dyn Fn(&str, &str, std::time::Duration) + Send + Sync>;
pub(super) type SecurityObserver = Arc<dyn Fn(&SecurityEvent<'_>) + Send + Sync>;
pub(super) type Convert = Box<dyn Fn(Money) -> Option<i64> + Send + Sync>;

pub(super) type Reject = Box<dyn Fn(&Rejection<'_>) -> Response<Bytes> + Send + Sync>;

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
            listeners: Listeners::new(),
            #[cfg(feature = "ops")]
            ops: None,
            actions: Vec::new(),
            convert: None,
            route: Arc::new(MatchedRoute),
            routes: None,
            memory: MemoryStore::new(),
            secret: None,
            reject: None,
            deny_cache: None,
            #[cfg(feature = "redis")]
            redis: None,
            #[cfg(feature = "redis")]
            call_observers: Vec::new(),
            #[cfg(all(feature = "otel", feature = "redis"))]
            service: None,
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

    /// Is told of every step of a visitor; several may be added. See
    /// [`Visitors::observer`](crate::funnel::Visitors::observer).
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
    /// [`observe_events`](crate::suspicion::SuspicionLayerBuilder::observe_events).
    pub fn observe_security(
        mut self,
        observer: impl Fn(&SecurityEvent<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.security_observers.push(Arc::new(observer));
        self
    }

    /// Is told what users are to be told of their sessions: a login with a new device, and alerts. See
    /// [`Notify`]. It needs `[sessions]`.
    pub fn notify(mut self, notify: impl Notify) -> Self {
        self.listeners = self.listeners.notify(notify);
        self
    }

    /// Where an address is, in degrees of latitude and longitude; see
    /// [`Listeners::locate`](crate::session::Listeners::locate). It needs `[sessions]`.
    pub fn locate(
        mut self,
        locate: impl Fn(std::net::IpAddr) -> Option<(f64, f64)> + Send + Sync + 'static,
    ) -> Self {
        self.listeners = self.listeners.locate(locate);
        self
    }

    /// The actions of customers, counted by segment and country: names, or [`Action`]s with their routes. None unless set.
    /// They count only if the configuration has a `[segments]` section that is on.
    pub fn actions(mut self, actions: impl IntoIterator<Item = impl Into<Action>>) -> Self {
        self.actions = actions.into_iter().map(Into::into).collect();
        self
    }

    /// Makes amounts in another currency ones in minor units of the segments' currency; see
    /// [`convert`](crate::segment::ClassifyLayerBuilder::convert).
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

    /// The routes of the service, each with its method or for all methods. A setting that names no such route is then
    /// refused by name, or said in the log if it is the path of requests without a route.
    ///
    /// Without the list, settings whose route no request has met are said in the log: after a thousand requests if the
    /// route resembles that of a request, else after an hour.
    ///
    /// ```
    /// use palisade::{config::Config, stack::Stack};
    ///
    /// let mut config = Config::default();
    /// let login = config.rate_limit.policies[0].clone().routes(["POST /{page}/login".parse()?]);
    /// config.rate_limit.policies = vec![login];
    /// let stack = Stack::builder().config(config).routes(["GET /products", "POST /login"]);
    /// let refused = stack.build().unwrap_err().to_string();
    /// assert!(refused.starts_with("`rate_limit.policies.ip.routes` cannot be `POST /{page}/login`"));
    /// # Ok::<(), palisade::ConfigError>(())
    /// ```
    pub fn routes<'a>(mut self, routes: impl IntoIterator<Item = &'a str>) -> Self {
        self.routes = Some(routes.into_iter().map(Into::into).collect());
        self
    }

    /// The store of this process. Without Redis everything is kept here. With Redis it takes over while Redis fails, for
    /// failures, bans and policies in mode `local`.
    ///
    /// Set it for another bound on its keys, or another clock.
    pub fn memory(mut self, memory: MemoryStore) -> Self {
        self.memory = memory;
        self
    }

    /// The secret that keys the hashes and the tokens of sessions, in place of
    /// [the configuration's](crate::config::Config::secret): one that comes from elsewhere than a file or the environment.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Answers the refusals of the rate limits with responses of your own; see
    /// [`reject_with`](crate::rate_limit::RateLimitLayerBuilder::reject_with). A banned client still gets the
    /// [`BanResponse`](crate::suspicion::BanResponse).
    pub fn reject_with(
        mut self,
        respond: impl Fn(&Rejection<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.reject = Some(Box::new(respond));
        self
    }

    /// How many denials are remembered; see [`deny_cache`](crate::rate_limit::RateLimitLayerBuilder::deny_cache).
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

    fn build_layers(self) -> Result<Stack, ConfigError> {
        Stack::make(Setup::new(self)?)
    }
}

#[cfg(feature = "otel")]
impl StackBuilder {
    /// The stack inside the HTTP metrics of `telemetry`, which also exports what the limits decide, what failures add
    /// up to, what customers do, which stages are reached, and how the store does. The namespace of `telemetry` marks the
    /// store's prefix; see [`store::redis`](crate::store::redis#two-services).
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
        let this = Self {
            service: Some(telemetry.namespace().to_owned()),
            ..this.observe_store(telemetry.timer::<Calls>())
        };
        let stack = this.build()?;
        stack.measure(telemetry);
        Ok(stack.inside(http))
    }
}

/// One way to find routes, for the client layer and for the metrics.
pub(super) struct SharedRoute(pub(super) Arc<dyn ResolveRoute>);

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
