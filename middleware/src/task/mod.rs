//! Work beside the requests: a queue that a response leaves work in, and a shield for code of the user's.

pub(crate) mod queue;
mod shield;

pub(crate) use shield::shielded;
