//! The shop's funnel: from looking around to having bought.

use axum::http::Method;
use palisade::funnel::Stage;

use crate::shop::PaymentMethod;

/// The stage that the handler of orders names, since it alone knows what was paid with.
pub(crate) const CHECKOUT_COMPLETE: &str = "checkout_complete";

pub(crate) fn stages() -> [Stage; 4] {
    let payment_methods = PaymentMethod::ALL.map(PaymentMethod::as_str);
    [
        Stage::new("browse_catalog").on(Method::GET, "/{country}/products"),
        Stage::new("view_product").on(Method::GET, "/{country}/products/{id}"),
        Stage::new("add_to_cart").on(Method::POST, "/{country}/cart"),
        Stage::new(CHECKOUT_COMPLETE)
            .on(Method::POST, "/{country}/orders")
            .payment_methods(payment_methods),
    ]
}
