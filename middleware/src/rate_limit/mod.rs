//! May the request pass.
mod decide;
mod deny_cache;
mod exempt;
mod future;
mod grpc;
mod headers;
mod key;
mod layer;
mod policy;
mod quota;
mod reject;
mod service;
mod store;
mod tally;
#[cfg(test)]
mod tests;

pub use decide::{Decision, PolicyState};
pub use exempt::Exemptions;
pub use future::ResponseFuture;
pub use headers::Headers;
pub use key::PartitionKey;
pub use layer::{RateLimitLayer, RateLimitLayerBuilder};
pub use policy::{OnStoreFailure, PartitionBy, Policy, RouteFilter};
pub use quota::Quota;
pub use reject::{Reason, Rejected, Rejection};
pub use service::RateLimit;
pub use store::{
    Admission, Admit, AdmitNow, Charge, LocalStore, Store, StoreError, StoreErrorKind, Tier,
    Verdict,
};
pub use tally::{Outcome, PolicyCounts, Tally};
