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
//! much fits in a window. A layer without policies of yours has [`Policy::ip`] and [`Policy::user`]. A policy in a
//! [dry run](Policy::dry_run) never denies; the [`PolicyTally`] counts what it would have denied.
//!
//! # Answers
//! | request | response | problem type |
//! |---|---|---|
//! | admitted | the service's own, with the headers that [`Headers`] says | |
//! | denied | 429, with these headers, and `Retry-After` unless the cost never fits | `quota-exceeded` |
//! | the store fails, and a policy is `Closed` | 503, with `Retry-After` | `temporary-reduced-capacity` |
//!
//! - An admitted request that met a policy has a [`Decision`] as an extension, for the handler.
//! - A refusal has a [`Rejected`] as an extension, for the layers further out. A gRPC call is refused with HTTP 200 and
//!   `grpc-status` 8 (`RESOURCE_EXHAUSTED`) or 14 (`UNAVAILABLE`).
//! - [`RateLimitLayerBuilder::reject_with`] writes refusals of your own.
//! - A client, user or route of the [`Exemptions`] meets no policy, and its responses have none of these headers.
//!
//! # Exact
//! In every half-open window `(t-w, t]` on the store's clock the admitted cost never exceeds the quota, and a request that
//! fits is never denied. Only admitted requests count.
//!
//! For each key of a policy the store keeps a *log*: the moments at which cost was admitted. The promise holds while the log
//! survives and the store's clock runs forward.
//!
//! - Each loss of the log can add at most one quota to one window. A flush loses it, and so does a failover to a replica
//!   that lacks the last writes, or a forward step of the server's clock.
//! - During outages each process counts in a log of its own, which can add one quota for each process to a window. Further
//!   outages in the same window add nothing, since the process keeps its log between them.
//! - A raised or lowered limit keeps the log. After a shorter window, everything older than it is forgotten.
//!
//! # When the store fails
//! Each policy does as its [`OnStoreFailure`] says: `Local`, the default, counts in the memory of this process, `Open` lets
//! the request pass, and `Closed` answers 503. The request passes if all of its policies let it. A call that ran into its
//! deadline, or whose client left before the answer, may still have been charged. The client then has that much less room.
//!
//! # Denials are remembered
//! When a shared store denies a request, this process remembers the key of the policy. It denies further requests of that
//! key without a call, for as long as the store would deny them; once a second one of them asks the store again. The proof: an entry ends at the time the call was *sent*
//! plus the wait that the store named, and the store decided no earlier than the call was sent. The entry denies only the
//! same or a higher cost under the same quota.
//!
//! There is one exception. If the log is lost meanwhile, or [forgotten](RateLimitLayer::forget) on purpose, the entry denies
//! requests that the store would admit, for a second at most.
//!
//! In an outage, a remembered denial stands for policies with local fallback. An open policy lets the request pass, and a
//! closed one answers 503.
//!
//! # State changes are logged
//! Two states of a policy are logged, under the target `palisade::rate_limit`: that it denies, and that it decides without
//! its store. Each has one line when it begins and one when it ends. The first ends when no denial came for a window of the
//! policy, or for 10 s if that is longer. The second ends when no request was decided so for 5 s, and the store is not known
//! to fail. A task writes the line of the end by tokio's timer, so a runtime of your own needs `enable_time`.
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
