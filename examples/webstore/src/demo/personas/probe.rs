//! Those who ask for what is not there, or for what makes no sense.

use std::sync::Arc;

use axum::http::Method;

use super::crawler::COUNTRIES;
use super::paths::SCANNED;
use super::world::{Attacker, World};
use super::{Answer, Ask, Persona};

/// Fails at one request after the other, and once it is refused for that, gives up soon.
pub(super) struct Probe {
    attacker: Attacker,
    what: What,
    at: usize,
    refused: u32,
}

enum What {
    Scanner,
    Broken,
}

impl Probe {
    const REQUESTS: u32 = 40;
    /// Refusals that it takes before it gives up.
    const STUBBORN: u32 = 6;

    pub(super) fn scanner(world: &Arc<World>) -> Self {
        Self::new(world, What::Scanner)
    }

    pub(super) fn broken(world: &Arc<World>) -> Self {
        Self::new(world, What::Broken)
    }

    fn new(world: &Arc<World>, what: What) -> Self {
        Self {
            attacker: Attacker::new(world),
            what,
            at: 0,
            refused: 0,
        }
    }

    fn scan(&self) -> Ask {
        let path = SCANNED[self.at % SCANNED.len()];
        Ask::get("unmatched", path, self.attacker.client)
            .agent("Mozilla/5.0 zgrab/0.x")
            .expect(&[404, 429])
    }

    /// Neither enough 404s for a scan nor enough 401s for guessed passwords: only together they are abuse. It fails at ever new
    /// paths, as those do that try what a service lets pass.
    fn blunder(&self) -> Ask {
        let client = self.attacker.client;
        let country = COUNTRIES[self.at / 10 % COUNTRIES.len()];
        let ask = match self.at % 10 {
            0 | 5 => {
                let json = r#"{"product_id":"one","quantity":-1}"#;
                let path = format!("/{country}/cart");
                Ask::post("/{country}/cart", path, client, json).expect(&[400, 429])
            }
            1 | 6 | 8 => Ask {
                method: Method::DELETE,
                ..Ask::get(
                    "/{country}/products/{id}",
                    format!("/{country}/products/{}", self.at % 10 + 1),
                    client,
                )
                .expect(&[405, 429])
            },
            2 => Ask {
                method: Method::DELETE,
                ..Ask::get(
                    "/{country}/products",
                    format!("/{country}/products"),
                    client,
                )
                .expect(&[405, 429])
            },
            3 => {
                let json = r#"{"order_id":"empty","payment_method":"paypal"}"#;
                let path = format!("/{country}/orders");
                Ask::post("/{country}/orders", path, client, json).expect(&[409, 429])
            }
            4 => Ask::get("/{country}/products", "/XX/products", client).expect(&[404, 429]),
            7 => Ask::login(client, "a b", "x").expect(&[400, 429]),
            _ => {
                let json = r#"{"order_id":"x","payment_method":"shells"}"#;
                let path = format!("/{country}/orders");
                Ask::post("/{country}/orders", path, client, json).expect(&[400, 429])
            }
        };
        ask.agent("shop-client/0.0.1")
    }
}

impl Persona for Probe {
    fn next(&mut self) -> Ask {
        let ask = match self.what {
            What::Scanner => self.scan(),
            What::Broken => self.blunder(),
        };
        self.at += 1;
        self.attacker.go(ask, &(20..120))
    }

    fn hear(&mut self, answer: Answer) {
        self.refused += u32::from(answer.is_denied());
        if self.refused >= Self::STUBBORN || self.attacker.made >= Self::REQUESTS {
            self.refused = 0;
            self.attacker.rest();
        }
    }
}
