//! Which stage was reached: a service's funnel in counts, by country and payment method.
//!
//! A [`Stage`] is declared by methods and route templates and a [`StatusClass`], 2xx unless set. [`FunnelLayer`]
//! looks at each response and counts it for the stage that it reached, into a [`Tally`] that telemetry exports as
//! `<namespace>_funnel_stage_total{stage, country, payment_method}`.
//!
//! # What counts
//! A response reaches at most one stage: the one that its route, method and status declare, or what its handler says
//! by a [`Reached`] extension of the response, which takes precedence. A handler names a stage with
//! [`Reached::stage`], and what was paid with by [`Reached::payment`]; with [`Reached::nothing`] it takes back what the
//! route would count, as for the repeat of an order. The status class holds for stages that a handler names too.
//!
//! These are events, not visitors: a page that is refreshed counts again, so that a later stage can have more
//! of them than an earlier one, and their quotient is no conversion rate.
//!
//! # What does not
//! - A rejection by another layer, as long as that layer stands outside of this one; `Stack` sees to it.
//! - A method that was not declared. `HEAD` shows nobody a page, so a stage for `GET` does not take it.
//! - A response of another class, as `304 Not Modified` is. But gRPC sends failures with status 200 too, so let the
//!   handler of an RPC say what was reached.
//! - A request whose client left before the response was there.
//!
//! # Labels
//! Their values are those that were declared: the stages; the countries, or `other`; and a payment method of the
//! stage, or `other`. On a stage that declares no payment methods the label is the empty string, which Prometheus
//! treats as absent. So no text of a client's choice becomes a label, every series exists at 0 from the start, and
//! there are at most 2,000 of them, the OpenTelemetry SDK's default limit for one instrument. To count is one relaxed
//! atomic addition, without allocation.
//!
//! # Examples
//! Stages by their routes:
//!
//! ```
//! use http::{Method, Request, Response};
//! use palisade::client::{Client, Route};
//! use palisade::funnel::{FunnelLayer, Stage};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let layer = FunnelLayer::builder()
//!     .stage(Stage::new("browse_catalog").on(Method::GET, "/products"))
//!     .stage(Stage::new("view_product").on(Method::GET, "/products/{id}"))
//!     .countries(["US", "GB"].into_iter().map(|code| code.parse().unwrap()).collect())
//!     .build()?;
//! let service = layer.layer(service_fn(|_request: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new("a teapot"))
//! }));
//!
//! // In a service, `ClientLayer` finds out who is asking for what.
//! let mut client = Client::new([192, 0, 2, 1].into(), 64);
//! client.country = "GB".parse().unwrap();
//! client.route = Route::from("/products/{id}");
//! let mut request = Request::new(());
//! request.extensions_mut().insert(client);
//! service.oneshot(request).await.unwrap();
//!
//! let tally = layer.tally();
//! assert_eq!(tally.counts().count(), 2 * 3);
//! let reached: Vec<_> = tally.counts().filter(|series| series.count > 0).collect();
//! assert_eq!((reached[0].stage, reached[0].country.as_str(), reached[0].count), ("view_product", "GB", 1));
//! assert_eq!(reached.len(), 1);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! A handler that knows what was paid with, and that a repeat is no second order:
//!
//! ```
//! use std::sync::atomic::{AtomicBool, Ordering};
//!
//! use http::{Request, Response};
//! use palisade::funnel::{FunnelLayer, Reached, Stage};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! static ORDERED: AtomicBool = AtomicBool::new(false);
//!
//! async fn order(_: Request<()>) -> Result<Response<&'static str>, std::convert::Infallible> {
//!     let reached = if ORDERED.swap(true, Ordering::Relaxed) {
//!         Reached::nothing()
//!     } else {
//!         Reached::payment("checkout_complete", "paypal")
//!     };
//!     let mut response = Response::new("thank you");
//!     response.extensions_mut().insert(reached);
//!     Ok(response)
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let layer = FunnelLayer::builder()
//!     .stage(Stage::new("checkout_complete").payment_methods(["credit_card", "paypal"]))
//!     .build()?;
//! let service = layer.layer(service_fn(order));
//! for _ in 0..3 {
//!     service.clone().oneshot(Request::new(())).await.unwrap();
//! }
//! let tally = layer.tally();
//! let counts: Vec<_> = tally.counts().map(|series| (series.payment_method, series.count)).collect();
//! assert_eq!(counts, [("credit_card", 0), ("paypal", 1), ("other", 0)]);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
mod future;
mod layer;
mod reached;
mod service;
mod stage;
mod stages;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod visitors;

pub use future::ResponseFuture;
pub use layer::{FunnelLayer, FunnelLayerBuilder};
pub use reached::Reached;
pub use service::Funnel;
pub use stage::{Stage, StatusClass};
pub use store::{
    CountVisits, CountVisitsNow, LocalVisitStore, Progress, Reach, Reaching, VisitStore, Visitor,
};
pub use tally::{StageCount, Tally};
pub(crate) use visitors::{Journey, Moment};
pub use visitors::{Fate, VisitorCount, VisitorTally, Visitors};
