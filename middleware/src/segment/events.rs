use std::borrow::Cow;

use super::{Money, OrderKey};

/// Events of a customer, which a handler reports by this extension of its response.
///
/// Only a 2xx response counts, and only for a request with a verified user. An action takes precedence over the one that
/// the route declares; of an action that the layer does not know nothing is counted, and a warning is logged once.
///
/// With axum, return it as a part of the response:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::Extension;
/// use palisade::segment::{Currency, CustomerEvents, Money, Order};
///
/// async fn order() -> (Extension<CustomerEvents>, &'static str) {
///     let order = Order::new("A-1", Money::new(1_999, Currency::USD));
///     (Extension(CustomerEvents::new().action("checkout").order(order)), "thank you")
/// }
/// # let _: axum::Router = axum::Router::new().route("/orders", axum::routing::post(order));
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct CustomerEvents {
    pub(super) actions: Vec<&'static str>,
    pub(super) orders: Vec<Order>,
    pub(super) refunds: Vec<Refund>,
}

impl CustomerEvents {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            actions: Vec::new(),
            orders: Vec::new(),
            refunds: Vec::new(),
        }
    }

    /// The customer did this: one of the actions that the layer declares.
    pub fn action(mut self, name: &'static str) -> Self {
        self.actions.push(name);
        self
    }

    /// The customer ordered. An id that was counted before, by any process, changes nothing.
    pub fn order(mut self, order: Order) -> Self {
        self.orders.push(order);
        self
    }

    /// The customer was refunded. An id that was counted before, by any process, changes nothing.
    pub fn refund(mut self, refund: Refund) -> Self {
        self.refunds.push(refund);
        self
    }
}

/// An order of a customer. Its id is kept as a hash only, so any text will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub(super) key: OrderKey,
    pub(super) amount: Money,
}

impl Order {
    /// The order of an id, which one customer uses once. An amount below zero, or above 2^53 - 1 minor units, is refused
    /// when the order is recorded: counted as refused, and logged once.
    #[must_use]
    pub fn new(id: &str, amount: Money) -> Self {
        Self {
            key: OrderKey::of_order(id),
            amount,
        }
    }
}

/// A refund of an order, in part or whole: it lowers the customer's spend and leaves the count of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    order: Cow<'static, str>,
    pub(super) key: OrderKey,
    pub(super) amount: Money,
}

impl Refund {
    /// The only refund of an order; the amount that is given back is not below zero.
    #[must_use]
    pub fn of(order_id: impl Into<Cow<'static, str>>, amount: Money) -> Self {
        let order = order_id.into();
        Self {
            key: OrderKey::of_refund(&order, ""),
            order,
            amount,
        }
    }

    /// One of several refunds of the order, each with an id of its own.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.key = OrderKey::of_refund(&self.order, id);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Currency;

    #[test]
    fn refunds_of_one_order_differ_by_their_ids_and_no_refund_is_an_order() {
        let money = Money::new(1, Currency::USD);
        let keys = [
            Order::new("a", money).key,
            Order::new("", money).key,
            Refund::of("a", money).key,
            Refund::of("a", money).id("1").key,
            Refund::of("a", money).id("2").key,
            Refund::of("a1", money).key,
            Refund::of("", money).id("a").key,
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
        assert_eq!(
            Refund::of("a".to_owned(), money).id("x").id("1").key,
            keys[3]
        );
    }
}
