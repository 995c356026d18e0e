//! One visit: from the catalogue to the checkout, or as far as it goes.

use std::net::IpAddr;
use std::sync::Arc;

use super::sign::Visitor;
use super::world::World;
use super::{Ask, Chance};

/// How many come from where.
pub(super) fn country(chance: &mut Chance) -> &'static str {
    const SHARES: [(&str, u64); 8] = [
        ("US", 30),
        ("GB", 12),
        ("uk", 3),
        ("DE", 15),
        ("FR", 12),
        ("JP", 10),
        ("BR", 9),
        ("IN", 9),
    ];
    chance.weighted("US", &SHARES)
}

/// What is paid with differs from country to country.
fn payment_method(country: &str, chance: &mut Chance) -> &'static str {
    let [credit_card, paypal, bank_transfer] = match country {
        "DE" => [20, 45, 35],
        "BR" => [45, 10, 45],
        "IN" => [35, 15, 50],
        "JP" => [75, 5, 20],
        _ => [65, 30, 5],
    };
    let methods = [
        ("credit_card", credit_card),
        ("paypal", paypal),
        ("bank_transfer", bank_transfer),
    ];
    chance.weighted("credit_card", &methods)
}

/// The steps of a visit that are left.
pub(super) struct Journey {
    steps: std::vec::IntoIter<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Browse,
    View(u64),
    Add(u64),
    LookIntoCart,
    CheckOut,
}

/// The espresso machine, for 649 dollars: who buys one is a VIP.
const DEAREST: u64 = 11;
/// How many products there are, with ids from 1.
const PRODUCTS: u64 = 12;

impl Journey {
    /// Draws how far the visit goes: of a hundred who look at the catalogue, about 75 look at a product, 35 fill a cart and
    /// 20 pay; of keen ones, more.
    pub(super) fn plan(world: &World, chance: &mut Chance, keen: u64) -> Self {
        let mut steps = vec![Step::Browse];
        if chance.percent(75 * keen / 100) {
            let mut product = DEAREST;
            for _ in 0..=chance.below(3) {
                product = chance.below(PRODUCTS) + 1;
                steps.push(Step::View(product));
            }
            if chance.percent(47 * keen / 100) {
                steps.push(Step::Add(product));
                if chance.percent(40) {
                    steps.push(Step::LookIntoCart);
                }
                if world.checks_out && chance.percent(58 * keen / 100) {
                    steps.push(Step::CheckOut);
                }
            }
        }
        Self {
            steps: steps.into_iter(),
        }
    }

    /// Goes straight to the dearest product, and buys it.
    pub(super) fn splurge(world: &World) -> Self {
        let mut steps = vec![Step::Browse, Step::View(DEAREST), Step::Add(DEAREST)];
        if world.checks_out {
            steps.push(Step::CheckOut);
        }
        Self {
            steps: steps.into_iter(),
        }
    }

    /// The next request; `None` when the visit is over.
    pub(super) fn step(
        &mut self,
        world: &Arc<World>,
        visitor: &Visitor,
        chance: &mut Chance,
    ) -> Option<Ask> {
        let Visitor {
            client, country, ..
        } = visitor;
        let ask = match self.steps.next()? {
            Step::Browse => Ask::get(
                "/{country}/products",
                format!("/{country}/products"),
                *client,
            ),
            Step::View(id) => view(country, id, *client),
            Step::Add(id) => {
                let quantity = 1 + chance.below(2);
                let json = format!(r#"{{"product_id":{id},"quantity":{quantity}}}"#);
                Ask::post("/{country}/cart", format!("/{country}/cart"), *client, json)
            }
            Step::LookIntoCart => Ask::get("/{country}/cart", format!("/{country}/cart"), *client),
            Step::CheckOut => check_out(world, country, *client, chance),
        };
        Some(visitor.sign(ask))
    }
}

pub(super) fn view(country: &str, id: u64, client: IpAddr) -> Ask {
    let path = format!("/{country}/products/{id}");
    Ask::get("/{country}/products/{id}", path, client)
}

pub(super) fn check_out(world: &World, country: &str, client: IpAddr, chance: &mut Chance) -> Ask {
    let (id, method) = (world.name("order"), payment_method(country, chance));
    let json = format!(r#"{{"order_id":"{id}","payment_method":"{method}"}}"#);
    let path = format!("/{country}/orders");
    Ask {
        expected: &[201],
        is_checkout: true,
        ..Ask::post("/{country}/orders", path, client, json)
    }
}
