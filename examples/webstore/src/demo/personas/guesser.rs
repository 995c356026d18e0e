//! Those who guess passwords.

use std::sync::Arc;
use std::time::Duration;

use super::world::{Attacker, World};
use super::{Answer, Ask, Credentials, Persona};

const PASSWORDS: [&str; 12] = [
    "123456", "password", "qwerty", "111111", "letmein", "dragon", "iloveyou", "monkey", "abc123",
    "football", "sunshine", "welcome1",
];
const AGENT: &str = "python-requests/2.32.3";

fn password(n: u32) -> &'static str {
    let n = usize::try_from(n).unwrap_or(0);
    PASSWORDS[n % PASSWORDS.len()]
}

/// Waits when it is told to, up to this: the end of a ban is worth it.
const PATIENCE: Duration = Duration::from_secs(60);

/// One account, one address, and more guesses than even the slow kind of stuffing lets pass.
pub(super) struct Stuffer {
    attacker: Attacker,
    account: String,
    guesses: u32,
}

impl Stuffer {
    const GUESSES: u32 = 24;

    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            attacker: Attacker::new(world),
            account: world.name("victim"),
            guesses: 0,
        }
    }

    fn give_up(&mut self) {
        self.attacker.rest();
        self.guesses = 0;
        self.account = self.attacker.world.name("victim");
    }
}

impl Persona for Stuffer {
    fn next(&mut self) -> Ask {
        let ask = Ask::login(self.attacker.client, &self.account, password(self.guesses));
        self.attacker
            .go(ask.agent(AGENT).expect(&[401, 429]), &(40..160))
    }

    fn hear(&mut self, answer: Answer) {
        let wait = answer.retry_after.unwrap_or_default();
        if answer.is_denied() {
            // A few more that are refused, to make sure.
            if self.attacker.made.is_multiple_of(4) {
                self.attacker.wait = wait;
            }
            if wait > PATIENCE {
                self.give_up();
            }
            return;
        }
        self.guesses += 1;
        if self.guesses >= Self::GUESSES {
            self.give_up();
        }
    }
}

/// One account, each guess from another network, until one is right.
pub(super) struct Distributed {
    attacker: Attacker,
    account: String,
}

impl Distributed {
    /// Networks that guess wrong.
    const WRONG: u32 = 6;

    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            attacker: Attacker::new(world),
            account: world.name("target"),
        }
    }
}

impl Persona for Distributed {
    fn next(&mut self) -> Ask {
        let network = self.attacker.world.network();
        let ask = if self.attacker.made < Self::WRONG {
            Ask::login(network, &self.account, password(self.attacker.made)).expect(&[401])
        } else {
            Ask::login(network, &self.account, crate::auth::PASSWORD)
        };
        self.attacker.go(ask.agent(AGENT), &(100..300))
    }

    fn hear(&mut self, _: Answer) {
        if self.attacker.made > Self::WRONG {
            self.attacker.rest();
            self.account = self.attacker.world.name("target");
        }
    }
}

/// One password, one address, many accounts.
pub(super) struct Sprayer {
    attacker: Attacker,
}

impl Sprayer {
    const ACCOUNTS: u32 = 9;

    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            attacker: Attacker::new(world),
        }
    }
}

impl Persona for Sprayer {
    fn next(&mut self) -> Ask {
        let account = self.attacker.world.name("account");
        let ask = Ask::login(self.attacker.client, &account, "Summer2026!");
        self.attacker
            .go(ask.agent(AGENT).expect(&[401, 429]), &(40..160))
    }

    fn hear(&mut self, _: Answer) {
        if self.attacker.made >= Self::ACCOUNTS {
            self.attacker.rest();
        }
    }
}

/// Made-up tokens of sessions, each as long as a real one and signed by nobody.
pub(super) struct Forger {
    attacker: Attacker,
}

impl Forger {
    const TOKENS: u32 = 16;

    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            attacker: Attacker::new(world),
        }
    }

    /// `pls_<user>.<id>.<secret>`, of characters that stand for any bits.
    fn token(&mut self) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let chance = &mut self.attacker.chance;
        let mut part = |length: usize| -> String {
            let letters = (0..length).map(|_| {
                let at = usize::try_from(chance.below(64)).unwrap_or(0);
                char::from(LETTERS[at])
            });
            letters.collect()
        };
        let (id, secret) = (part(21), part(64));
        // `ada`, and an id of 16 bytes.
        format!("pls_YWRh.{id}A.{secret}")
    }
}

impl Persona for Forger {
    fn next(&mut self) -> Ask {
        let ask = Ask::get("/{country}/cart", "/US/cart", self.attacker.client);
        let ask = Ask {
            credentials: Some(Credentials::Bearer(self.token())),
            ..ask.agent(AGENT).expect(&[401, 429])
        };
        self.attacker.go(ask, &(40..160))
    }

    fn hear(&mut self, _: Answer) {
        if self.attacker.made >= Self::TOKENS {
            self.attacker.rest();
        }
    }
}
