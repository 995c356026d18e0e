//! Random commands, answered by a store and by the reference that keeps everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use palisade::client::UserId;
use palisade::session::store::{
    Began, Claim, Created, Creation, KeepSessions, Keeping, OnMax, Once, Origin, Proof, Proved,
    Renewal,
};
use palisade::session::{Details, Lifetime, Session, SessionId, SessionType, Text};

use super::model::{Begun, Made, Model, Shown, Told, by_id};
use super::{
    DAY, HOUR, SECOND, START, Subject, id, keeping, lifetime, on_every_store, proof, user,
};
use crate::store_redis::model::Random;

const NAMES: [&str; 3] = ["ada", "bob", "no plain name"];

/// A session that was created, whether it lives or not, and the secrets that it had.
struct Known {
    user: UserId,
    id: SessionId,
    proofs: Vec<Proof>,
}

/// A login that began and may be finished at any time.
#[derive(Clone)]
struct Login {
    user: UserId,
    began: Began,
    begun: Begun,
}

struct Run<'a> {
    subject: &'a dyn Subject,
    /// Binds of one store, under other settings each.
    binds: Vec<(Keeping, Arc<dyn KeepSessions>)>,
    model: Model,
    random: Random,
    known: Vec<Known>,
    logins: Vec<Login>,
    /// The store's epochs, by the command that began each.
    epochs: HashMap<UserId, Vec<(u64, u64)>>,
    drawn: u64,
    /// How often the clock stepped back.
    steps_back: u64,
    /// How often each thing happened.
    seen: HashMap<&'static str, u64>,
}

fn told(sessions: &[Session]) -> Vec<Told> {
    by_id(sessions.iter().map(Told::from).collect())
}

fn made(created: &Created) -> Made {
    match created {
        Created::New {
            session,
            evicted,
            over,
        } => Made::New {
            session: session.into(),
            evicted: told(evicted),
            over: *over,
        },
        Created::Repeated(session) => Made::Repeated(session.into()),
        Created::Ended => Made::Ended,
        Created::Overtaken => Made::Overtaken,
        Created::AtMax => Made::AtMax,
        other => panic!("no store is full here: {other:?}"),
    }
}

fn shown(proved: &Proved) -> Shown {
    match proved {
        Proved::Lives(session, left) => Shown::Lives(session.into(), left.as_micros() as u64),
        Proved::Rotated => Shown::Rotated,
        Proved::Gone => Shown::Gone,
        other => panic!("{other:?}"),
    }
}

impl<'a> Run<'a> {
    fn new(subject: &'a dyn Subject, seed: u64) -> Self {
        let kept = |max, on_max, touch| {
            let mut keeping = keeping(max, on_max);
            keeping.touch_every = Duration::from_micros(touch);
            let bound = subject.bind(&keeping);
            (keeping, bound)
        };
        subject.set(START);
        Self {
            subject,
            binds: vec![
                kept(1, OnMax::EvictOldest, 999_999),
                kept(3, OnMax::EvictOldest, 700_000),
                kept(4, OnMax::EvictOldest, 300_000),
                kept(3, OnMax::Deny, 700_000),
                kept(2, OnMax::Alert, 1),
            ],
            model: Model::at(START),
            random: Random(seed),
            known: Vec::new(),
            logins: Vec::new(),
            epochs: HashMap::new(),
            drawn: 0,
            steps_back: 0,
            seen: HashMap::new(),
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn set(&mut self, now: u64) {
        self.model.now = now;
        self.subject.set(now);
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    fn name(&mut self) -> UserId {
        user(self.random.of(&NAMES))
    }

    fn bind(&mut self) -> (Keeping, Arc<dyn KeepSessions>) {
        let place = self.random.below(self.binds.len() as u64) as usize;
        self.binds[place].clone()
    }

    /// One of the latest sessions, and a claim of it that is right, outdated, wrong or another user's.
    fn claim(&mut self) -> Claim {
        if self.known.is_empty() {
            return super::claim("ada", 0, 0);
        }
        let latest = self.known.len().saturating_sub(8) as u64;
        let place = latest + self.random.below(self.known.len() as u64 - latest);
        let (roll, stranger) = (self.random.below(20), self.name());
        let Known { user, id, proofs } = &self.known[place as usize];
        let proof = match roll {
            0 | 1 => proofs[0],
            2 => proof(0),
            _ => *proofs.last().unwrap(),
        };
        let user = if roll == 3 { &stranger } else { user };
        Claim {
            user: user.clone(),
            id: *id,
            proof,
        }
    }

    fn lifetime(&mut self) -> Lifetime {
        let idle = self.random.of(&[1, 60, 600, 3_600]) * SECOND;
        let absolute = self.random.of(&[5 * SECOND, 600 * SECOND, HOUR, 40 * DAY]);
        lifetime(idle.min(absolute), absolute)
    }

    fn details(&mut self) -> Details {
        let mut details = Details::default();
        details.kind = self.random.of(&SessionType::ALL);
        details.aal = self.random.below(4) as u8;
        if self.random.below(2) == 0 {
            details.method = Some(Text::new("method", "password").unwrap());
            details.user_agent = Some(Text::new("agent", "Firefox on Linux").unwrap());
        }
        if self.random.below(4) == 0 {
            details.tenant = Some(Text::new("tenant", &"é".repeat(32)).unwrap());
            details.device = Some(Text::new("device", "d").unwrap());
            details.idp_session = Some(Text::new("idp", &"i".repeat(64)).unwrap());
            details.data = Some(Text::new("data", &"x".repeat(256)).unwrap());
        }
        details
    }

    /// A login that begins now. The store's epoch is the one that the reference knows, or a new one where it may be.
    async fn begin(&mut self, user: &UserId) -> Login {
        let (_, store) = self.bind();
        let began = store.begin(user).await.unwrap();
        let Began::Epoch(epoch) = began else {
            panic!("{began:?}");
        };
        let mut begun = self.model.begin(user);
        if epoch.is_none() && !matches!(begun, Begun::Epoch(_, None)) {
            assert!(self.model.may_forget(user), "the epoch of {user} is lost");
            self.saw("a lost epoch");
            self.model.forget(user);
            // A login that began before there was an epoch is not told from one that began after it was lost.
            self.logins.retain(|login| {
                login.user != *user || !matches!(login.begun, Begun::Epoch(_, None))
            });
            begun = self.model.begin(user);
        }
        let known = self.epochs.entry(user.clone()).or_default();
        match (epoch, begun) {
            (None, Begun::Epoch(_, None)) => {}
            (Some(epoch), Begun::Epoch(_, Some(moment))) => {
                match known.iter().find(|(known, _)| *known == moment) {
                    Some((_, known)) => assert_eq!(*known, epoch, "the epoch of {user}"),
                    None => {
                        let came_back = known.iter().any(|(_, known)| *known == epoch);
                        assert!(!came_back, "an epoch of {user} came back");
                        known.push((moment, epoch));
                    }
                }
            }
            (epoch, begun) => panic!("{user}: {epoch:?}, {begun:?}"),
        }
        Login {
            user: user.clone(),
            began,
            begun,
        }
    }

    async fn create(&mut self) {
        let name = self.name();
        // Whether the epoch was lost is known from here on.
        let now = self.begin(&name).await;
        let ended = self.model.last_end_all(&name);
        let login = match self.random.below(10) {
            0..4 => {
                let mut held = self.logins.iter().filter(|login| login.user == name);
                let count = held.clone().count().max(1) as u64;
                held.nth(self.random.below(count) as usize)
                    .cloned()
                    .unwrap_or(now)
            }
            // While an `end_all` lies in the future, a provider's moment says nothing.
            4 | 5 if ended.is_none_or(|ended| ended <= self.model.now) => {
                let time = match ended {
                    Some(ended) if self.random.below(2) == 0 => ended + self.random.of(&[0, 1]),
                    _ => self.model.now - self.random.of(&[0, 1, SECOND, HOUR]),
                };
                let began = std::time::UNIX_EPOCH + Duration::from_micros(time);
                Login {
                    user: name,
                    began: Began::At(began),
                    begun: Begun::At(time),
                }
            }
            _ => now,
        };
        let n = self.draw();
        let claim = Claim {
            user: login.user.clone(),
            id: id(n),
            proof: proof(n),
        };
        let lifetime = self.lifetime();
        let mut new = Creation::new(claim, login.began, lifetime);
        new.details = self.details();
        new.origin = match self.random.below(4) {
            3 => None,
            n => Some(Origin([n as u8; 16])),
        };
        if self.random.below(3) == 0 {
            let mut once = [self.random.below(4) as u8; 16];
            once[..8].copy_from_slice(&self.steps_back.to_be_bytes());
            new.once = Some(Once(once));
        }
        let (keeping, store) = self.bind();
        let answer = made(&store.create(&new).await.unwrap());
        let expected = self.model.create(&new, login.begun, &keeping);
        assert_eq!(answer, expected, "create {new:?}");
        self.saw(match answer {
            Made::New { evicted, .. } if !evicted.is_empty() => "evicted",
            Made::New { over: true, .. } => "over",
            Made::New { .. } => "new",
            Made::Repeated(_) => "repeated",
            Made::Ended => "ended",
            Made::Overtaken => "overtaken",
            Made::AtMax => "at max",
        });
        if matches!(expected, Made::New { .. }) {
            self.known.push(Known {
                user: new.user,
                id: new.id,
                proofs: vec![new.proof],
            });
        }
    }

    async fn prove(&mut self) {
        let (claim, touch) = (self.claim(), self.random.below(2) == 0);
        let (keeping, store) = self.bind();
        let answer = shown(&store.prove(&claim, touch).await.unwrap());
        let expected = self.model.prove(&claim, touch, &keeping);
        assert_eq!(answer, expected, "prove {claim:?}, {touch}");
        self.saw(match answer {
            Shown::Lives(..) => "lives",
            Shown::Rotated => "rotated",
            Shown::Gone => "gone",
        });
    }

    async fn rotate(&mut self) {
        let (claim, to) = (self.claim(), proof(self.draw()));
        let mut renewal = Renewal::default();
        renewal.authenticated = self.random.below(2) == 0;
        renewal.aal = self.random.of(&[None, Some(1), Some(3)]);
        let (_, store) = self.bind();
        let answer = store.rotate(&claim, &to, &renewal).await.unwrap();
        let answer = answer.as_ref().map(Told::from);
        assert_eq!(
            answer,
            self.model.rotate(&claim, &to, &renewal),
            "{claim:?}"
        );
        if answer.is_some() {
            self.saw("rotate");
            let known = self.known.iter_mut().find(|known| known.id == claim.id);
            known.unwrap().proofs.push(to);
        }
    }

    async fn list(&mut self, user: &UserId) {
        let (_, store) = self.bind();
        let answer = store.list(user).await.unwrap();
        assert!(answer.is_sorted_by_key(|session| std::cmp::Reverse(session.last_activity)));
        assert_eq!(told(&answer), self.model.list(user), "the list of {user}");
    }

    /// Afterwards every session that lives has been looked at, and every other one is gone for ever.
    async fn look_at_all(&mut self) {
        for name in NAMES {
            self.list(&user(name)).await;
        }
    }

    async fn read(&mut self) {
        let (name, (_, store)) = (self.name(), self.bind());
        match self.random.below(5) {
            0 | 1 => {
                let answer = store.statistics(&name).await.unwrap();
                assert_eq!(answer, self.model.statistics(&name), "statistics of {name}");
            }
            2 => {
                let answer = store.clean(&name).await.unwrap();
                assert!(answer <= self.model.clean(&name), "{answer} of {name}");
                assert_eq!(store.clean(&name).await.unwrap(), 0, "{name} is clean");
            }
            3 => {
                self.look_at_all().await;
                let answer = store.active().await.unwrap();
                assert_eq!(answer, self.model.active(), "active");
            }
            _ => {
                self.look_at_all().await;
                let origin = Origin([self.random.below(3) as u8; 16]);
                let within = self.random.of(&[SECOND, 60 * SECOND, HOUR, 2 * HOUR]);
                let within = Duration::from_micros(within);
                let mut answer = store.created_from(origin, within).await.unwrap();
                answer.sort();
                let expected = self.model.created_from(origin, within);
                assert_eq!(answer, expected, "{origin:?}, {within:?}");
                if !answer.is_empty() {
                    self.saw("created from");
                }
            }
        }
    }

    async fn step_back(&mut self) {
        self.look_at_all().await;
        let step = self.random.of(&[1, SECOND, 90 * SECOND, HOUR, 2 * DAY]);
        self.set(self.model.now - step);
        self.steps_back += 1;
        self.look_at_all().await;
    }

    fn advance(&mut self) {
        let ends = self.model.ends();
        let now = self.model.now;
        let to = match self.random.below(100) {
            0 if self.random.below(4) == 0 => now + self.random.of(&[HOUR, DAY, 2 * DAY, 31 * DAY]),
            1 => now + self.random.of(&[60 * SECOND, 600 * SECOND, 300 * SECOND]),
            // To the very end of a session, or just before it.
            3..6 if !ends.is_empty() => {
                let end = ends[self.random.below(ends.len() as u64) as usize];
                end - self.random.of(&[0, 1])
            }
            6..40 => {
                now + self
                    .random
                    .of(&[1, 299_999, 300_000, 700_000, 999_999, SECOND])
            }
            _ => now,
        };
        // Where a session ends by idling only, its age is far away.
        if to <= now + 31 * DAY {
            self.set(to.max(now));
        }
    }

    async fn step(&mut self) {
        self.advance();
        match self.random.below(100) {
            0..6 => {
                let name = self.name();
                let login = self.begin(&name).await;
                self.logins.push(login);
                if self.logins.len() > 12 {
                    self.logins.remove(0);
                }
            }
            6..30 => self.create().await,
            30..60 => self.prove().await,
            60..66 => self.rotate().await,
            66..70 => {
                let (claim, (_, store)) = (self.claim(), self.bind());
                let answer = store.end(&claim.user, claim.id).await.unwrap();
                let answer = answer.as_ref().map(Told::from);
                assert_eq!(
                    answer,
                    self.model.end(&claim.user, claim.id),
                    "end {claim:?}"
                );
            }
            70..72 => {
                let (claim, (_, store)) = (self.claim(), self.bind());
                let keep = (self.random.below(2) == 0).then_some(claim.id);
                let answer = store.end_all(&claim.user, keep).await.unwrap();
                let expected = self.model.end_all(&claim.user, keep);
                assert_eq!(told(&answer), expected, "end all of {}", claim.user);
                self.saw("end all");
            }
            72..84 => {
                let name = self.name();
                self.list(&name).await;
            }
            84 if self.random.below(3) == 0 => self.step_back().await,
            _ => self.read().await,
        }
    }
}

/// What a run must have met, so that nothing is left out unseen.
const ALL: [&str; 13] = [
    "new",
    "evicted",
    "over",
    "repeated",
    "ended",
    "overtaken",
    "at max",
    "lives",
    "rotated",
    "gone",
    "rotate",
    "end all",
    "created from",
];

#[tokio::test]
async fn every_store_answers_random_commands_as_the_reference_does() {
    for seed in [1, 2, 3, 4] {
        on_every_store(async |name, subject| {
            let mut run = Run::new(subject, seed << 32 | 0x9e37_79b9);
            for _ in 0..2_500 {
                run.step().await;
            }
            println!("{name}, seed {seed}: {:?}", run.seen);
            for what in ALL {
                assert!(
                    run.seen.contains_key(what),
                    "{name}, seed {seed}: never {what}"
                );
            }
        })
        .await;
    }
}
