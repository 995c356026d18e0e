//! Tells observers how each request ended: the access log, the live page, an observer of your own. [`ObserveLayer`] gives
//! each [`ObserveExchange`] one [`Exchange`] for each request. Without observers it costs a branch.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use palisade::client::Peer;
//! use palisade::observe::{Class, Exchange};
//! use palisade::stack::Stack;
//! use tower::{Layer, Service, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let slow = Arc::new(AtomicU64::new(0));
//! let counter = Arc::clone(&slow);
//! let stack = Stack::builder()
//!     .observe(move |exchange: &Exchange<'_>| {
//!         if exchange.class() == Class::Ok && exchange.took.as_secs() >= 1 {
//!             counter.fetch_add(1, Ordering::Relaxed);
//!         }
//!     })
//!     .build()?;
//! let mut service = stack.layer(tower::service_fn(|_request: http::Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
//! }));
//! let mut request = http::Request::new(());
//! request.extensions_mut().insert(Peer("192.0.2.1:5000".parse().unwrap()));
//! service.ready().await.unwrap().call(request).await.unwrap();
//! assert_eq!(slow.load(Ordering::Relaxed), 0);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! - **Place.** The layer stands right inside the client layer and outside of all that refuse, so it sees their refusals.
//! - **Once.** Each request has one `Exchange`, whether it ends by a response, by an error or a panic of the service, or by
//!   cancellation.
//! - **When.** It comes with the head of the response. The body may still fail, which only the HTTP metrics see. That of a
//!   gRPC call comes when the body ends, since its status is known only then; see [`body`](crate::body#grpc).
//! - **Cost.** Observers run on the request's path, so they must not block. Their panics are caught.
//! - **Access log.** [`AccessLog`] is an observer. A stack has it if `log.access` of its configuration is a number of lines.

mod access_log;
pub(crate) mod config;
mod future;
mod layer;
mod open;
#[cfg(feature = "ops")]
pub(crate) mod panel;
mod service;
#[cfg(test)]
mod tests;
#[cfg(feature = "ops")]
mod top;

pub use access_log::AccessLog;
pub use future::ResponseFuture;
pub use layer::ObserveLayer;
pub use service::Observe;

pub use crate::model::{Class, End, Exchange, ObserveExchange, PolicyResult};
