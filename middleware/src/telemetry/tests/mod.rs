mod admin;
mod connection;
mod exposition;
mod funnel;
mod http;
mod instruments;
mod labels;
#[cfg(all(feature = "ops", feature = "session-api"))]
mod operators;
#[cfg(feature = "ops")]
mod page;
mod rate_limit;
mod segment;
mod store;
mod suspicion;
mod table;
