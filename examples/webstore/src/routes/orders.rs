use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use palisade::funnel::Reached;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::cart::CartView;
use super::input::{JsonBody, Shopfront};
use crate::customers;
use crate::funnel::CHECKOUT_COMPLETE;
use crate::shop::{Order, OrderId, Owner, PaymentMethod, Shop};

#[derive(Deserialize)]
pub(super) struct Checkout {
    order_id: OrderId,
    payment_method: PaymentMethod,
}

#[derive(Serialize)]
pub(super) struct OrderView {
    order_id: String,
    country: String,
    payment_method: PaymentMethod,
    #[serde(flatten)]
    cart: CartView,
}

impl From<&Order> for OrderView {
    fn from(order: &Order) -> Self {
        Self {
            order_id: order.id.as_str().to_owned(),
            country: order.country.to_string(),
            payment_method: order.payment_method,
            cart: CartView::from(&order.cart),
        }
    }
}

/// `POST /{country}/orders`: 201, also for the repeat of an id, which answers as the first time and changes
/// nothing, in the funnel and for the customer neither; 409 when the cart is empty.
pub(super) async fn place(
    Shopfront(country): Shopfront,
    State(shop): State<Arc<Shop>>,
    owner: Owner,
    JsonBody(checkout): JsonBody<Checkout>,
) -> Result<impl IntoResponse, Problem> {
    let placed = shop
        .order(&owner, checkout.order_id, checkout.payment_method, country)
        .map_err(|empty| Problem::new(StatusCode::CONFLICT, empty.to_string()))?;
    let order = &placed.order;
    let reached = if placed.is_repeat {
        Reached::nothing()
    } else {
        Reached::payment(CHECKOUT_COMPLETE, order.payment_method.as_str())
    };
    let ordered = customers::ordered(order.id.as_str(), order.cart.total(), placed.is_repeat);
    let view = OrderView::from(&**order);
    let said = (Extension(reached), Extension(ordered));
    Ok((StatusCode::CREATED, said, Json(view)))
}
