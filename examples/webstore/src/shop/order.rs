use std::fmt;
use std::sync::Arc;

use palisade::client::Country;
use serde::{Deserialize, Serialize};

use super::Cart;
use crate::identifier;

/// What has been bought; never changed again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) country: Country,
    pub(crate) payment_method: PaymentMethod,
    pub(crate) cart: Cart,
}

impl Order {
    pub(super) fn new(
        id: OrderId,
        country: Country,
        payment_method: PaymentMethod,
        cart: Cart,
    ) -> Self {
        Self {
            id,
            country,
            payment_method,
            cart,
        }
    }
}

/// The id that the client gives an order, by which a repeat is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct OrderId(Arc<str>);

impl OrderId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OrderId {
    type Error = InvalidOrderId;

    fn try_from(text: String) -> Result<Self, InvalidOrderId> {
        identifier::is_valid(&text)
            .then(|| Self(text.into()))
            .ok_or(InvalidOrderId)
    }
}

/// The text cannot be an order's id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidOrderId;

impl fmt::Display for InvalidOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`order_id` must be {}", identifier::FORM)
    }
}

/// How an order is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaymentMethod {
    CreditCard,
    Paypal,
    BankTransfer,
}

impl PaymentMethod {
    pub(crate) const ALL: [Self; 3] = [Self::CreditCard, Self::Paypal, Self::BankTransfer];

    /// As in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::CreditCard => "credit_card",
            Self::Paypal => "paypal",
            Self::BankTransfer => "bank_transfer",
        }
    }
}

/// What became of an order.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) order: Arc<Order>,
    /// Whether it had been placed before, so that nothing was changed.
    pub(crate) is_repeat: bool,
}

/// There is nothing in the cart to order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EmptyCart;

impl fmt::Display for EmptyCart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The cart is empty: add something to it before you order.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_method_is_called_in_the_metrics_as_in_json() {
        for method in PaymentMethod::ALL {
            let json = serde_json::to_value(method).unwrap();
            assert_eq!(json, method.as_str());
        }
    }

    #[test]
    fn an_order_id_is_bounded_plain_text() {
        assert_eq!(OrderId::try_from("A-1".to_owned()).unwrap().as_str(), "A-1");
        for refused in ["", "a b", &"x".repeat(65)] {
            assert_eq!(OrderId::try_from(refused.to_owned()), Err(InvalidOrderId));
        }
    }
}
