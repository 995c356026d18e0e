//! What this library knows of HTTP.

pub(crate) mod methods;
