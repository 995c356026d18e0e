mod admin;
mod connection;
mod exposition;
mod http;
mod instruments;
mod rate_limit;
mod store;
