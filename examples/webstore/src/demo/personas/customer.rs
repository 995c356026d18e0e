use std::sync::Arc;
use std::time::Duration;

use super::journey::Journey;
use super::sign::Visitor;
use super::world::{Regulars, World};
use super::{Answer, Ask, Chance, Persona};
use crate::auth::PASSWORD;

/// A customer with a past: one that the shop knows already, or one that comes again and again.
///
/// Whether that makes one returning, at risk or churned depends on how long one was away and on the shop's
/// `[segments]`.
pub(super) struct Customer {
    world: Arc<World>,
    chance: Chance,
    is_vip: bool,
    visitor: Visitor,
    journey: Journey,
    visits: usize,
    /// Whether this name has yet to sign in.
    login_due: bool,
    /// Requests under this name; see [`Self::MOST`].
    made: u32,
    pause: Duration,
}

impl Customer {
    /// Requests of one user before somebody else takes over, so that the fastest of them stays within 60 a minute.
    const MOST: u32 = 45;
    /// The pasts that the shop can know.
    const PASTS: [&str; 3] = ["returning", "at-risk", "churned"];

    pub(super) fn returning(world: &Arc<World>) -> Self {
        Self::new(world, false)
    }

    pub(super) fn vip(world: &Arc<World>) -> Self {
        Self::new(world, true)
    }

    fn new(world: &Arc<World>, is_vip: bool) -> Self {
        let mut chance = world.chance();
        let visits = usize::try_from(chance.below(1_000)).unwrap_or(0);
        let mut customer = Self {
            visitor: Visitor::new(world, &mut chance, None),
            journey: Journey::splurge(world),
            world: Arc::clone(world),
            chance,
            is_vip,
            visits,
            login_due: true,
            made: 0,
            pause: Duration::ZERO,
        };
        customer.become_somebody();
        customer
    }

    /// Takes a new name, or one that the shop knows.
    fn become_somebody(&mut self) {
        let user = match self.world.regulars {
            Regulars::OfThisRun if self.is_vip => self.world.name("vip"),
            Regulars::OfThisRun => self.world.name("returning"),
            Regulars::Known(each) => {
                let past = if self.is_vip {
                    "vip"
                } else {
                    Self::PASTS[self.visits % Self::PASTS.len()]
                };
                World::regular(past, self.chance.below(each))
            }
        };
        self.visitor = Visitor::new(&self.world, &mut self.chance, Some(user));
        self.login_due = true;
        self.made = 0;
        self.journey = if self.is_vip {
            Journey::splurge(&self.world)
        } else {
            Journey::plan(&self.world, &mut self.chance, 140)
        };
    }

    fn come_again(&mut self) {
        let away = &self.world.tempo.away;
        let away = away.get(self.visits % away.len().max(1)).copied();
        self.pause = Duration::from_millis(away.unwrap_or(0));
        self.visits += 1;
        let is_known = self.world.regulars != Regulars::OfThisRun;
        if is_known || self.made + 8 > Self::MOST {
            self.become_somebody();
        } else {
            // A VIP's basket need not be dear every time.
            self.journey = Journey::plan(&self.world, &mut self.chance, 130);
        }
    }
}

impl Persona for Customer {
    fn next(&mut self) -> Ask {
        loop {
            let think = self.world.tempo.think(&mut self.chance, &(300..1_200));
            if std::mem::take(&mut self.login_due) {
                let ask = self.visitor.login(PASSWORD);
                return ask.after(think.max(std::mem::take(&mut self.pause)));
            }
            if let Some(ask) = self
                .journey
                .step(&self.world, &self.visitor, &mut self.chance)
            {
                self.made += 1;
                return ask.after(think.max(std::mem::take(&mut self.pause)));
            }
            self.come_again();
        }
    }

    fn hear(&mut self, answer: Answer) {
        self.visitor.hear(answer);
    }
}
