//! The live page: what happens now, for operators.
//!
//! # The stream
//! `GET events` is a stream of server-sent events. The first is `hello`, what does not change and the last
//! minutes; then comes a `now` every second. Counts are totals since start, so that a reader that missed one
//! loses nothing; rates are differences of two samples by their `at`.

mod answer;
mod bans;
mod body;
mod feed;
mod guard;
mod hub;
mod lift;
mod line;
mod path;
mod sampler;
mod service;
mod sources;
mod stream;
mod top;

pub use body::OpsBody;
pub use hub::{Ops, OpsBuilder};
pub use service::{OpsFuture, OpsService};
pub(crate) use sources::Sources;
#[cfg(feature = "redis")]
pub(crate) use sources::{Health, StoreState};
