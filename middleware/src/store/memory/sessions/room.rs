//! A part of the users with their sessions, under one lock.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::hash::RandomState;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::held::{Held, Holder};
use super::{Epochs, Moment, since_1970};
use crate::model::{PartitionKey, UserId};
use crate::session::store::{
    Began, Claim, Created, Creation, Keeping, OnMax, Origin, Proof, Proved, Renewal, Statistics,
};
use crate::session::{Session, SessionId};
use crate::store::memory::log::Micros;
use crate::store::memory::shard::{Entry, Shard};

/// At most so many sessions, and as many users.
///
/// A user with a session is never forgotten for another one: a room that is full refuses. One without gives way, the
/// longest quiet first; see [`Forgotten`].
pub(super) struct Room {
    users: Shard<Holder>,
    most: u32,
    /// How many sessions are held.
    held: u32,
    /// The users with sessions, by when the next thing of theirs changes by itself.
    due: BTreeSet<(Micros, u32)>,
    /// The users with a young session from an origin.
    origins: BTreeSet<(Origin, u32)>,
    forgotten: Forgotten,
}

/// What is left of users who were forgotten while an `end_all` of theirs still counted: it counts for everybody who is not held.
/// So a login that it overtook stays overtaken, and so do others under way at that moment, which can begin again.
#[derive(Default)]
struct Forgotten {
    /// The epoch of everybody who is not held.
    epoch: Option<u64>,
    /// When all were ended last, as people tell it; 0 for never.
    ended: Micros,
}

impl Forgotten {
    fn remember(&mut self, epoch: u64, ended: Micros) {
        self.epoch = Some(epoch);
        self.ended = self.ended.max(ended);
    }
}

impl Room {
    pub(super) fn new(most: u32) -> Self {
        Self {
            users: Shard::new(most),
            most,
            held: 0,
            due: BTreeSet::new(),
            origins: BTreeSet::new(),
            forgotten: Forgotten::default(),
        }
    }

    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    pub(super) fn held(&self) -> u32 {
        self.held
    }

    pub(super) fn evicted_live(&self) -> u64 {
        self.users.evicted_live()
    }

    /// Looks at up to so many users of whom something is due; how many.
    pub(super) fn let_go(&mut self, most: usize, moment: Moment<'_>) -> usize {
        for count in 0..most {
            match self.due.first() {
                Some((due, slot)) if *due <= moment.now => self.settle(*slot, moment),
                _ => return count,
            };
        }
        most
    }

    /// Looks at all sessions of a user, and lets go of those that have idled or aged out; how many.
    fn settle(&mut self, slot: u32, moment: Moment<'_>) -> u64 {
        let holder = self.users.entry_mut(slot);
        for place in 0..holder.sessions.len() {
            holder.mend(place, moment);
        }
        let now = moment.now;
        let gone = self.take(slot, |session| session.expires() <= now);
        let holder = self.users.entry_mut(slot);
        holder.tidy(now);
        let sessions = holder.sessions.iter_mut();
        let old = sessions.filter(|session| session.is_young_until() <= now);
        let origins = old.filter_map(|session| session.origin.take()).collect();
        self.leave(slot, origins);
        self.note(slot);
        gone.len() as u64
    }

    /// Takes sessions of a user away. [`Self::note`] is due.
    fn take(&mut self, slot: u32, which: impl Fn(&Held) -> bool) -> Vec<Held> {
        let sessions = &mut self.users.entry_mut(slot).sessions;
        let taken: Vec<_> = sessions.extract_if(.., |session| which(session)).collect();
        self.held -= taken.len() as u32;
        let origins = taken.iter().filter_map(|session| session.origin);
        self.leave(slot, origins.collect());
        taken
    }

    /// Takes the user out of the index of those origins that none of the sessions has any more.
    fn leave(&mut self, slot: u32, mut origins: Vec<Origin>) {
        origins.sort_unstable();
        origins.dedup();
        for origin in origins {
            let mut others = self.users.entry_mut(slot).sessions.iter();
            if !others.any(|session| session.origin == Some(origin)) {
                self.origins.remove(&(origin, slot));
            }
        }
    }

    /// Notes when the user is due from now on, and whether there is anything to lose.
    fn note(&mut self, slot: u32) {
        let holder = self.users.entry_mut(slot);
        let due = holder.sessions.iter().map(|session| session.due()).min();
        let before = mem::replace(&mut holder.due, due);
        if before != due {
            if let Some(before) = before {
                self.due.remove(&(before, slot));
            }
            self.due.extend(due.map(|due| (due, slot)));
        }
        if due.is_none() {
            // Most users have no session most of the time.
            holder.sessions = Vec::new();
        }
        self.users.used(slot, due.is_some());
    }

    /// The sessions that live, came from an origin and are younger than `within`.
    pub(super) fn created_from(
        &mut self,
        origin: Origin,
        within: Micros,
        moment: Moment<'_>,
        found: &mut Vec<(UserId, SessionId)>,
    ) {
        let of_origin = self.origins.range((origin, 0)..=(origin, u32::MAX));
        let slots: Vec<u32> = of_origin.map(|(_, slot)| *slot).collect();
        for slot in slots {
            self.settle(slot, moment);
            let Holder { user, sessions, .. } = self.users.entry_mut(slot);
            let sessions = sessions.iter().filter(|session| {
                session.origin == Some(origin) && moment.now - session.created < within
            });
            if let Some(user) = user {
                found.extend(sessions.map(|session| (user.clone(), session.id)));
            }
        }
    }
}

#[cfg(test)]
impl Room {
    /// Holds the indices to the sessions.
    pub(super) fn check(&mut self) {
        let (mut held, mut due, mut origins) = (0, BTreeSet::new(), BTreeSet::new());
        for slot in self.users.held() {
            let holder = self.users.entry_mut(slot);
            assert!(holder.sessions.is_sorted_by_key(|session| session.id));
            held += holder.sessions.len();
            let first = holder.sessions.iter().map(|session| session.due()).min();
            assert_eq!(holder.due, first);
            due.extend(first.map(|first| (first, slot)));
            let from = holder.sessions.iter().filter_map(|session| session.origin);
            origins.extend(from.map(|origin| (origin, slot)));
        }
        assert_eq!((self.held as usize, &self.due), (held, &due));
        assert_eq!(self.origins, origins);
        assert!(self.held <= self.most);
    }
}

/// A user's place in a room, at one moment.
pub(super) struct Place<'a> {
    pub(super) room: &'a mut Room,
    pub(super) hasher: &'a RandomState,
    pub(super) epochs: &'a Epochs,
    pub(super) hash: u64,
    pub(super) key: PartitionKey,
    pub(super) user: &'a UserId,
    pub(super) moment: Moment<'a>,
}

impl Place<'_> {
    fn find(&self) -> Option<u32> {
        self.room.users.find(self.hash, &self.key)
    }

    /// The user, all of whose sessions live.
    fn settled(&mut self) -> Option<(u32, u64)> {
        let slot = self.find()?;
        Some((slot, self.room.settle(slot, self.moment)))
    }

    fn holder(&mut self, slot: u32) -> &mut Holder {
        self.room.users.entry_mut(slot)
    }

    pub(super) fn epoch(mut self) -> Option<u64> {
        match self.find() {
            Some(slot) => Some(self.holder(slot).epoch),
            None => self.room.forgotten.epoch,
        }
    }

    pub(super) fn create(mut self, new: &Creation, keeping: &Keeping) -> Created {
        self.room.let_go(2, self.moment);
        let held = self.settled().map(|(slot, _)| slot);
        if let Some(slot) = held
            && let Some(id) = self.made(slot, new)
        {
            let session = self.told(slot, id);
            return session.map_or(Created::Ended, Created::Repeated);
        }
        if self.is_overtaken(held, new.began) {
            return Created::Overtaken;
        }
        let count = held.map_or(0, |slot| self.holder(slot).sessions.len());
        let most = usize::from(keeping.max_per_user);
        let leave = match keeping.on_max {
            OnMax::Deny if count >= most => return Created::AtMax,
            OnMax::EvictOldest => (count + 1).saturating_sub(most),
            _ => 0,
        };
        if !self.has_room(leave) {
            return Created::Full;
        }
        let Some(slot) = held.or_else(|| self.hold()) else {
            return Created::Full;
        };
        let evicted = self.evict(slot, leave);
        let session = Held::new(new, self.moment);
        let told = session.told(self.user);
        let origin = session.origin;
        let holder = self.holder(slot);
        let (Ok(place) | Err(place)) = holder.position(new.id);
        holder.insert(place, session, new.once);
        let count = holder.sessions.len();
        self.room.held += 1;
        self.room
            .origins
            .extend(origin.map(|origin| (origin, slot)));
        self.room.note(slot);
        Created::New {
            session: told,
            evicted,
            over: count > most,
        }
    }

    /// The session that an earlier create of the same login made.
    fn made(&mut self, slot: u32, new: &Creation) -> Option<SessionId> {
        let holder = self.holder(slot);
        // Ids are drawn at random: one that lives is the same create once more.
        let is_same = holder.position(new.id).is_ok();
        let made = new.once.and_then(|once| holder.made(once));
        made.or(is_same.then_some(new.id))
    }

    fn told(&mut self, slot: u32, id: SessionId) -> Option<Session> {
        let user = self.user;
        let holder = self.holder(slot);
        let place = holder.position(id).ok()?;
        Some(holder.sessions[place].told(user))
    }

    fn is_overtaken(&mut self, held: Option<u32>, began: Began) -> bool {
        let forgotten = &self.room.forgotten;
        let (epoch, is_moved, ended) = match held {
            Some(slot) => {
                let holder = self.room.users.entry_mut(slot);
                (Some(holder.epoch), holder.is_moved, holder.ended)
            }
            None => (forgotten.epoch, forgotten.epoch.is_some(), forgotten.ended),
        };
        match began {
            Began::Epoch(None) => is_moved,
            Began::Epoch(began) => began != epoch,
            Began::At(time) => ended > 0 && ended >= since_1970(time),
        }
    }

    /// Whether there is room for one session more, once so many have left. What idled out makes room.
    fn has_room(&mut self, leave: usize) -> bool {
        while self.room.held as usize >= self.room.most as usize + leave {
            if self.room.let_go(1, self.moment) == 0 {
                return false;
            }
        }
        true
    }

    /// Holds a user who is not held, unless everybody else has sessions.
    fn hold(&mut self) -> Option<u32> {
        let now = self.moment.now;
        if self.room.users.is_full() {
            let first = self.room.users.first_to_go()?;
            let holder = self.room.users.entry_mut(first);
            if holder.is_moved && !holder.is_idle(now, 0) {
                let ended = holder.ended;
                self.room.forgotten.remember(self.epochs.next(), ended);
            }
        }
        let users = &mut self.room.users;
        let slot = users.insert(self.hasher, self.hash, &self.key, now, 0);
        let Forgotten { epoch, ended } = self.room.forgotten;
        let holder = self.room.users.entry_mut(slot);
        holder.user = Some(self.user.clone());
        holder.epoch = epoch.unwrap_or_else(|| self.epochs.next());
        holder.is_moved = epoch.is_some();
        holder.ended = ended;
        holder.changed = now;
        Some(slot)
    }

    /// Ends so many sessions, those that were created first.
    fn evict(&mut self, slot: u32, leave: usize) -> Vec<Session> {
        let key = |session: &Held| (session.created, session.id);
        let sessions = self.holder(slot).sessions.iter();
        let mut keys: Vec<_> = sessions.map(key).collect();
        keys.sort_unstable();
        let Some(last) = leave.checked_sub(1).and_then(|last| keys.get(last)) else {
            return Vec::new();
        };
        self.finish(slot, |session| key(session) <= *last)
    }

    /// Ends sessions that live.
    fn finish(&mut self, slot: u32, which: impl Fn(&Held) -> bool) -> Vec<Session> {
        let ended = self.room.take(slot, which);
        let (user, now) = (self.user, self.moment.now);
        for session in &ended {
            self.holder(slot).count_ended(session, now);
        }
        self.room.note(slot);
        ended.iter().map(|session| session.told(user)).collect()
    }

    /// Where a session that lives is kept.
    fn live(&mut self, id: SessionId) -> Option<(u32, usize)> {
        let slot = self.find()?;
        let now = self.moment.now;
        let holder = self.holder(slot);
        let place = holder.position(id).ok()?;
        if holder.sessions[place].is_sound(now) {
            return Some((slot, place));
        }
        self.room.settle(slot, self.moment);
        let place = self.holder(slot).position(id).ok()?;
        Some((slot, place))
    }

    pub(super) fn prove(mut self, claim: &Claim, touch_every: Option<Micros>) -> Proved {
        let Some((slot, place)) = self.live(claim.id) else {
            return Proved::Gone;
        };
        let (user, now) = (self.user, self.moment.now);
        let session = &mut self.holder(slot).sessions[place];
        if !claim.proof.equals(session.proof.as_bytes()) {
            return Proved::Rotated;
        }
        let quiet = now - session.last_activity;
        let is_due = touch_every.is_some_and(|touch_every| quiet >= touch_every);
        if is_due {
            session.last_activity = now;
        }
        let told = session.told(user);
        let left = Duration::from_micros(session.expires().saturating_sub(now));
        if is_due {
            self.room.note(slot);
        }
        Proved::Lives(told, left)
    }

    pub(super) fn rotate(mut self, claim: &Claim, to: Proof, renewal: Renewal) -> Option<Session> {
        let (slot, place) = self.live(claim.id)?;
        let (user, now) = (self.user, self.moment.now);
        let session = &mut self.holder(slot).sessions[place];
        if !claim.proof.equals(session.proof.as_bytes()) {
            return None;
        }
        session.proof = to;
        if renewal.authenticated {
            session.authenticated = now;
        }
        if let Some(aal) = renewal.aal {
            Arc::make_mut(&mut session.details).aal = aal;
        }
        Some(session.told(user))
    }

    pub(super) fn end(mut self, id: SessionId) -> Option<Session> {
        let (slot, _) = self.live(id)?;
        self.finish(slot, |session| session.id == id).pop()
    }

    pub(super) fn end_all(mut self, keep: Option<SessionId>) -> Vec<Session> {
        let (epoch, wall) = (self.epochs.next(), self.moment.wall());
        let held = self.settled().map(|(slot, _)| slot);
        let Some(slot) = held.or_else(|| self.hold()) else {
            // Nobody can be forgotten for this user, so it counts for all who are not held.
            self.room.forgotten.remember(epoch, wall);
            return Vec::new();
        };
        let now = self.moment.now;
        let holder = self.holder(slot);
        holder.epoch = epoch;
        holder.is_moved = true;
        holder.ended = holder.ended.max(wall);
        holder.changed = now;
        self.finish(slot, |session| Some(session.id) != keep)
    }

    pub(super) fn list(mut self) -> Vec<Session> {
        let Some((slot, _)) = self.settled() else {
            return Vec::new();
        };
        let user = self.user;
        let sessions = self.holder(slot).sessions.iter();
        let mut sessions: Vec<_> = sessions.map(|session| session.told(user)).collect();
        sessions.sort_by_key(|session| Reverse(session.last_activity));
        sessions
    }

    pub(super) fn statistics(mut self) -> Statistics {
        let Some((slot, _)) = self.settled() else {
            return Statistics::default();
        };
        let now = self.moment.now;
        self.holder(slot).statistics(now)
    }

    pub(super) fn clean(mut self) -> u64 {
        self.settled().map_or(0, |(_, gone)| gone)
    }
}
