//! All layers in their order, as one layer, made of one [`Config`](crate::config::Config) and of what only code can say.
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
//!
//! Without settings, a stack finds out who is calling, counts failures, and limits each network to 200 requests a minute and
//! each verified user to 60, all in the memory of this process. The other layers are off until the method, or the section of
//! the configuration, in their row turns them on.
//!
//! A request meets the layers from the top down, its response from the bottom up. A layer learns of the others only by
//! extensions of the request and of the response.
//!
//! | layer | reads of the request | adds to the request, or refuses it | does with the response |
//! |---|---|---|---|
//! | telemetry ([`StackBuilder::build_measured`]) | method, route | | measures status, duration and cancellation |
//! | client | peer, trusted headers | [`Client`](crate::client::Client) | |
//! | observe ([`StackBuilder::observe`], `[log]`) | `Client` | | tells the observers how the request ended |
//! | maintenance (`[maintenance]`) | `Client` | refuses all but the exempt | |
//! | preflight (with sessions, or if two of suspicion, rate_limit and segment can wait) | `Client` | whose session it is, and the store's answers for the next four | |
//! | suspicion (refuses with `[suspicion.bans]`) | `Client`, preflight's answer | refuses a banned client | counts a 4xx other than 429, its like in gRPC, and [`Login`](crate::suspicion::Login), unless [`Rejected`](crate::rate_limit::Rejected) |
//! | rate_limit | `Client`, preflight's answer, a known `Segment` | [`Decision`](crate::rate_limit::Decision), or refuses | adds the `RateLimit` headers |
//! | session (`[sessions]`) | preflight's answer, or the cookie and `Authorization` | [`Session`](crate::session::Session), or refuses | clears a cookie that opens nothing |
//! | segment (`[segments]`) | `Client`, preflight's answer | [`Segment`](crate::segment::Segment) | counts actions and records orders, by [`CustomerEvents`](crate::segment::CustomerEvents) |
//! | funnel ([`StackBuilder::funnel`]) | `Client` | | counts the stage and its visitor; a handler can name the stage by [`Reached`](crate::funnel::Reached) |
//!
//! The body of each response is wrapped once, whatever the layers; see [`body`](crate::body).
//!
//! A panic in code of yours harms nobody else:
//!
//! | code | what its panic does |
//! |---|---|
//! | what decides: user, country, route, a policy's key or cost, `reject_with` | it ends its request, which the service does not see and no limit is charged for |
//! | what observes: exchanges, security events, calls to the store, steps of visitors | it is caught and logged once (`observer_panicked`); the request and the other observers go on |
//! | `convert` | it is caught and logged as those are; the order counts, and its amount adds nothing |
//! | the check of `/readyz` | it is caught and logged as those are; the answer is 503 |
//! | a store, a clock, an [`Ask`](crate::preflight::Ask) of your own | it ends the request that asked, or the batch of a task, which begins anew |
//!
//! In the sources, this module alone knows all layers. This file has their list, of which `stack/layers.rs` makes the
//! [`Stack`]. `stack/builder.rs` takes the settings, `stack/checks.rs` finds those without effect,
//! `stack/setup.rs` makes each layer of them, `stack/stores.rs` chooses its store, and `stack/panels.rs` gathers the panels of the live page.

#[macro_use]
mod layers;
mod builder;
mod checks;
#[cfg(feature = "ops")]
mod panels;
mod setup;
mod stores;
#[cfg(test)]
mod tests;
mod unblock;
#[cfg(feature = "ops")]
mod unblock_action;

use std::fmt;
use std::sync::Arc;

use tower_layer::{Identity, Layer};

pub use builder::StackBuilder;
use setup::Setup;
use unblock::Naming;
pub use unblock::{Unblock, Unblocked};

use crate::ConfigError;
use crate::body::Wrap;
use crate::funnel::{FunnelTally, VisitorTally};
#[cfg(any(feature = "otel", feature = "ops"))]
use crate::model::Room;
#[cfg(feature = "otel")]
use crate::model::metrics::Meters;
#[cfg(feature = "ops")]
use crate::model::panel::Panel;
use crate::rate_limit::PolicyTally;
use crate::segment::{Customers, SegmentTally};
use crate::session::{SessionTally, Sessions};
#[cfg(feature = "redis")]
use crate::store::redis::{RedisStore, StoreHealth};
use crate::suspicion::{SuspicionTally, Suspicions};
#[cfg(feature = "otel")]
use crate::telemetry::{HttpMetrics, HttpMetricsLayer};

layers! {
    client: IdentifyLayer => Identify, Setup::client;
    observe: ObserveLayer => Observe, Setup::observe;
    maintenance: MaintenanceLayer => Maintenance, |it| MaintenanceLayer::new(it.said.config.maintenance.clone());
    preflight: PreflightLayer => Preflight, Setup::preflight;
    suspicion: SuspicionLayer => Suspicion, Setup::suspicion;
    rate_limit: RateLimitLayer => RateLimit, Setup::rate_limit;
    session: SessionLayer => Authenticate, Setup::session;
    segment: ClassifyLayer => Classify, Setup::segment;
    funnel: FunnelLayer => Funnel, Setup::funnel;
}

impl Stack {
    /// A stack with every default: limits of 200 per minute and network and 60 per minute and user, kept in the
    /// memory of this process.
    pub fn builder() -> StackBuilder {
        StackBuilder::new()
    }
}

impl<T> Stack<T> {
    /// How many responses reached each stage of the funnel so far.
    #[must_use]
    pub fn funnel_tally(&self) -> Arc<FunnelTally> {
        self.funnel.tally()
    }

    /// How many visitors reached each stage of the funnel so far; `None` unless they are counted.
    #[must_use]
    pub fn visitor_tally(&self) -> Option<Arc<VisitorTally>> {
        self.funnel.visitor_tally()
    }

    /// What the rate limits decided so far.
    #[must_use]
    pub fn tally(&self) -> Arc<PolicyTally> {
        self.rate_limit.tally()
    }

    /// What clients' failures added up to so far.
    #[must_use]
    pub fn suspicion_tally(&self) -> Arc<SuspicionTally> {
        self.suspicion.tally()
    }

    /// What the service can ask of the suspicion layer, and tell it.
    #[must_use]
    pub fn suspicions(&self) -> Suspicions {
        self.suspicion.suspicions()
    }

    /// What customers did by segment, and how their records fare; `None` without segments.
    #[must_use]
    pub fn segment_tally(&self) -> Option<Arc<SegmentTally>> {
        self.segment.tally()
    }

    /// What the service can ask of the segment layer, and tell it; `None` without segments. Called within a runtime, it
    /// starts the count of the population, which otherwise begins with the first request.
    #[must_use]
    pub fn customers(&self) -> Option<Customers> {
        self.segment.customers()
    }

    /// What the service has to create, list and end sessions; `None` without sessions.
    #[must_use]
    pub fn sessions(&self) -> Option<Sessions> {
        self.session.sessions()
    }

    /// What was done to sessions so far; `None` without sessions.
    #[must_use]
    pub fn session_tally(&self) -> Option<Arc<SessionTally>> {
        self.session.tally()
    }

    /// The Redis store, to [examine](RedisStore::examine) at start; `None` on memory.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis(&self) -> Option<&RedisStore> {
        self.redis.as_ref()
    }

    /// What an operator has to let a client or a customer in again.
    #[must_use]
    pub fn unblock(&self) -> Unblock {
        Unblock::new(
            self.rate_limit.clone(),
            self.suspicion.suspicions(),
            self.naming.clone(),
        )
    }

    /// The state of the Redis store; `None` on memory.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn store_health(&self) -> Option<&StoreHealth> {
        self.health.as_ref()
    }
}

mod outermost {
    /// What can be outermost: a layer of ours, around a service whose bodies are wrapped already.
    pub trait Outermost<S> {
        type Service;

        fn around(&self, inner: S) -> Self::Service;
    }
}
use outermost::Outermost;

impl<S> Outermost<S> for Identity {
    type Service = S;

    fn around(&self, inner: S) -> S {
        inner
    }
}

#[cfg(feature = "otel")]
impl<S> Outermost<S> for HttpMetricsLayer {
    type Service = HttpMetrics<S>;

    fn around(&self, inner: S) -> HttpMetrics<S> {
        HttpMetricsLayer::around(self, inner)
    }
}
