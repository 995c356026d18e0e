use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::input::{JsonBody, Shopfront};
use super::{Problem, products};
use crate::shop::{self, Cart, Owner, Quantity, Shop};

#[derive(Deserialize)]
pub(super) struct Addition {
    product_id: u32,
    quantity: Quantity,
}

/// A cart as JSON; prices and the total in US cents.
#[derive(Serialize)]
pub(super) struct CartView {
    pub(super) items: Vec<ItemView>,
    pub(super) total: u64,
}

#[derive(Serialize)]
pub(super) struct ItemView {
    product_id: u32,
    name: &'static str,
    quantity: u32,
    price: u32,
}

impl From<&Cart> for CartView {
    fn from(cart: &Cart) -> Self {
        let item = |line: &shop::Line| ItemView {
            product_id: line.product.id,
            name: line.product.name,
            quantity: line.quantity,
            price: line.product.price,
        };
        Self {
            items: cart.lines().iter().map(item).collect(),
            total: cart.total(),
        }
    }
}

/// `GET /{country}/cart`: 200, an empty cart too.
pub(super) async fn show(
    _: Shopfront,
    State(shop): State<Arc<Shop>>,
    owner: Owner,
) -> Json<CartView> {
    Json(CartView::from(&shop.cart(&owner)))
}

/// `POST /{country}/cart`: 200 with the whole cart, 404 for an unknown product, 409 when the line is full.
pub(super) async fn add(
    _: Shopfront,
    State(shop): State<Arc<Shop>>,
    owner: Owner,
    JsonBody(addition): JsonBody<Addition>,
) -> Result<Json<CartView>, Problem> {
    let product = shop::product(addition.product_id).ok_or_else(products::unknown)?;
    let cart = shop
        .add_to_cart(&owner, product, addition.quantity)
        .map_err(|full| Problem::new(StatusCode::CONFLICT, full.to_string()))?;
    Ok(Json(CartView::from(&cart)))
}
