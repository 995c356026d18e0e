//! Work beside the requests: a queue that a response leaves work in, a ticker, and a shield for code of the user's.

pub(crate) mod queue;
mod shield;
pub(crate) mod ticker;

pub(crate) use shield::shielded;
