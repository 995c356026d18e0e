//! What the shop's customers do, and what their orders are worth.

use axum::http::Method;
use palisade::segment::{Action, Currency, CustomerEvents, Money, Order};

/// The action that the handler of orders names, since it alone knows a repeat.
const CHECKOUT: &str = "checkout";

pub(crate) fn actions() -> [Action; 4] {
    [
        Action::new("browse_catalog").on(Method::GET, "/{country}/products"),
        Action::new("view_product").on(Method::GET, "/{country}/products/{id}"),
        Action::new("add_to_cart").on(Method::POST, "/{country}/cart"),
        Action::new(CHECKOUT),
    ]
}

/// What an order means for its customer. The total is in US cents.
///
/// A repeat is recorded too, since this process may have ended before it wrote the first; its id counts once.
pub(crate) fn ordered(id: &str, total: u64, is_repeat: bool) -> CustomerEvents {
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    let order = Order::new(id, Money::new(total, Currency::USD));
    let events = CustomerEvents::new().order(order);
    if is_repeat {
        events
    } else {
        events.action(CHECKOUT)
    }
}
