//! A small shop that stands behind palisade: the axum example.
//!
//! [`router`] is the shop alone; [`server`] runs any router on a listener and drains it.

pub mod auth;
pub mod country;
mod identifier;
mod routes;
pub mod server;
mod shop;

pub use routes::router;
pub use shop::{MAX_CARTS, MAX_ORDERS, Shop};
