//! The shop over HTTP: one file per resource.

mod cart;
mod input;
mod login;
mod orders;
mod problem;
mod products;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{get, post};

pub(crate) use problem::Problem;

use crate::auth;
use crate::shop::Shop;

/// The bare shop, without palisade around it.
///
/// Carts and orders of anonymous clients belong to their address: serve it with [`palisade::server`], or in any other
/// way that leaves palisade's `Peer` in each request.
pub fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/{country}/products", get(products::list))
        .route("/{country}/products/{id}", get(products::show))
        .route("/{country}/cart", get(cart::show).post(cart::add))
        .route("/{country}/orders", post(orders::place))
        .route("/login", post(login::login))
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "Nothing is here. Start at /US/products.",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This resource does not know the method; `Allow` lists those that it knows.",
            )
        })
        .layer(from_fn(auth::refuse_invalid_tokens))
        .with_state(shop)
}
