//! HTTP as the layers need it: the well-known methods, gRPC, problem details, and the future of a layer that may wait for a
//! store before it calls the service.

pub(crate) mod grpc;
pub(crate) mod methods;
pub(crate) mod refusal;
pub(crate) mod waiting;
