use std::fmt;

use serde::Deserialize;

use super::Product;

/// How many of one product: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Quantity(u32);

impl Quantity {
    /// The most that one line of a cart holds.
    pub(crate) const MAX: u32 = 100;
}

impl TryFrom<u32> for Quantity {
    type Error = QuantityOutOfRange;

    fn try_from(quantity: u32) -> Result<Self, QuantityOutOfRange> {
        (1..=Self::MAX)
            .contains(&quantity)
            .then_some(Self(quantity))
            .ok_or(QuantityOutOfRange(quantity))
    }
}

/// The quantity is 0, or more than a line holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QuantityOutOfRange(u32);

impl fmt::Display for QuantityOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`quantity` is {}, allowed is 1 to {}",
            self.0,
            Quantity::MAX
        )
    }
}

/// What somebody is about to buy: one line per product, in the order in which they were first added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cart {
    lines: Vec<Line>,
}

/// So many of one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) product: &'static Product,
    pub(crate) quantity: u32,
}

impl Cart {
    /// Adds to the product's line, or leaves the cart as it is when the line would not hold it.
    pub(crate) fn add(
        &mut self,
        product: &'static Product,
        Quantity(more): Quantity,
    ) -> Result<(), CartFull> {
        match self
            .lines
            .iter_mut()
            .find(|line| line.product.id == product.id)
        {
            Some(line) if line.quantity + more > Quantity::MAX => Err(CartFull {
                has: line.quantity,
                more,
            }),
            Some(line) => {
                line.quantity += more;
                Ok(())
            }
            None => {
                self.lines.push(Line {
                    product,
                    quantity: more,
                });
                Ok(())
            }
        }
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What it costs, in US cents: at most a dozen lines of a hundred, so it cannot overflow.
    pub(crate) fn total(&self) -> u64 {
        self.lines
            .iter()
            .map(|line| u64::from(line.quantity) * u64::from(line.product.price))
            .sum()
    }
}

/// The product's line cannot hold so many more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CartFull {
    has: u32,
    more: u32,
}

impl fmt::Display for CartFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The cart has {} of this product and cannot take {} more: at most {} fit.",
            self.has,
            self.more,
            Quantity::MAX
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::product;
    use super::*;

    fn add(cart: &mut Cart, id: u32, quantity: u32) -> Result<(), CartFull> {
        cart.add(product(id).unwrap(), Quantity::try_from(quantity).unwrap())
    }

    #[test]
    fn a_product_added_twice_is_one_line() {
        let mut cart = Cart::default();
        add(&mut cart, 2, 1).unwrap();
        add(&mut cart, 1, 1).unwrap();
        add(&mut cart, 2, 3).unwrap();
        let lines: Vec<_> = cart
            .lines()
            .iter()
            .map(|line| (line.product.id, line.quantity))
            .collect();
        assert_eq!(lines, [(2, 4), (1, 1)]);
    }

    #[test]
    fn the_total_is_the_sum_of_price_times_quantity() {
        let mut cart = Cart::default();
        assert_eq!(cart.total(), 0);
        add(&mut cart, 1, 2).unwrap();
        add(&mut cart, 6, 1).unwrap();
        assert_eq!(cart.total(), 2 * 1_250 + 595);
    }

    #[test]
    fn a_line_holds_a_hundred_and_a_refusal_changes_nothing() {
        let mut cart = Cart::default();
        add(&mut cart, 1, 60).unwrap();
        assert_eq!(add(&mut cart, 1, 41), Err(CartFull { has: 60, more: 41 }));
        assert_eq!(cart.lines()[0].quantity, 60);
        add(&mut cart, 1, 40).unwrap();
    }

    #[test]
    fn a_quantity_is_one_to_a_hundred() {
        for allowed in [1, 100] {
            assert!(Quantity::try_from(allowed).is_ok());
        }
        for refused in [0, 101, u32::MAX] {
            assert_eq!(
                Quantity::try_from(refused),
                Err(QuantityOutOfRange(refused))
            );
        }
    }
}
