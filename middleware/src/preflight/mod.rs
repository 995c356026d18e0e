//! Asks the store once for all layers that need an answer before the handler runs. In a [`Stack`](crate::stack::Stack) it
//! stands right inside the client layer. A layer used alone asks its own question.
//!
//! A layer used alone asks its own question. This layer stands right inside the client layer, and asks for all of those
//! that it is given in one pipelined round trip. A [`Stack`](crate::stack::Stack) has it; so can you:
//!
//! ```
//! # #[cfg(feature = "redis")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use palisade::client::{IdentifyLayer, Peer};
//! use palisade::preflight::PreflightLayer;
//! use palisade::rate_limit::RateLimitLayer;
//! use palisade::store::memory::MemoryStore;
//! use palisade::store::redis::RedisStore;
//! use palisade::suspicion::{Bans, SuspicionLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! let store = RedisStore::builder("redis://127.0.0.1:6379").prefix("shop:").build()?;
//! // For the time that Redis does not answer.
//! let local = MemoryStore::new();
//! let bans = Bans::shared(store.clone(), local.clone());
//! let suspicion = SuspicionLayer::shared(store.clone(), local.clone()).bans(bans).build()?;
//! let rate_limit = RateLimitLayer::shared(store, local).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(IdentifyLayer::builder().build()?)
//!     .layer(PreflightLayer::builder().ask(suspicion.clone()).ask(rate_limit.clone()).build()?)
//!     .layer(suspicion)
//!     .layer(rate_limit)
//!     .service_fn(|_request: http::Request<()>| async {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::<bytes::Bytes>::from("hello")))
//!     });
//!
//! let mut request = http::Request::new(());
//! request.extensions_mut().insert(Peer("192.0.2.1:5000".parse().unwrap()));
//! assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! Three layers of this crate can be asked:
//!
//! - [`SuspicionLayer`](crate::suspicion::SuspicionLayer): whether the client is banned, in the same call as
//! - [`RateLimitLayer`](crate::rate_limit::RateLimitLayer): the charges of all policies, which are not charged if it is;
//! - [`ClassifyLayer`](crate::segment::ClassifyLayer): the customer's record, unless this process knows it.
//!
//! A layer of your own can be asked too, by [`Ask`]. The answers are extensions of the request, and each layer then only
//! carries out its part. What the process knows by itself is not asked: a ban that it has heard of, a denial that still
//! holds, a customer in the cache. Where nothing is to be awaited, nothing is.
//!
//! The customer's segment chooses the quota too ([`Policy::segment_quota`](crate::rate_limit::Policy::segment_quota)), if it is
//! in the cache. A segment that must be asked for comes too late: that request has the policy's own quota.
mod future;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use future::ResponseFuture;
pub use layer::{PreflightLayer, PreflightLayerBuilder};
pub use service::Preflight;

pub use crate::model::{Answer, Ask, Asked, Turn};
