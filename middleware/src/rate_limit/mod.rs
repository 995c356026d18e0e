//! Decides whether a request may pass, by exact sliding windows. A request passes when every [`Policy`] that it meets has
//! room, and then all of them are charged. Otherwise none is charged: a denied user spends nothing of the address that it
//! shares with others.
//!
//! Limits of one process, by client address:
//!
//! ```
//! use palisade::client::{IdentifyLayer, Peer};
//! use palisade::rate_limit::{Policy, RateLimitLayer};
//! use palisade::store::memory::MemoryStore;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let mut service = ServiceBuilder::new()
//!     .layer(IdentifyLayer::builder().build()?)
//!     .layer(RateLimitLayer::embedded(MemoryStore::new()).policy(Policy::ip().quota("1/1m".parse()?)).build()?)
//!     .service_fn(|_request: http::Request<()>| async {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::<bytes::Bytes>::from("hello")))
//!     });
//! let request = || {
//!     let mut request = http::Request::new(());
//!     request.extensions_mut().insert(Peer("192.0.2.1:5000".parse().unwrap()));
//!     request
//! };
//! assert_eq!(service.ready().await.unwrap().call(request()).await.unwrap().status(), 200);
//! let denied = service.ready().await.unwrap().call(request()).await.unwrap();
//! assert_eq!((denied.status().as_u16(), &denied.headers()["retry-after"]), (429, &"60".parse().unwrap()));
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! A policy of your own, tried out without denying anybody:
//!
//! ```
//! use palisade::client::Secret;
//! use palisade::rate_limit::{PartitionBy, PartitionKey, Policy, RateLimitLayer};
//! use palisade::store::memory::MemoryStore;
//!
//! let secret = Secret::from_bytes(b"keys that are no plain ids are hashed with it");
//! let by_api_key = PartitionBy::request(move |request| {
//!     let key = request.headers.get("x-api-key")?.to_str().ok()?;
//!     Some(PartitionKey::text(key, &secret))
//! });
//! let layer = RateLimitLayer::embedded(MemoryStore::new())
//!     .policy(Policy::ip())
//!     .policy(
//!         Policy::new("upload", by_api_key, "1000/1h".parse()?)
//!             .routes(["POST /files".parse()?])
//!             .cost_with(|request| if request.headers.contains_key("x-bulk") { 10 } else { 1 })
//!             .dry_run(),
//!     )
//!     .build()?;
//! assert_eq!(layer.tally().policies().count(), 2);
//! # Ok::<(), palisade::ConfigError>(())
//! ```
//!
//! A [`Policy`] has a key ([`PartitionBy`]), which says whose requests are counted together, and a [`Quota`], which says how
//! much fits in a window.
//!
//! # Exact
//! In every half-open window `(t-w, t]` on the store's clock the admitted cost never exceeds the quota, and a request that
//! fits is never denied. Only admitted requests count.
//!
//! The promise holds while the log survives and the store's clock runs forward.
//!
//! - Each loss of the log can add at most one quota to one window. A flush loses it, and so does a failover to a replica
//!   that lacks the last writes, or a forward step of the server's clock.
//! - Outages can add one quota for each process, however many outages fall into that window: the process's own log outlives
//!   them.
//! - A raised or lowered limit keeps the history. After a shorter window, everything older than it is forgotten.
//!
//! # When the store fails
//! Each policy does as its [`OnStoreFailure`] says. A call that ran into its deadline, or whose client left before the
//! answer, may still have been charged. So a client can find that much less room than it used.
//!
//! # Denials are remembered
//! A client that a shared store denied is denied again without a call, until the moment its next slot frees and never
//! beyond. The proof: an entry ends at the time the call was *sent* plus the wait that the store named, and the store decided
//! no earlier than that. The entry denies only the same or a higher cost under the same quota.
//!
//! There is one exception. When the log is lost meanwhile, the store would admit a request that the entry still denies, for
//! the rest of that window at most.
//!
//! In an outage, a remembered denial stands for policies with local fallback. An open policy lets the request pass, and a
//! closed one answers 503.
//!
//! # State changes are logged
//! The first denial of a policy is one line of the target `palisade::rate_limit`, and so is the first request that it decides
//! without its store. The end is one line too: a window of the policy (10 s at least) without a denial, or 5 s without a
//! fallback. A task sees the end, and needs tokio's timer: a runtime of your own needs `enable_time`.
mod changes;
pub(crate) mod config;
mod decide;
mod decision;
mod deny_cache;
mod future;
mod headers;
mod layer;
#[cfg(feature = "otel")]
mod metrics;
#[cfg(feature = "ops")]
mod panel;
mod policy;
mod preflight;
mod reject;
mod service;
pub mod store;
mod tally;
#[cfg(test)]
mod tests;

pub use decision::{Decision, PolicyState};
pub use future::ResponseFuture;
pub use headers::Headers;
pub use layer::{RateLimitLayer, RateLimitLayerBuilder};
pub use policy::{OnStoreFailure, PartitionBy, Policy};
pub use reject::Rejection;
pub use service::RateLimit;
pub use tally::{Outcome, PolicyCounts, PolicyTally};

pub use crate::model::{
    Exemptions, PartitionKey, Quota, Reason, Rejected, RouteFilter, StoreError, StoreErrorKind,
};
