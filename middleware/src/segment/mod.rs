//! Tells which kind of customer a request comes from: new, returning, at risk, churned or VIP. The [`Segment`] is an
//! extension of the request, for handlers. Orders, refunds and actions that handlers report keep it up to date.
//!
//! The segment of each customer, in the memory of this process:
//!
//! ```
//! use palisade::client::{IdentifyLayer, Peer};
//! use palisade::segment::{Segment, ClassifyLayer};
//! use palisade::store::memory::MemoryStore;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let client = IdentifyLayer::builder().user(|_: &http::request::Parts| Some("ada".to_owned()));
//! let mut service = ServiceBuilder::new()
//!     .layer(client.build()?)
//!     .layer(ClassifyLayer::builder(MemoryStore::new()).build()?)
//!     .service_fn(|request: http::Request<()>| async move {
//!         let segment = request.extensions().get::<Segment>().copied();
//!         Ok::<_, std::convert::Infallible>(http::Response::new(segment))
//!     });
//! for expected in [Segment::New, Segment::Returning] {
//!     let mut request = http::Request::new(());
//!     request.extensions_mut().insert(Peer("192.0.2.1:5000".parse().unwrap()));
//!     let response = service.ready().await.unwrap().call(request).await.unwrap();
//!     assert_eq!(response.into_body(), Some(expected));
//! }
//! # Ok::<(), palisade::ConfigError>(())
//! # }).unwrap();
//! ```
//!
//! Criteria of your own, actions by route, and money in two currencies:
//!
//! ```
//! use std::time::Duration;
//!
//! use http::Method;
//! use palisade::segment::{Action, Criteria, ClassifyLayer};
//! use palisade::store::memory::MemoryStore;
//!
//! let mut criteria = Criteria::default();
//! criteria.vip_spend = 100_000;
//! criteria.vip_orders = 10;
//! let layer = ClassifyLayer::builder(MemoryStore::new())
//!     .criteria(criteria)
//!     .retention(Duration::from_secs(800 * 86_400))
//!     .actions([
//!         Action::new("view_product").on(Method::GET, "/products/{id}"),
//!         Action::new("checkout"),
//!     ])
//!     .convert(|money| (money.currency.as_str() == "EUR").then(|| money.minor * 11 / 10))
//!     .build()?;
//! assert_eq!(layer.tally().unwrap().counts().count(), 5 * 2);
//! # Ok::<(), palisade::ConfigError>(())
//! ```
//!
//! # Segments
//! | [`Segment`] | a customer who |
//! |---|---|
//! | `new` | was never seen |
//! | `returning` | was last active less than 30 days ago |
//! | `at_risk` | was last active 30 to under 90 days ago |
//! | `churned` | was last active 90 days ago or earlier |
//! | `vip` | spent more than 500.00 USD, less refunds, or ordered more than 5 times, whenever that was |
//!
//! Recency is the time since the customer was last active **before** this request. Value is the money spent and the number of
//! orders, and takes precedence.
//!
//! Only a request with a verified [`Client::user`](crate::client::Client::user) has a customer. A store that fails refuses no
//! request: customers in the cache keep their segment for a minute at most, and the requests of others pass without a
//! `Segment` and are counted ([`SegmentTally::unclassified`]).
//!
//! # Changes
//! | said by | what | when it counts |
//! |---|---|---|
//! | the request | activity | always; written at most once a minute for each customer |
//! | the route or [`CustomerEvents`] | [`Action`]s | the response is 2xx, and the request has a `Segment` |
//! | [`CustomerEvents`] | orders and refunds | the response is 2xx; each id once, over all processes and retries |
//! | [`Customers`], of [`ClassifyLayer::customers`] | orders and refunds outside of a request | when the store has them |
//! | [`Customers::record_activity`] | activity outside of a request | as that of a request |
//!
//! # On the request's path
//! A request looks once into the cache of this process, which holds 100,000 customers and trusts each record for a minute.
//! Only a customer without such a record makes the request wait for the store. Requests of the same customer that come at
//! the same time share one call. The cache has every change that this process records: the next request after an order sees
//! it.
//!
//! # Off the request's path
//! A task writes the changes.
//!
//! - Orders and refunds go out at once, up to 32 changes in a call. While the store fails, they wait in a bounded queue.
//! - Activity waits in the cache, which evicts no customer with an unwritten change.
//! - A change that finds no room is lost, counted as lost ([`SegmentTally::changes`]) and logged once a minute.
//! - [`Customers::flush`] writes all that wait, for as long as you allow, and says how many are left. Call it before the
//!   process ends. What the store does not take by then goes into a file, if there is one
//!   ([`spill_file`](ClassifyLayerBuilder::spill_file)), and the next start writes it.
//! - A layer that is gone, with its handles, is written for: for a second at most while the store fails. Then the changes go
//!   into that file, or are lost.
//! - An order that the store has already counted may count twice in the cache of this process while it waits here: if
//!   another process recorded it, or if the confirmation of a call was lost. It counts once as soon as the store has
//!   answered.
//!
//! # Population
//! A sweep counts the customers of each segment every 15 seconds, unless set ([`SegmentTally::population`]). So a customer
//! who churns is counted as churned without coming back. Over a shared store one process at a time sweeps, and only that
//! process has the count.
mod action;
mod cache;
pub(crate) mod config;
mod criteria;
mod drain;
mod entry;
mod events;
mod flight;
mod future;
mod handle;
mod layer;
#[cfg(feature = "otel")]
mod metrics;
mod money;
#[cfg(feature = "ops")]
mod panel;
mod preflight;
mod record;
mod registry;
mod service;
mod spill;
mod standing;
pub mod store;
mod sweep;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

pub use action::Action;
pub use criteria::Criteria;
pub use events::{CustomerEvents, Order, Refund};
pub use future::ResponseFuture;
pub use handle::{Customers, Flushed, RecordError};
pub use layer::{ClassifyLayer, ClassifyLayerBuilder};
pub use money::{Currency, Money};
pub use record::{Record, Timestamp, WallClock};
pub use service::Classify;
pub use standing::{Recency, Standing};
pub use store::{Change, Event, Export, Keeping, OrderKey, Population};
pub use tally::{ActionCount, ChangeKind, ChangeResult, SegmentTally};

pub use crate::model::Segment;
