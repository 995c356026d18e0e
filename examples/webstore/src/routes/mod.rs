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

/// The routes of [`router`], to hold the settings to that name some.
pub(crate) const ROUTES: [&str; 6] = [
    "GET /{country}/products",
    "GET /{country}/products/{id}",
    "GET /{country}/cart",
    "POST /{country}/cart",
    "POST /{country}/orders",
    "POST /login",
];

/// Those of the sessions' endpoints, where the shop has sessions.
pub(crate) const SESSION_ROUTES: [&str; 9] = [
    "GET /api/v1/users/me/sessions",
    "GET /api/v1/users/me/sessions/current",
    "GET /api/v1/users/me/sessions/statistics",
    "GET /api/v1/users/me/sessions/events",
    "POST /api/v1/users/me/sessions/terminate-all",
    "POST /api/v1/users/me/sessions/cleanup-expired",
    "DELETE /api/v1/users/me/sessions/{session_id}",
    "POST /profiles/me/login",
    "POST /profiles/me/logout",
];

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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::{MatchedPath, Request};
    use axum::http::Response;
    use axum::middleware::{Next, from_fn};
    use tower_service::Service;

    use super::*;

    #[tokio::test]
    async fn the_listed_routes_are_those_of_the_router() {
        let named = async |matched: MatchedPath, request: Request, next: Next| {
            let mut response: Response<Body> = next.run(request).await;
            response.extensions_mut().insert(matched);
            response
        };
        let shop = router(Arc::new(Shop::default())).layer(from_fn(named));
        for route in ROUTES {
            let (method, template) = route.split_once(' ').unwrap();
            let path = template.replace("{country}", "us").replace("{id}", "1");
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::empty()).unwrap();
            let response = shop.clone().call(request).await.unwrap();
            let matched = response.extensions().get::<MatchedPath>().unwrap();
            assert_eq!(matched.as_str(), template);
            assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{route}");
        }
    }
}
