use std::sync::Arc;

use super::journey::{check_out, view};
use super::sign::Visitor;
use super::world::{Attacker, World};
use super::{Answer, Ask, Persona};
use crate::auth::PASSWORD;

/// One user who buys as often as can be, and then watches a product, until the limits of users have denied both.
pub(super) struct Reseller {
    attacker: Attacker,
    visitor: Visitor,
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

    fn orders(world: &World) -> u32 {
        if world.checks_out { Self::ORDERS } else { 0 }
    }

    pub(super) fn new(world: &Arc<World>) -> Self {
        let attacker = Attacker::new(world);
        let user = world.name("reseller");
        Self {
            visitor: Visitor::program(attacker.client, "Go-http-client/2.0", user),
            attacker,
            orders: Self::orders(world),
            has_filled: false,
            denied: 0,
        }
    }
}

impl Persona for Reseller {
    fn next(&mut self) -> Ask {
        let client = self.visitor.client;
        let ask = if !self.visitor.is_signed_in() {
            self.visitor.login(PASSWORD)
        } else if self.orders == 0 {
            view("US", 6, client).expect(&[200, 429])
        } else if self.has_filled {
            let Attacker { world, chance, .. } = &mut self.attacker;
            check_out(world, "US", client, chance).expect(&[201, 429])
        } else {
            let json = r#"{"product_id":6,"quantity":1}"#;
            Ask::post("/{country}/cart", "/US/cart", client, json).expect(&[200, 429])
        };
        self.attacker.go(self.visitor.sign(ask), &(10..60))
    }

    fn hear(&mut self, answer: Answer) {
        let was_signed_in = self.visitor.is_signed_in();
        let (is_denied, is_filled) = (answer.is_denied(), answer.status == 200);
        self.visitor.hear(answer);
        if !was_signed_in {
            return;
        }
        if self.orders == 0 {
            self.denied += u32::from(is_denied);
        } else if std::mem::take(&mut self.has_filled) {
            self.orders -= 1;
        } else {
            self.has_filled = is_filled;
        }
        if self.denied >= Self::DENIALS || self.attacker.made >= Self::REQUESTS {
            self.attacker.rest();
            let client = self.attacker.client;
            let user = self.attacker.world.name("reseller");
            self.visitor = Visitor::program(client, "Go-http-client/2.0", user);
            self.has_filled = false;
            self.denied = 0;
            self.orders = Self::orders(&self.attacker.world);
        }
    }
}
