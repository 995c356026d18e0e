//! Which kind of customer: new, returning, at risk, churned or VIP.
//!
//! Two facts make one label. Recency is how long ago the customer was last active **before** this request; value is what
//! the customer has spent and ordered, and takes precedence.
//!
//! | [`Segment`] | a customer who |
//! |---|---|
//! | `new` | was never seen |
//! | `returning` | was last active less than 30 days ago |
//! | `at_risk` | was last active 30 to under 90 days ago |
//! | `churned` | was last active 90 days ago or earlier |
//! | `vip` | spent more than 500.00 USD, less refunds, or ordered more than 5 times, whenever that was |
//!
//! Only a request with a verified [`Client::user`](crate::client::Client::user) has a customer. Its `Segment` is an extension
//! of the request, for handlers; when the store does not answer there is none, and the request passes all the same.
//!
//! | said by | what | when it counts |
//! |---|---|---|
//! | the request | activity | always; written at most once a minute for each customer |
//! | the route or [`CustomerEvents`] | [`Action`]s | the response is 2xx |
//! | [`CustomerEvents`] | orders and refunds | the response is 2xx; each id once, over all processes and retries |
//! | [`Customers`] | orders, refunds and activity outside of a request | when the store has them |
//!
//! **On the request's path** is one look into the cache of this process: 100,000 customers, believed for a minute. Only a
//! customer who is not in it makes the request wait for the store, once for all requests that want to know at the same time.
//! What this process records it knows at once: the next request after an order sees it.
//!
//! **Off the request's path** a task writes. Orders and refunds go out at once, up to 32 changes in a call, and wait in a
//! bounded queue while the store fails; activity waits in the cache, which evicts no customer with anything unwritten. What
//! finds no room is lost, counted as such ([`Tally::changes`]) and logged once a minute. [`Customers::flush`] writes
//! what waits, for the end of a process. An order that the store has counted for another process, or whose confirmation was
//! lost, counts twice in this process's view while it waits here, and once when the store has answered.
//!
//! **The population** is counted by a sweep, by one process at a time over a shared store: [`Tally::population`]. So churn
//! is seen without a visit.
//!
//! The kind of each customer, in the memory of this process:
//!
//! ```
//! use palisade::client::{ClientLayer, Peer};
//! use palisade::segment::{Segment, SegmentLayer};
//! use palisade::store::memory::MemoryStore;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let client = ClientLayer::builder().user(|_: &http::request::Parts| Some("ada".to_owned()));
//! let mut service = ServiceBuilder::new()
//!     .layer(client.build()?)
//!     .layer(SegmentLayer::builder(MemoryStore::new()).build()?)
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
//! use palisade::segment::{Action, Criteria, SegmentLayer};
//! use palisade::store::memory::MemoryStore;
//!
//! let mut criteria = Criteria::default();
//! criteria.vip_spend = 100_000;
//! criteria.vip_orders = 10;
//! let layer = SegmentLayer::builder(MemoryStore::new())
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
mod action;
mod cache;
mod criteria;
mod drain;
mod entry;
mod events;
mod flight;
mod future;
mod handle;
mod kind;
mod layer;
mod lookup;
#[cfg(feature = "otel")]
mod metrics;
mod money;
#[cfg(feature = "ops")]
mod panel;
mod record;
mod registry;
mod service;
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
pub use kind::{Recency, Standing};
pub use layer::{SegmentLayer, SegmentLayerBuilder};
pub use money::{Currency, Money};
pub use record::{Record, Timestamp, WallClock};
pub use service::Segmented;
pub use store::{Change, Event, Export, Keeping, OrderKey, Population};
pub use tally::{ActionCount, ChangeKind, Fate, Tally};

pub use crate::model::Segment;
