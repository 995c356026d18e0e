//! Which kind of customer: new, returning, at risk, churned or VIP.
mod criteria;
mod kind;
mod money;
mod record;
mod store;

pub use criteria::Criteria;
pub use kind::{Recency, Segment, Standing};
pub use money::{Currency, Money};
pub use record::{Record, Timestamp};
pub use store::{
    Applied, Change, CustomerStore, Event, Export, Fetched, KeepCustomers, Keeping, Later,
    OrderKey, Population, Sweep,
};
