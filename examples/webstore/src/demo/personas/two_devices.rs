use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;

use super::journey::view;
use super::sign::{LAPTOP, PHONE, Visitor};
use super::world::{Regulars, World};
use super::{Answer, Ask, Chance, Persona};
use crate::auth::PASSWORD;

const SESSIONS: &str = "/api/v1/users/me/sessions";

/// Signs in on a laptop, looks around, signs in on a phone, sees both, ends the phone's session in one of three ways and signs
/// out; after a while, again. In a demo this is `ada`, whom one can be oneself.
pub(super) struct TwoDevices {
    world: Arc<World>,
    chance: Chance,
    laptop: Visitor,
    phone: Visitor,
    steps: std::vec::IntoIter<Step>,
    last: Step,
    pause: Duration,
}

#[derive(Clone, Copy)]
enum Step {
    LaptopSignsIn,
    PhoneSignsIn,
    LaptopLooks,
    PhoneLooks,
    Lists,
    PhoneSignsOut,
    LaptopEndsThePhone,
    LaptopEndsAllOthers,
    LaptopSignsOut,
    LaptopSignsOutEverywhere,
}

impl TwoDevices {
    /// Milliseconds between two rounds: with them a user stays far below the limit of users.
    const AWAY: std::ops::Range<u64> = 4_000..9_000;

    pub(super) fn new(world: &Arc<World>) -> Self {
        let mut chance = world.chance();
        let user = match world.regulars {
            Regulars::Known(_) => crate::demo::USERS[0].to_owned(),
            Regulars::OfThisRun => world.name("two-devices"),
        };
        Self {
            laptop: Visitor::browser(world.honest(), LAPTOP, user.clone()),
            phone: Visitor::program(world.honest(), PHONE, user),
            steps: Self::plan(&mut chance).into_iter(),
            last: Step::LaptopLooks,
            pause: Duration::ZERO,
            chance,
            world: Arc::clone(world),
        }
    }

    fn plan(chance: &mut Chance) -> Vec<Step> {
        let ways = [
            (Step::PhoneSignsOut, 1),
            (Step::LaptopEndsThePhone, 1),
            (Step::LaptopEndsAllOthers, 1),
        ];
        let leaves = [
            (Step::LaptopSignsOut, 2),
            (Step::LaptopSignsOutEverywhere, 1),
        ];
        vec![
            Step::LaptopSignsIn,
            Step::LaptopLooks,
            Step::PhoneSignsIn,
            Step::PhoneLooks,
            Step::PhoneLooks,
            Step::Lists,
            chance.weighted(Step::PhoneSignsOut, &ways),
            Step::LaptopLooks,
            chance.weighted(Step::LaptopSignsOut, &leaves),
        ]
    }

    /// The request of a step; `None` in a shop without sessions, for what needs one.
    fn ask(&mut self, step: Step) -> Option<Ask> {
        let product = self.chance.below(12) + 1;
        let look = |visitor: &Visitor| visitor.sign(view("GB", product, visitor.client));
        let (laptop, phone) = (&self.laptop, &self.phone);
        let ask = match step {
            Step::LaptopSignsIn => laptop.login(PASSWORD),
            Step::PhoneSignsIn => phone.login(PASSWORD),
            Step::LaptopLooks => look(laptop),
            Step::PhoneLooks => look(phone),
            Step::Lists => {
                laptop.session()?;
                laptop.sign(Ask::get(SESSIONS, SESSIONS, laptop.client))
            }
            Step::PhoneSignsOut => phone.logout("current")?,
            Step::LaptopEndsThePhone => ends(laptop, phone)?,
            Step::LaptopEndsAllOthers => {
                laptop.session()?;
                let path = "/api/v1/users/me/sessions/terminate-all";
                laptop.sign(Ask::post(path, path, laptop.client, "{}"))
            }
            Step::LaptopSignsOut => laptop.logout("current")?,
            Step::LaptopSignsOutEverywhere => laptop.logout("all")?,
        };
        Some(ask)
    }
}

/// One device ends the session of another.
pub(super) fn ends(device: &Visitor, other: &Visitor) -> Option<Ask> {
    let path = format!("{SESSIONS}/{}", other.session()?);
    let name = "/api/v1/users/me/sessions/{session_id}";
    let ask = Ask {
        method: Method::DELETE,
        ..Ask::get(name, path, device.client)
    };
    Some(device.sign(ask).expect(&[204]))
}

impl Persona for TwoDevices {
    fn next(&mut self) -> Ask {
        loop {
            let think = self.world.tempo.think(&mut self.chance, &(1_200..3_500));
            let Some(step) = self.steps.next() else {
                let away = self.chance.millis(&Self::AWAY);
                *self = Self::new(&self.world);
                self.pause = away;
                continue;
            };
            self.last = step;
            if let Some(ask) = self.ask(step) {
                return ask.after(think.max(std::mem::take(&mut self.pause)));
            }
        }
    }

    fn hear(&mut self, answer: Answer) {
        if answer.status == 401 {
            // Somebody who is ada too has ended this session.
            self.steps = Vec::new().into_iter();
            return;
        }
        match self.last {
            Step::LaptopSignsIn => self.laptop.hear(answer),
            Step::PhoneSignsIn => self.phone.hear(answer),
            _ => {}
        }
    }
}
