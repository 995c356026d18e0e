//! The port of the sessions, over all processes.

mod record;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use self::record::{big_endian, micros_of, tail, told};
use super::answer::{Answer, Elements, MalformedReply};
use super::call::{Call, Script, refused};
use super::keys::digits;
use super::{Core, RedisStore};
use crate::model::{Operation, Reply, UserId};
use crate::session::store::{
    Began, Claim, Created, Creation, KeepSessions, Keeping, OnMax, Origin, Proof, Proved, Renewal,
    SessionGate, SessionStore, Statistics,
};
use crate::session::{Session, SessionId};

/// A script of the sessions, behind what they have in common.
macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("lua/refused.lua"),
            include_str!("lua/value.lua"),
            include_str!("lua/session.lua"),
            include_str!($file)
        ))
    };
}

static BEGIN_LOGIN: Script = script!("lua/begin_login.lua");
static CREATE_SESSION: Script = script!("lua/create_session.lua");
static PROVE_SESSION: Script = script!("lua/prove_session.lua");
static END_SESSION: Script = script!("lua/end_session.lua");
static END_SESSIONS: Script = script!("lua/end_sessions.lua");
static LIST_SESSIONS: Script = script!("lua/list_sessions.lua");
static COUNT_SESSIONS: Script = script!("lua/count_sessions.lua");
static FIND_ORIGIN: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/find_origin.lua")
));
static COUNT_LIVE: Script = Script::new(concat!(
    include_str!("lua/refused.lua"),
    include_str!("lua/value.lua"),
    include_str!("lua/count_live.lua")
));

impl SessionStore for RedisStore {
    fn keep_sessions(&self, keeping: &Keeping) -> Arc<dyn KeepSessions> {
        Arc::new(Sessions {
            core: Arc::clone(&self.0),
            keeping: keeping.clone(),
        })
    }
}

struct Sessions {
    core: Arc<Core>,
    keeping: Keeping,
}

impl Sessions {
    /// A call of a script about one user's sessions.
    fn of(&self, script: &'static Script, user: &UserId) -> Call {
        let prefix = &self.core.prefix;
        let mut call = script.on(&prefix.sessions(user));
        call.arg(prefix.of_sessions(user));
        call.arg(prefix.of_live_sessions());
        call
    }

    /// Asks for what the reply tells of a user's sessions, beside the sessions themselves.
    fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Call,
        user: &UserId,
        read: impl FnOnce(&mut Elements, &mut Told) -> Result<T, MalformedReply> + Send + 'static,
    ) -> Reply<T> {
        let mut told = Told {
            user: user.clone(),
            lost: 0,
        };
        let read = move |reply| {
            let mut answer = Answer::read(reply, |elements| read(elements, &mut told))?;
            answer.broken += told.lost;
            Ok(answer)
        };
        self.core.request(Operation::Session, call, read)
    }

    /// A call that proves a claim, notes activity where `touch_every` is given, and makes `renewed` of it.
    fn prove_by(
        &self,
        claim: &Claim,
        touch_every: Option<Duration>,
        renewed: Option<(&Proof, &Renewal)>,
    ) -> Call {
        let mut call = self.of(&PROVE_SESSION, &claim.user);
        call.arg(name(claim.id))
            .arg(claim.proof.as_bytes().as_slice());
        let touch_every = touch_every.map(|every| every.as_micros().to_string());
        call.arg(touch_every.unwrap_or_default());
        let (to, renewal) = renewed.unzip();
        call.arg(to.map_or(&[][..], |to| to.as_bytes().as_slice()));
        let renewal = renewal.copied().unwrap_or_default();
        call.arg(u8::from(renewal.authenticated));
        call.arg(renewal.aal.as_slice());
        call
    }

    fn create_by(&self, new: &Creation, random: [u8; 6]) -> Call {
        let (prefix, user) = (&self.core.prefix, &new.user);
        let mut keys = prefix.sessions(user);
        if let Some(once) = new.once {
            keys.push_text(&prefix.session_once(user, once));
        }
        if let Some(origin) = new.origin {
            keys.push_text(&prefix.sessions_from(origin));
        }
        let (began, moment) = match new.began {
            Began::Epoch(None) => (0, 0),
            Began::Epoch(Some(epoch)) => (1, epoch),
            Began::At(time) => (2, micros_of(time)),
        };
        let mut plan = vec![began];
        plan.extend(big_endian::<7>(moment));
        plan.extend(random);
        plan.extend(self.keeping.max_per_user.max(1).to_be_bytes());
        plan.push(match self.keeping.on_max {
            OnMax::EvictOldest => 0,
            OnMax::Deny => 1,
            OnMax::Alert => 2,
        });
        plan.push(u8::from(new.once.is_some()) + 2 * u8::from(new.origin.is_some()));
        let mut call = CREATE_SESSION.on(&keys);
        call.arg(prefix.of_sessions(user));
        call.arg(prefix.of_live_sessions());
        call.arg(name(new.id)).arg(plan);
        call.arg(new.proof.as_bytes().as_slice());
        call.arg(tail(new.lifetime, &new.details));
        call.arg([new.id.as_bytes().as_slice(), user.as_str().as_bytes()].concat());
        call
    }
}

impl KeepSessions for Sessions {
    fn begin(&self, user: &UserId) -> Reply<Began> {
        let read = |elements: &mut Elements, _: &mut Told| {
            let epoch = (!elements.is_empty()).then(|| elements.number());
            Ok(Began::Epoch(epoch.transpose()?))
        };
        self.ask(|| self.of(&BEGIN_LOGIN, user), user, read)
    }

    fn create(&self, new: &Creation) -> Reply<Created> {
        let Some(random) = random() else {
            return Reply::Ready(Err(refused(NO_RANDOM)));
        };
        let read = |elements: &mut Elements, told: &mut Told| {
            let (outcome, over) = (elements.number()?, elements.flag()?);
            Ok(match outcome {
                0 => Created::New {
                    session: told.next(elements)?.ok_or(MalformedReply)?,
                    evicted: told.rest(elements)?,
                    over,
                },
                // A record that only another version can read is no session here.
                1 => told
                    .next(elements)?
                    .map_or(Created::Ended, Created::Repeated),
                2 => Created::Ended,
                3 => Created::Overtaken,
                4 => Created::AtMax,
                5 => Created::Full,
                _ => return Err(MalformedReply),
            })
        };
        self.ask(|| self.create_by(new, random), &new.user, read)
    }

    fn prove(&self, claim: &Claim, touch: bool) -> Reply<Proved> {
        let touch_every = touch.then_some(self.keeping.touch_every);
        let call = || self.prove_by(claim, touch_every, None);
        self.ask(call, &claim.user, proved)
    }

    fn proved_in(&self) -> Option<&str> {
        Some(&self.core.place)
    }

    fn gate(&self, claim: &Claim, touch: bool) -> Option<SessionGate> {
        Some(SessionGate {
            user: claim.user.clone(),
            id: *claim.id.as_bytes(),
            proof: *claim.proof.as_bytes(),
            touch_every: touch.then_some(self.keeping.touch_every),
        })
    }

    fn read(&self, claim: &Claim, record: &[u8]) -> Option<Session> {
        let session = told(claim.id, &claim.user, record);
        if session.is_none() {
            self.core.health.count_broken_logs(1);
        }
        session
    }

    fn rotate(&self, claim: &Claim, to: &Proof, renewal: &Renewal) -> Reply<Option<Session>> {
        let call = || self.prove_by(claim, None, Some((to, renewal)));
        let read = |elements: &mut Elements, told: &mut Told| {
            Ok(match proved(elements, told)? {
                Proved::Lives(session, _) => Some(session),
                Proved::Rotated | Proved::Gone => None,
            })
        };
        self.ask(call, &claim.user, read)
    }

    fn end(&self, user: &UserId, id: SessionId) -> Reply<Option<Session>> {
        let call = || {
            let mut call = self.of(&END_SESSION, user);
            call.arg(name(id));
            call
        };
        let read = |elements: &mut Elements, told: &mut Told| {
            if elements.is_empty() {
                return Ok(None);
            }
            told.next(elements)
        };
        self.ask(call, user, read)
    }

    fn end_all(&self, user: &UserId, keep: Option<SessionId>) -> Reply<Vec<Session>> {
        let Some(random) = random() else {
            return Reply::Ready(Err(refused(NO_RANDOM)));
        };
        let call = || {
            let mut call = self.of(&END_SESSIONS, user);
            call.arg(keep.map(name).unwrap_or_default());
            call.arg(random.as_slice());
            call
        };
        self.ask(call, user, |elements, told| told.rest(elements))
    }

    fn list(&self, user: &UserId) -> Reply<Vec<Session>> {
        let read = |elements: &mut Elements, told: &mut Told| {
            let _gone = elements.number()?;
            let mut sessions = told.rest(elements)?;
            sessions.sort_by_key(|session| std::cmp::Reverse(session.last_activity));
            Ok(sessions)
        };
        self.ask(|| self.of(&LIST_SESSIONS, user), user, read)
    }

    fn statistics(&self, user: &UserId) -> Reply<Statistics> {
        let read = |elements: &mut Elements, _: &mut Told| {
            let [active, expired, terminated, recent_24h] = [
                elements.number()?,
                elements.number()?,
                elements.number()?,
                elements.number()?,
            ];
            Ok(Statistics {
                total: active + expired + terminated,
                active,
                expired,
                terminated,
                recent_24h,
            })
        };
        self.ask(|| self.of(&COUNT_SESSIONS, user), user, read)
    }

    fn clean(&self, user: &UserId) -> Reply<u64> {
        let read = |elements: &mut Elements, told: &mut Told| {
            let gone = elements.number()?;
            told.rest(elements)?;
            Ok(gone)
        };
        self.ask(|| self.of(&LIST_SESSIONS, user), user, read)
    }

    fn active(&self) -> Reply<u64> {
        let call = || {
            let (prefix, digits) = (self.core.prefix.of_live_sessions(), "0123456789abcdef");
            let mut call = COUNT_LIVE.call(digits.len());
            for digit in digits.chars() {
                call.arg(format!("{prefix}{digit}"));
            }
            call
        };
        let read = |reply| Answer::read(reply, Elements::number);
        self.core.request(Operation::Session, call, read)
    }

    fn created_from(&self, origin: Origin, within: Duration) -> Reply<Vec<(UserId, SessionId)>> {
        let core = Arc::clone(&self.core);
        let within = within.min(Origin::KEPT).as_micros().to_string();
        Reply::pending(async move {
            // Whoever is created meanwhile moves the others on, so that one may be met twice.
            let (mut met, mut found) = (0, BTreeSet::new());
            loop {
                let call = || {
                    let prefix = &core.prefix;
                    let mut call = FIND_ORIGIN.call(1);
                    call.arg(prefix.sessions_from(origin));
                    call.arg(prefix.of_all_sessions()).arg(prefix.of_epochs());
                    call.arg(&within).arg(met);
                    call
                };
                let (looked_at, part) = core.request(Operation::Session, call, found_in).await?;
                found.extend(part);
                met += looked_at;
                if looked_at < PART {
                    return Ok(found.into_iter().collect());
                }
            }
        })
    }
}

const NO_RANDOM: &str = "the operating system gave no random bytes";
/// How many sessions of an origin a call looks at.
const PART: u64 = 250;

/// What a new epoch begins at, below 2^47, so that it never outgrows its six bytes.
fn random() -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).ok()?;
    bytes[0] &= 0x7f;
    Some(bytes)
}

/// An id as keys and scripts name it.
fn name(id: SessionId) -> String {
    digits(id.as_bytes())
}

/// The id of such a name.
fn named(digits: &[u8]) -> Option<SessionId> {
    let text = str::from_utf8(digits).ok()?;
    let number = u128::from_str_radix(text, 16).ok()?;
    SessionId::kept(&number.to_be_bytes()).filter(|id| name(*id) == text)
}

/// What a reply tells of one user's sessions.
struct Told {
    user: UserId,
    /// Records that no version of ours wrote, or a newer one.
    lost: u64,
}

impl Told {
    /// The next session, unless its record cannot be read.
    fn next(&mut self, elements: &mut Elements) -> Result<Option<Session>, MalformedReply> {
        let (digits, record) = (elements.bytes()?, elements.bytes()?);
        let session = named(&digits).and_then(|id| told(id, &self.user, &record));
        self.lost += u64::from(session.is_none());
        Ok(session)
    }

    fn rest(&mut self, elements: &mut Elements) -> Result<Vec<Session>, MalformedReply> {
        let mut sessions = Vec::new();
        while !elements.is_empty() {
            sessions.extend(self.next(elements)?);
        }
        Ok(sessions)
    }
}

fn proved(elements: &mut Elements, told: &mut Told) -> Result<Proved, MalformedReply> {
    Ok(match elements.number()? {
        0 => Proved::Gone,
        1 => Proved::Rotated,
        2 => {
            let left = Duration::from_micros(elements.number()?);
            let session = told.next(elements)?;
            session.map_or(Proved::Gone, |session| Proved::Lives(session, left))
        }
        _ => return Err(MalformedReply),
    })
}

type Found = (u64, Vec<(UserId, SessionId)>);

/// How many members of an origin's index a call looked at, and those that live and are young.
fn found_in(reply: Value) -> Result<Answer<Found>, MalformedReply> {
    Answer::read(reply, |elements| {
        let looked_at = elements.number()?;
        let mut found = Vec::new();
        while !elements.is_empty() {
            let member = elements.bytes()?;
            let (id, user) = member.split_at_checked(16).ok_or(MalformedReply)?;
            let user = str::from_utf8(user).ok().and_then(UserId::kept);
            found.extend(user.zip(SessionId::kept(id)));
        }
        Ok((looked_at, found))
    })
}
