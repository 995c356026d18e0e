//! HTTP as the layers need it: the well-known methods, gRPC, problem details, JSON, the names of a listener, headers that may
//! come once, the futures of a layer that may refuse at once, and of one that may wait for a store before it calls the service.

pub(crate) mod grpc;
#[cfg(any(feature = "ops", feature = "otel"))]
pub(crate) mod hosts;
#[cfg(any(feature = "ops", feature = "session-api"))]
pub(crate) mod json;
pub(crate) mod methods;
pub(crate) mod refusable;
pub(crate) mod refusal;
mod sole;
pub(crate) mod waiting;

pub(crate) use sole::sole;
