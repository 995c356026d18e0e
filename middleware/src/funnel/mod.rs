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
//! These are events: a page that is refreshed counts again, so that a later stage can have more of them than an earlier
//! one, and their quotient is no conversion rate. [Visitors](#visitors) are counted apart.
//!
//! # What does not
//! - A rejection by another layer, as long as that layer stands outside of this one; `Stack` sees to it.
//! - A method that was not declared. `HEAD` shows nobody a page, so a stage for `GET` does not take it.
//! - A response of another class, as `304 Not Modified` is. But gRPC sends failures with status 200 too, so let the
//!   handler of an RPC say what was reached.
//! - A request whose client left before the response was there.
//!
//! # Visitors
//! With [`FunnelLayerBuilder::visitors`] the layer counts also who reached a stage, into a [`VisitorTally`] that telemetry
//! exports as `<namespace>_funnel_visitors_total{stage, country}`. The stages in the order of their declaration are then
//! the funnel: a visitor counts for the first stage once in a window (24 hours unless set, from that moment on), and for
//! each further stage once, if it is reached after the stage before was counted in that window. So no stage can
//! have more visitors than the one before, and the quotient of two stages is a conversion rate: of those who came so far,
//! the share that went on. It is exact for visitors whose window lies within the time that is looked at; at its edges
//! some take the one stage before and the other within it.
//!
//! - **A visitor** is a verified user, or else everyone of one network. Who logs in midway is another visitor from then
//!   on, so let a funnel begin where users are known, or end before, if that happens to many.
//! - **The country** is that of the response that made the stage count, the first in the window. A visitor who goes on in
//!   another country counts there.
//! - **The time between** two consecutive stages, each at its first reach, goes to [`Visitors::observer`], and with
//!   telemetry into the histogram `<namespace>_funnel_step_duration_seconds{from, to}`.
//! - **Processes agree**, since the store decides. A reach is dated on the store's clock, by the time of the call less
//!   the reach's age on the process's own clock, so wall clocks that differ do no harm. If the process that saw the first
//!   stage is slower to tell than the one that saw the second, the second counts as soon as the first is told (with the
//!   country of that response). The way to the store is part of the date: stages on two processes that lie closer
//!   together than a call takes may be taken for the other order, and the later one counts when it is reached again.
//! - **Off the request's path**: a reach waits in a bounded queue, and a task brings up to 32 in one call. There is one
//!   write for a newly reached stage and no call for a repeat, as long as this process remembers it (65,536 visitors); a
//!   reach out of order is brought again at most once a second, or when the stage before was reached since.
//! - **When the store fails**, nobody is counted: counting once matters more than counting all.
//!   `<namespace>_funnel_reaches_total{result}` tells what became of each response ([`Fate`]); where `dropped` and `failed`
//!   stand still, the visitors are all there. What waits when the process ends is lost.
//! - **What is lost on the server** (flush, failover, eviction under `maxmemory`) can count once more, by a process that
//!   does not remember it; so can visitors whom a full memory store let go.
//! - **What is kept**: in the store a key for each visitor, the user's id or the network's keyed hash, with the times of
//!   its stages, until a minute after the window: in Redis 96 bytes and the key's name for four stages, in memory
//!   256 in all. A visitor without the first stage is kept for a minute. Hashes need a secret that the processes share.
//! - **When the stages change**, windows that are open go on with the places of the old ones, since the store keeps places
//!   and not names; the counts are right again a window later.
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
//! Visitors, each once:
//!
//! ```
//! use http::{Method, Request, Response};
//! use palisade::client::{Client, Route, Secret};
//! use palisade::funnel::{Fate, FunnelLayer, Stage, Visitors};
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
//! while tally.reaches(Fate::Counted) < 2 {
//!     tokio::task::yield_now().await;
//! }
//! let visitors: Vec<_> = tally.counts().map(|series| (series.stage, series.count)).collect();
//! assert_eq!(visitors, [("browse_catalog", 1), ("view_product", 1)]);
//! assert_eq!(tally.reaches(Fate::Repeated), 2);
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
pub use tally::{StageCount, Tally};
pub use visitors::{Fate, VisitorCount, VisitorTally, Visitors};
pub(crate) use visitors::{Journey, Moment};
