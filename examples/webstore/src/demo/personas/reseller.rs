use std::sync::Arc;

use super::journey::{check_out, view};
use super::world::{Attacker, World};
use super::{Answer, Ask, Persona};

/// One user who buys as often as can be, and then watches a product, until the limits of users have denied both.
pub(super) struct Reseller {
    attacker: Attacker,
    user: String,
    /// Orders that are left to be made.
    orders: u32,
    has_filled: bool,
    denied: u32,
}

impl Reseller {
    /// More than `load/webstore.toml` lets one user order in a minute.
    const ORDERS: u32 = 15;
    const DENIALS: u32 = 12;
    /// For a shop that never denies: it ends all the same.
    const REQUESTS: u32 = 400;

    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            attacker: Attacker::new(world),
            user: world.name("reseller"),
            orders: if world.checks_out { Self::ORDERS } else { 0 },
            has_filled: false,
            denied: 0,
        }
    }
}

impl Persona for Reseller {
    fn next(&mut self) -> Ask {
        let client = self.attacker.client;
        let ask = if self.orders == 0 {
            view("US", 6, client).expect(&[200, 429])
        } else if self.has_filled {
            let Attacker { world, chance, .. } = &mut self.attacker;
            check_out(world, "US", client, chance).expect(&[201, 429])
        } else {
            let json = r#"{"product_id":6,"quantity":1}"#;
            Ask::post("/{country}/cart", "/US/cart", client, json).expect(&[200, 429])
        };
        let ask = ask.by(Some(&self.user)).agent("Go-http-client/2.0");
        self.attacker.go(ask, &(10..60))
    }

    fn hear(&mut self, answer: Answer) {
        if self.orders == 0 {
            self.denied += u32::from(answer.is_denied());
        } else if std::mem::take(&mut self.has_filled) {
            self.orders -= 1;
        } else {
            self.has_filled = !answer.is_denied();
        }
        if self.denied >= Self::DENIALS || self.attacker.made >= Self::REQUESTS {
            *self = Self::new(&self.attacker.world);
            self.attacker.rest();
        }
    }
}
