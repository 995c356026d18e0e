//! HTTP as the layers need it: the methods that have names, gRPC, problem details, and the future of a layer that may wait
//! before it calls the service.

pub(crate) mod grpc;
pub(crate) mod methods;
pub(crate) mod refusal;
pub(crate) mod waiting;
