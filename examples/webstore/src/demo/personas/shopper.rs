use std::sync::Arc;

use super::journey::Journey;
use super::sign::Visitor;
use super::world::World;
use super::{Answer, Ask, Chance, Persona};
use crate::auth::PASSWORD;

/// Looks around, anonymous or logged in, and buys if it comes to that. Each visit is somebody new.
pub(super) struct Shopper {
    world: Arc<World>,
    chance: Chance,
    visitor: Visitor,
    journey: Journey,
    login: Login,
}

enum Login {
    /// Nothing to do, or done.
    None,
    /// With a password that is wrong at first.
    Mistyped,
    Due,
}

impl Shopper {
    pub(super) fn new(world: &Arc<World>) -> Self {
        let mut chance = world.chance();
        let visitor = Visitor::stranger(world, &mut chance);
        Self {
            journey: Journey::plan(world, &mut chance, 100),
            login: Self::login(&visitor, &mut chance),
            visitor,
            chance,
            world: Arc::clone(world),
        }
    }

    fn login(visitor: &Visitor, chance: &mut Chance) -> Login {
        match visitor.user {
            None => Login::None,
            Some(_) if chance.percent(5) => Login::Mistyped,
            Some(_) => Login::Due,
        }
    }
}

impl Persona for Shopper {
    fn next(&mut self) -> Ask {
        let pause = self.world.tempo.think(&mut self.chance, &(300..1_500));
        match std::mem::replace(&mut self.login, Login::None) {
            Login::None => {}
            Login::Mistyped => {
                self.login = Login::Due;
                let ask = self.visitor.login("palisades");
                return ask.after(pause).expect(&[401]);
            }
            Login::Due => {
                return self.visitor.login(PASSWORD).after(pause);
            }
        }
        if let Some(ask) = self
            .journey
            .step(&self.world, &self.visitor, &mut self.chance)
        {
            return ask.after(pause);
        }
        // One in two signs out; the others' sessions end by themselves.
        if let Some(out) = self.visitor.logout("current")
            && self.chance.percent(50)
        {
            self.visitor.leave();
            return out.after(pause);
        }
        *self = Self::new(&self.world);
        self.next()
    }

    fn hear(&mut self, answer: Answer) {
        self.visitor.hear(answer);
    }
}
