//! What became of each request, for whoever wants to know: the access log, the live page, an observer of your own.

mod exchange;

pub use exchange::{Exchange, ObserveExchange, PolicyResult};
