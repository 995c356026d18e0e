use std::sync::Arc;

use super::world::{Attacker, World};
use super::{Answer, Ask, Persona};

/// One address that asks as fast as it is answered, until it has been denied for a while.
pub(super) struct Flood {
    attacker: Attacker,
    denied: u32,
}

impl Flood {
    const DENIALS: u32 = 60;
    /// For a shop that never denies: an attack ends all the same.
    const REQUESTS: u32 = 1_000;

    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            attacker: Attacker::new(world),
            denied: 0,
        }
    }
}

impl Persona for Flood {
    fn next(&mut self) -> Ask {
        let ask = Ask::get("/{country}/products", "/US/products", self.attacker.client);
        self.attacker
            .go(ask.agent("curl/8.14.1").expect(&[200, 429]), &(4..16))
    }

    fn hear(&mut self, answer: Answer) {
        self.denied += u32::from(answer.is_denied());
        if self.denied >= Self::DENIALS || self.attacker.made >= Self::REQUESTS {
            self.denied = 0;
            self.attacker.rest();
        }
    }
}
