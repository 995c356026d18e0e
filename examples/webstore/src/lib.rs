//! A small shop that stands behind palisade: the axum example.
//!
//! [`router`] is the shop alone and [`guarded`] the shop inside palisade's layers.

mod account;
pub mod auth;
pub mod country;
mod customers;
pub mod demo;
mod funnel;
mod guard;
mod identifier;
mod routes;
mod shop;

pub use guard::{guarded, layers};
pub use routes::router;
pub use shop::{MAX_CARTS, MAX_ORDERS, Shop};
