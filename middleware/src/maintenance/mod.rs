//! Closes the service for maintenance: every request is answered 503, unless it is exempt. [`MaintenanceLayer`] reads the
//! `Client` of a request, and asks no store. It is off unless it is switched on, and then costs a branch.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use palisade::client::{IdentifyLayer, Peer};
//! use palisade::maintenance::{MaintenanceConfig, MaintenanceLayer};
//! use palisade::rate_limit::Exemptions;
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let mut settings = MaintenanceConfig::default();
//! settings.on = true;
//! settings.exempt = Exemptions::new().cidrs(["192.0.2.7"])?;
//! let service = ServiceBuilder::new()
//!     .layer(IdentifyLayer::builder().build()?)
//!     .layer(MaintenanceLayer::new(settings)?)
//!     .service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("hello"))));
//!
//! let from = |address: &str| {
//!     let mut request = Request::new(());
//!     request.extensions_mut().insert(Peer(format!("{address}:5000").parse().unwrap()));
//!     request
//! };
//! let refused = service.clone().oneshot(from("192.0.2.1")).await.unwrap();
//! assert_eq!(refused.status(), 503);
//! assert_eq!(refused.headers()["retry-after"], "60");
//! assert_eq!(service.oneshot(from("192.0.2.7")).await.unwrap().status(), 200);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! A [`Stack`](crate::stack::Stack) has it by its configuration:
//!
//! ```toml
//! [maintenance]
//! mode = "on"                            # "off" by default
//! retry_after = "10m"                    # when clients are to come back: 1s to 7d, "1m" by default
//! exempt = { cidrs = ["10.0.0.0/8"], users = ["operator"], routes = ["GET /healthz"] }
//! ```
//!
//! - A refusal has `Retry-After` and problem details; a gRPC call ends with `UNAVAILABLE` and a `RetryInfo`.
//! - It stands inside of the observers and outside of preflight. So a refusal is logged and counted, but no limit is charged,
//!   no failure is counted and the store is not asked.
//! - The access log and the HTTP metrics name it `maintenance`, so that alerts on errors need not fire.
//! - The stack reads its mode when it is built. Each process has its own: restart all of them to change it.

pub(crate) mod config;
mod layer;
#[cfg(feature = "otel")]
mod metrics;
#[cfg(feature = "ops")]
mod panel;
#[cfg(test)]
mod tests;

pub use config::MaintenanceConfig;
pub use layer::{Maintenance, MaintenanceLayer, MaintenanceTally};

pub use crate::http::refusable::Refusable as ResponseFuture;
