//! The contract, written down naively: all that ever happened is kept, and each answer is found anew.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use palisade::client::UserId;
use palisade::session::store::{
    Claim, Creation, Keeping, OnMax, Once, Origin, Proof, Renewal, Statistics,
};
use palisade::session::{Details, Lifetime, Session, SessionId};

use super::{DAY, HOUR};

/// A session as a store tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) details: Details,
    pub(crate) created: u64,
    pub(crate) authenticated: u64,
    pub(crate) last_activity: u64,
    pub(crate) lifetime: Lifetime,
}

pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(since.subsec_nanos() % 1_000, 0, "to the microsecond");
    since.as_micros() as u64
}

impl From<&Session> for Told {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id,
            user: session.user.clone(),
            details: Details::clone(&session.details),
            created: micros(session.created),
            authenticated: micros(session.authenticated),
            last_activity: micros(session.last_activity),
            lifetime: session.lifetime,
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Made {
    New {
        session: Told,
        /// By their ids.
        evicted: Vec<Told>,
        over: bool,
    },
    Repeated(Told),
    Ended,
    Overtaken,
    AtMax,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Shown {
    /// With how long it lives yet, without activity.
    Lives(Told, u64),
    Rotated,
    Gone,
}

/// When a login began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Begun {
    /// The command at which it asked, and the one that had begun the epoch, if there was one.
    Epoch(u64, Option<u64>),
    At(u64),
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) now: u64,
    /// Commands so far: the order in which things happened, whatever the clock says.
    commands: u64,
    users: HashMap<UserId, User>,
}

#[derive(Default)]
struct User {
    /// The command that began the epoch.
    epoch: Option<u64>,
    /// Commands and times.
    end_alls: Vec<(u64, u64)>,
    last_create: u64,
    sessions: Vec<Kept>,
    once: Vec<(Once, SessionId, u64)>,
}

struct Kept {
    told: Told,
    proof: Proof,
    origin: Option<Origin>,
    fate: Fate,
}

#[derive(PartialEq, Clone, Copy)]
enum Fate {
    Lives,
    Ended,
    Expired,
}

fn length(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

impl Kept {
    fn lives(&self) -> bool {
        self.fate == Fate::Lives
    }

    fn expires(&self) -> u64 {
        let told = &self.told;
        let idles = told.last_activity + length(told.lifetime.idle);
        idles.min(told.created + length(told.lifetime.absolute))
    }

    /// Whoever looks at a session at this moment sees it like this, for ever.
    fn look(&mut self, now: u64) {
        if self.lives() {
            let told = &mut self.told;
            for time in [
                &mut told.created,
                &mut told.authenticated,
                &mut told.last_activity,
            ] {
                *time = now.min(*time);
            }
            if self.expires() <= now {
                self.fate = Fate::Expired;
            }
        }
    }
}

impl User {
    fn live(&self) -> Vec<Told> {
        let live = self.sessions.iter().filter(|session| session.lives());
        live.map(|session| session.told.clone()).collect()
    }

    fn get(&mut self, id: SessionId) -> Option<&mut Kept> {
        let mut sessions = self.sessions.iter_mut();
        sessions.find(|session| session.told.id == id && session.lives())
    }
}

pub(crate) fn by_id(mut sessions: Vec<Told>) -> Vec<Told> {
    sessions.sort_by_key(|session| session.id);
    sessions
}

impl Model {
    pub(crate) fn at(now: u64) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    /// A user, all of whose sessions are looked at now.
    fn user(&mut self, user: &UserId) -> &mut User {
        self.commands += 1;
        let now = self.now;
        let user = self.users.entry(user.clone()).or_default();
        for session in &mut user.sessions {
            session.look(now);
        }
        user
    }

    pub(crate) fn begin(&mut self, user: &UserId) -> Begun {
        let epoch = self.user(user).epoch;
        Begun::Epoch(self.commands, epoch)
    }

    /// Whether a store may have forgotten the user's epoch.
    pub(crate) fn may_forget(&self, user: &UserId) -> bool {
        self.users.get(user).is_none_or(|user| {
            let ended = user.end_alls.last().map_or(0, |(_, time)| *time);
            let lasts = |session: &Kept| {
                session.told.created + length(session.told.lifetime.absolute) <= self.now
            };
            self.now >= user.last_create.max(ended) + DAY && user.sessions.iter().all(lasts)
        })
    }

    /// The store has forgotten the user's epoch, and with it what had ended all.
    pub(crate) fn forget(&mut self, user: &UserId) {
        let user = self.user(user);
        (user.epoch, user.end_alls) = (None, Vec::new());
    }

    pub(crate) fn last_end_all(&self, user: &UserId) -> Option<u64> {
        let times = self.users.get(user)?.end_alls.iter();
        times.map(|(_, time)| *time).max()
    }

    pub(crate) fn create(&mut self, new: &Creation, begun: Begun, keeping: &Keeping) -> Made {
        let now = self.now;
        let user = self.user(&new.user);
        let once = user
            .once
            .iter()
            .rev()
            .find(|(once, _, made)| Some(*once) == new.once && now < made + length(Once::KEPT));
        if let Some((_, id, _)) = once.copied() {
            let session = user.get(id);
            return session.map_or(Made::Ended, |session| Made::Repeated(session.told.clone()));
        }
        let overtaken = match begun {
            Begun::Epoch(command, epoch) => {
                let ended = user.end_alls.iter().any(|(ended, _)| *ended > command);
                ended || epoch.is_some_and(|epoch| user.epoch != Some(epoch))
            }
            Begun::At(time) => user.end_alls.iter().any(|(_, ended)| *ended >= time),
        };
        if overtaken {
            return Made::Overtaken;
        }
        let (mut live, most) = (user.live(), usize::from(keeping.max_per_user));
        let mut evicted = Vec::new();
        match keeping.on_max {
            OnMax::Deny if live.len() >= most => return Made::AtMax,
            OnMax::EvictOldest => {
                live.sort_by_key(|session| (session.created, session.id));
                let leave = live.len().saturating_sub(most - 1);
                evicted.extend(live.drain(..leave));
            }
            _ => {}
        }
        for session in &evicted {
            user.get(session.id).unwrap().fate = Fate::Ended;
        }
        let told = Told {
            id: new.id,
            user: new.user.clone(),
            details: new.details.clone(),
            created: now,
            authenticated: now,
            last_activity: now,
            lifetime: new.lifetime,
        };
        user.sessions.push(Kept {
            told: told.clone(),
            proof: new.proof,
            origin: new.origin,
            fate: Fate::Lives,
        });
        user.last_create = now;
        let over = user.live().len() > most;
        user.once.extend(new.once.map(|once| (once, new.id, now)));
        let commands = self.commands;
        self.users
            .get_mut(&new.user)
            .unwrap()
            .epoch
            .get_or_insert(commands);
        Made::New {
            session: told,
            evicted: by_id(evicted),
            over,
        }
    }

    pub(crate) fn prove(&mut self, claim: &Claim, touch: bool, keeping: &Keeping) -> Shown {
        let now = self.now;
        let Some(session) = self.user(&claim.user).get(claim.id) else {
            return Shown::Gone;
        };
        if session.proof != claim.proof {
            return Shown::Rotated;
        }
        if touch && now - session.told.last_activity >= length(keeping.touch_every) {
            session.told.last_activity = now;
        }
        Shown::Lives(session.told.clone(), session.expires() - now)
    }

    pub(crate) fn rotate(&mut self, claim: &Claim, to: &Proof, renewal: &Renewal) -> Option<Told> {
        let now = self.now;
        let session = self.user(&claim.user).get(claim.id)?;
        if session.proof != claim.proof {
            return None;
        }
        session.proof = *to;
        if renewal.authenticated {
            session.told.authenticated = now;
        }
        session.told.details.aal = renewal.aal.unwrap_or(session.told.details.aal);
        Some(session.told.clone())
    }

    pub(crate) fn end(&mut self, user: &UserId, id: SessionId) -> Option<Told> {
        let session = self.user(user).get(id)?;
        session.fate = Fate::Ended;
        Some(session.told.clone())
    }

    pub(crate) fn end_all(&mut self, user: &UserId, keep: Option<SessionId>) -> Vec<Told> {
        let now = self.now;
        let name = user;
        let user = self.user(user);
        let mut ended = Vec::new();
        for session in &mut user.sessions {
            if session.lives() && Some(session.told.id) != keep {
                session.fate = Fate::Ended;
                ended.push(session.told.clone());
            }
        }
        let commands = self.commands;
        let user = self.users.get_mut(name).unwrap();
        user.epoch = Some(commands);
        user.end_alls.push((commands, now));
        by_id(ended)
    }

    /// By their ids.
    pub(crate) fn list(&mut self, user: &UserId) -> Vec<Told> {
        by_id(self.user(user).live())
    }

    pub(crate) fn statistics(&mut self, user: &UserId) -> Statistics {
        let hour = self.now / HOUR;
        let user = self.user(user);
        let count = |hours: u64, fate: Option<Fate>| {
            let counted = user.sessions.iter().filter(|session| {
                let created = session.told.created / HOUR;
                created <= hour && created + hours >= hour
            });
            let counted = counted.filter(|session| fate.is_none_or(|fate| session.fate == fate));
            counted.count() as u64
        };
        let month = length(Statistics::OVER) / HOUR;
        let active = user.live().len() as u64;
        let [expired, terminated] =
            [Fate::Expired, Fate::Ended].map(|fate| count(month, Some(fate)));
        Statistics {
            total: active + expired + terminated,
            active,
            expired,
            terminated,
            recent_24h: count(24, None),
        }
    }

    /// At most so many are left of the user's sessions that idled or aged out.
    pub(crate) fn clean(&mut self, user: &UserId) -> u64 {
        let sessions = &self.user(user).sessions;
        let expired = sessions
            .iter()
            .filter(|session| session.fate == Fate::Expired);
        expired.count() as u64
    }

    fn everybody(&mut self) -> impl Iterator<Item = &Kept> {
        for user in self.users.keys().cloned().collect::<Vec<_>>() {
            self.user(&user);
        }
        let sessions = self.users.values().flat_map(|user| &user.sessions);
        sessions.filter(|session| session.lives())
    }

    pub(crate) fn active(&mut self) -> u64 {
        self.everybody().count() as u64
    }

    pub(crate) fn created_from(
        &mut self,
        origin: Origin,
        within: Duration,
    ) -> Vec<(UserId, SessionId)> {
        let now = self.now;
        let from = self.everybody().filter(|session| {
            session.origin == Some(origin) && now - session.told.created < length(within)
        });
        let mut from: Vec<_> = from
            .map(|session| (session.told.user.clone(), session.told.id))
            .collect();
        from.sort();
        from
    }

    /// When the sessions that live end, unless there is activity.
    pub(crate) fn ends(&mut self) -> Vec<u64> {
        self.everybody().map(Kept::expires).collect()
    }
}
