//! The one wait for the store: what several layers must know before the handler, asked at once.
//!
//! A layer used alone asks its own question. In a [`Stack`](crate::stack::Stack), this layer stands right inside the
//! client layer and asks for all of them together, in one pipelined round trip:
//!
//! - whether the client is banned, in the same call as
//! - the charges of all policies, which are not charged if it is;
//! - the customer's record, unless this process knows it.
//!
//! It leaves the answers as extensions of the request, and each layer then only carries out its part. What the process
//! knows by itself is not asked: a ban that it has heard of, a denial that still holds, a customer in the cache. Where
//! nothing is to be awaited, nothing is.
//!
//! The customer's segment, where it is known at once, decides about quotas too
//! ([`Policy::segment_quota`](crate::rate_limit::Policy::segment_quota)); one that must be asked for comes too late for
//! this request's quota, which then is the policy's own.
mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::PreflightLayer;
pub use service::Preflight;
