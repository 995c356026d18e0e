//! HTTP: the methods that this library knows.

pub(crate) mod methods;
