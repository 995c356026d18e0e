use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use serde::Serialize;

use super::Problem;
use super::input::Shopfront;
use crate::shop::{self, PRODUCTS, Product};

#[derive(Serialize)]
pub(super) struct Catalogue {
    products: &'static [Product],
}

/// `GET /{country}/products`: 200.
pub(super) async fn list(_: Shopfront) -> Json<Catalogue> {
    Json(Catalogue {
        products: &PRODUCTS,
    })
}

/// `GET /{country}/products/{id}`: 200, or 404 for anything that is not a product's id.
pub(super) async fn show(
    _: Shopfront,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<&'static Product>, Problem> {
    path.ok()
        .and_then(|Path((_, id))| id.parse().ok())
        .and_then(shop::product)
        .map(Json)
        .ok_or_else(unknown)
}

pub(super) fn unknown() -> Problem {
    let detail = format!("There is no such product: ids are 1 to {}.", PRODUCTS.len());
    Problem::new(StatusCode::NOT_FOUND, detail)
}
