mod admin;
mod connection;
mod exposition;
mod http;
mod instruments;
mod labels;
mod rate_limit;
mod store;
