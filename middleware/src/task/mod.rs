//! Work beside the requests: a bounded queue that a task empties, a ticker, and a shield against panics of observers.

pub(crate) mod queue;
mod shield;
pub(crate) mod ticker;

pub(crate) use shield::shielded;
