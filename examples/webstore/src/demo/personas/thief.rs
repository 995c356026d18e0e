use std::sync::Arc;

use super::sign::{LAPTOP, PHONE, Visitor};
use super::two_devices::ends;
use super::world::{Attacker, World};
use super::{Answer, Ask, Persona};
use crate::auth::PASSWORD;

/// Has taken the token of somebody's phone, and uses it from another network with another agent; its owner sees the session on
/// a laptop and ends it, and the token is worth nothing.
pub(super) struct Thief {
    attacker: Attacker,
    laptop: Visitor,
    phone: Visitor,
    at: u32,
}

impl Thief {
    const USES: u32 = 4;
    const FAILS: u32 = 3;
    /// The victim signs in twice, and ends the phone's session.
    const ENDS: u32 = 2 + Self::USES;

    pub(super) fn new(world: &Arc<World>) -> Self {
        let [laptop, phone] = Self::victim(world);
        Self {
            attacker: Attacker::new(world),
            laptop,
            phone,
            at: 0,
        }
    }

    fn victim(world: &Arc<World>) -> [Visitor; 2] {
        let user = world.name("robbed");
        [
            Visitor::browser(world.honest(), LAPTOP, user.clone()),
            Visitor::program(world.honest(), PHONE, user),
        ]
    }

    fn begin_again(&mut self) {
        self.attacker.rest();
        [self.laptop, self.phone] = Self::victim(&self.attacker.world);
        self.at = 0;
    }

    /// What the thief asks for: first what there is to take, then what it can do.
    fn uses(&self) -> Ask {
        let client = self.attacker.client;
        let ask = match self.at % 2 {
            0 => Ask::get("/{country}/cart", "/US/cart", client),
            _ => {
                let json = r#"{"product_id":11,"quantity":9}"#;
                Ask::post("/{country}/cart", "/US/cart", client, json)
            }
        };
        Ask {
            user: self.phone.user.clone(),
            credentials: self.phone.stolen(),
            ..ask.agent("python-requests/2.32.3")
        }
    }
}

impl Persona for Thief {
    fn next(&mut self) -> Ask {
        let ask = match self.at {
            0 => self.laptop.login(PASSWORD),
            1 => self.phone.login(PASSWORD),
            // In a shop without sessions, tokens cannot be ended: there is nothing more to see.
            at if at == Self::ENDS => match ends(&self.laptop, &self.phone) {
                Some(ask) => ask,
                None => {
                    self.begin_again();
                    return self.next();
                }
            },
            at if at > Self::ENDS => self.uses().expect(&[401]),
            _ => self.uses(),
        };
        self.attacker.go(ask, &(150..600))
    }

    fn hear(&mut self, answer: Answer) {
        let goes_on = match self.at {
            0 => signs_in(&mut self.laptop, answer),
            1 => signs_in(&mut self.phone, answer),
            at if at == Self::ENDS => answer.status == 204,
            _ => true,
        };
        self.at += 1;
        if !goes_on || self.at > Self::ENDS + Self::FAILS {
            self.begin_again();
        }
    }
}

fn signs_in(visitor: &mut Visitor, answer: Answer) -> bool {
    visitor.hear(answer);
    visitor.is_signed_in()
}
