//! HTTP as the layers need it: the well-known methods, gRPC, problem details, the names of a listener, and the future of a layer that may wait for a
//! store before it calls the service.

pub(crate) mod grpc;
#[cfg(any(feature = "ops", feature = "otel"))]
pub(crate) mod hosts;
pub(crate) mod methods;
pub(crate) mod refusal;
pub(crate) mod waiting;
