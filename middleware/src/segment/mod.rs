//! Which kind of customer: new, returning, at risk, churned or VIP.
mod action;
mod cache;
mod clock;
mod criteria;
mod drain;
mod events;
mod flight;
mod future;
mod handle;
mod kind;
mod layer;
mod lookup;
mod money;
mod record;
mod registry;
mod service;
mod store;
mod sweep;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

pub use action::Action;
pub use clock::WallClock;
pub use criteria::Criteria;
pub use events::{CustomerEvents, Order, Refund};
pub use future::ResponseFuture;
pub use handle::{Customers, Flushed, RecordError};
pub use kind::{Recency, Segment, Standing};
pub use layer::{SegmentLayer, SegmentLayerBuilder};
#[cfg_attr(
    not(test),
    expect(
        unused_imports,
        reason = "for a layer further out that asks the store for all"
    )
)]
pub(crate) use lookup::{Looked, Lookup};
pub use money::{Currency, Money};
pub use record::{Record, Timestamp};
pub use service::Segmented;
pub use store::{
    Applied, Change, CustomerStore, Event, Export, Fetched, KeepCustomers, Keeping, Later,
    OrderKey, Population, Sweep,
};
pub use tally::{ActionCount, ChangeKind, Fate, Tally};
