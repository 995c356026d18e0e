//! Counts which stage of a service's funnel each response reached, by country and payment method. A [`Stage`] is declared by
//! methods, route templates and a [`StatusClass`], 2xx unless set. Telemetry exports the [`FunnelTally`] of the
//! [`FunnelLayer`] as `<namespace>_funnel_stage_total{stage, country, payment_method}`.
//!
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
//! // In a service, `IdentifyLayer` finds out who is asking for what.
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
//! Visitors, each counted once:
//!
//! ```
//! use http::{Method, Request, Response};
//! use palisade::client::{Client, Route, Secret};
//! use palisade::funnel::{ReachResult, FunnelLayer, Stage, Visitors};
//! use palisade::store::memory::MemoryStore;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let secret = Secret::from_bytes(b"at least sixteen bytes, from a file");
//! let layer = FunnelLayer::builder()
//!     .stage(Stage::new("browse_catalog").on(Method::GET, "/products"))
//!     .stage(Stage::new("view_product").on(Method::GET, "/products/{id}"))
//!     .visitors(Visitors::embedded(MemoryStore::new(), secret))
//!     .build()?;
//! let service = layer.layer(service_fn(|_request: Request<()>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new("a teapot"))
//! }));
//! for route in ["/products", "/products/{id}", "/products/{id}", "/products"] {
//!     let mut client = Client::new([192, 0, 2, 1].into(), 64);
//!     client.route = Route::from(route);
//!     let mut request = Request::new(());
//!     request.extensions_mut().insert(client);
//!     service.clone().oneshot(request).await.unwrap();
//! }
//!
//! let tally = layer.visitor_tally().unwrap();
//! while tally.reaches(ReachResult::Counted) < 2 {
//!     tokio::task::yield_now().await;
//! }
//! let visitors: Vec<_> = tally.counts().map(|series| (series.stage, series.count)).collect();
//! assert_eq!(visitors, [("browse_catalog", 1), ("view_product", 1)]);
//! assert_eq!(tally.reaches(ReachResult::Repeated), 2);
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! A handler that knows the payment method, and that a repeat is no second order:
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
//!
//! # What counts
//! A response reaches at most one stage: the one that its route, method and status declare, or the one that its handler
//! names by a [`Reached`] extension of the response, which takes precedence.
//!
//! - [`Reached::stage`] names a stage, and [`Reached::payment`] a stage and its payment method.
//! - [`Reached::nothing`] takes back the stage of the route, as for the repeat of an order.
//! - The status class holds for stages that a handler names too.
//!
//! These are events. A page that is refreshed counts again, so a later stage can have more events than an earlier one, and
//! their quotient is no conversion rate. [Visitors](#visitors) are counted apart.
//!
//! # What does not count
//! - A rejection by another layer, as long as that layer stands outside of this one. `Stack` sees to it.
//! - A method that was not declared. `HEAD` shows nobody a page, so a stage for `GET` does not take it.
//! - A response of another class, as `304 Not Modified` is. But gRPC sends failures with status 200 too: let the handler of
//!   an RPC name the stage.
//! - A request whose client left before the response was there.
//!
//! # Visitors
//! With [`FunnelLayerBuilder::visitors`] the layer also counts visitors, into a [`VisitorTally`] that telemetry exports as
//! `<namespace>_funnel_visitors_total{stage, country}`. The stages are then a funnel, in the order of their declaration. A
//! visitor counts once for the first stage in a window, which lasts 24 hours (unless set) from that moment. For each further
//! stage a visitor counts once, if the stage before was counted in that window.
//!
//! So no stage has more visitors than the one before, and the quotient of two stages is a conversion rate. At the edges of a
//! query's time range it is not exact: some visitors reached only one of the two stages within the range.
//!
//! - **A visitor** is a verified user, or else everyone of one network. A client that logs in midway is another visitor from
//!   then on. If that happens often, begin the funnel where users are known, or end it before.
//! - **The country** is that of the response that made the stage count, the first in the window. A visitor who goes on in
//!   another country counts there.
//! - **The time between** two consecutive stages, each at its first reach, goes to [`Visitors::observer`], and with
//!   telemetry into the histogram `<namespace>_funnel_step_duration_seconds{from, to}`.
//! - **Off the request's path**: a response that reaches a stage is a *reach*. It waits in a bounded queue, for 30 s at most,
//!   and a task sends up to 32 reaches to the store in one call. This process remembers up to 65,536 visitors, and does not
//!   send a stage that is counted already. It sends a reach out of order at most once a second, and again at once when the
//!   visitor has reached the stage before it.
//! - **Processes agree**, since the store decides, by its own clock. A process says how long ago a stage was reached, so wall
//!   clocks that differ do no harm. If the second stage arrives before the first, from another process, both count when the
//!   first arrives, with the country of the first. There is one exception: two stages on two processes that lie closer
//!   together than a call takes may be dated in the wrong order. The later stage then counts when it is reached again.
//! - **When the store fails**, nobody is counted: counting once matters more than counting all.
//!   `<namespace>_funnel_reaches_total{result}` has the [`ReachResult`] of each response. While its `dropped` and `failed`
//!   stand still, no visitor is missing. Reaches that still wait when the process ends are lost.
//! - **Without room**: visitors in Redis have a budget (`store.analytics_memory`). Beyond it a new visitor is `dropped`, and who
//!   is known goes on.
//! - **Loss on the server** (flush, failover, eviction under `maxmemory`): a lost visitor can count once more, by a process
//!   that does not remember it. So can a visitor that a full memory store let go.
//! - **What is kept**: the store has a key for each visitor, named by the user's id or the network's keyed hash, with the
//!   times of the stages, until a minute after the window. For four stages it takes 96 bytes and the key's name in Redis, and
//!   256 in all in memory. A visitor without the first stage is kept for a minute. Hashes need a secret that the
//!   processes share.
//! - **When the stages change**, open windows keep the positions of the old stages, since the store keeps positions and not
//!   names. The counts are right again a window later.
//!
//! # Labels
//! Their values are declared: the stages; the countries, or `other`; a payment method of the stage, or `other`. On a stage
//! without payment methods the label is the empty string, which Prometheus treats as absent. So no text of a client's choice
//! becomes a label, and every series exists at 0 from the start. There are at most 2,000 series, the OpenTelemetry SDK's
//! default limit for one instrument. A count is one relaxed atomic addition, without allocation.
pub(crate) mod config;
mod future;
mod layer;
#[cfg(feature = "otel")]
mod metrics;
#[cfg(feature = "ops")]
mod panel;
mod reached;
mod service;
mod stage;
mod stages;
pub mod store;
mod tally;
#[cfg(test)]
mod tests;
mod visitors;

pub use future::ResponseFuture;
pub use layer::{FunnelLayer, FunnelLayerBuilder};
#[cfg(feature = "otel")]
pub use metrics::Steps;
pub use reached::Reached;
pub use service::Funnel;
pub use stage::{Stage, StatusClass};
pub use tally::{FunnelTally, StageCount};
pub(crate) use visitors::{Journey, Moment};
pub use visitors::{ReachResult, VisitorCount, VisitorTally, Visitors};
