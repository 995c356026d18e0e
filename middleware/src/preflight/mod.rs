//! Asks the store once for all layers that need an answer before the handler runs. Each of these layers finds its answer in
//! the request and asks nothing. A layer used alone asks its own question.
//!
//! A [`Stack`](crate::stack::Stack) has this layer right outside of suspicion. By hand, put it inside of the client layer and
//! outside of every layer that it asks for:
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
//! Four layers of this crate can be asked. They are asked in this order, whatever the order of the calls of `ask`:
//!
//! 1. [`SessionLayer`](crate::session::SessionLayer): whose session the request has.
//! 2. [`SuspicionLayer`](crate::suspicion::SuspicionLayer): whether the client is banned.
//! 3. [`ClassifyLayer`](crate::segment::ClassifyLayer): the customer's record.
//! 4. [`RateLimitLayer`](crate::rate_limit::RateLimitLayer): the charges of all policies. A banned client is not charged.
//!
//! **Bans and limits must share one store.** The question about the ban travels in the call of the limits, so the store of
//! the limits answers it. Bans in another store, or under another prefix, are refused when the layer is built.
//!
//! - **What this process knows is not asked**: a ban that it has heard of, a denial that still holds, a customer in the
//!   cache. A request about which nothing is asked does not wait.
//! - **When the store fails**, each layer does as it does alone, and none asks again. Suspicion refuses the clients that
//!   this process knows to be banned. Each policy does as its [`OnStoreFailure`](crate::rate_limit::OnStoreFailure) says. A
//!   customer who is not in the cache has no `Segment`.
//! - **Preflight does nothing** unless two of its layers can wait. Bans and limits in memory cannot.
//! - **The quota of a segment** ([`Policy::segment_quota`](crate::rate_limit::Policy::segment_quota)) holds if the segment
//!   is known without a wait. Otherwise the request has the policy's own quota, unless that denies it: then the segment is
//!   awaited, and if it has another quota the store is asked once more. That is the only second wait, and nothing is charged
//!   twice.
//! - **A session** that this process does not know is proved in the limits' call, where one store keeps both. The others are asked
//!   as if it were proved, and as if it were not, and what the store proves decides which of the two the request is. Until then
//!   nothing that its token names decides, spends or shows anything.
//! - **A layer of your own** can be asked too, by [`Ask`]. Its answer is an extension of the request. It is asked once it is
//!   known whose request it is, so with it such a session is proved first, by a wait of its own.
mod either_way;
mod future;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use future::ResponseFuture;
pub use layer::{PreflightLayer, PreflightLayerBuilder};
pub use service::Preflight;

pub use crate::model::{
    Answer, Ask, Asked, AskedEitherWay, Claimed, EitherWay, Found, Proving, SessionGate, Turn,
};
