//! Asks the store once for all layers that need an answer before the handler runs. In a [`Stack`](crate::stack::Stack) it
//! stands right inside the client layer. A layer used alone asks its own question.
//!
//! One pipelined round trip has:
//!
//! - whether the client is banned, and in the same call
//! - the charges of all policies, which a banned client is spared;
//! - the customer's record, unless this process has it cached.
//!
//! The answers are extensions of the request, and each layer then carries out its own part. Answers that the process has are
//! not asked for again: a known ban, a remembered denial, a cached customer. If all are there, the request does not wait.
//!
//! The customer's segment chooses the quota too ([`Policy::segment_quota`](crate::rate_limit::Policy::segment_quota)), if it is
//! in the cache. A segment that must be asked for comes too late: that request has the policy's own quota.
mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::PreflightLayer;
pub use service::Preflight;
