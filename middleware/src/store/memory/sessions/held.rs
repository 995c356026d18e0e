//! One session, and what is kept of one user.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Moment, micros};
use crate::model::UserId;
use crate::session::store::{Creation, Once, Origin, Proof, Statistics};
use crate::session::{Details, Lifetime, Session, SessionId};
use crate::store::memory::log::Micros;
use crate::store::memory::shard::Entry;

const HOUR: Micros = 3_600_000_000;
/// The hours before this one that count.
const HOURS: u64 = Statistics::OVER.as_secs() / 3_600;

/// A session that lives, or did when it was last looked at.
pub(super) struct Held {
    pub(super) id: SessionId,
    pub(super) proof: Proof,
    pub(super) created: Micros,
    pub(super) authenticated: Micros,
    pub(super) last_activity: Micros,
    /// The moment of `created` as people tell it; the others are told by their distance from it. So a session is told alike
    /// at every look, however the wall's clock is set.
    born: Micros,
    idle: Micros,
    absolute: Micros,
    /// Until it is older than [`Origin::KEPT`].
    pub(super) origin: Option<Origin>,
    pub(super) details: Arc<Details>,
}

impl Held {
    pub(super) fn new(new: &Creation, moment: Moment<'_>) -> Self {
        Self {
            id: new.id,
            proof: new.proof,
            created: moment.now,
            authenticated: moment.now,
            last_activity: moment.now,
            born: moment.wall(),
            idle: micros(new.lifetime.idle),
            absolute: micros(new.lifetime.absolute),
            origin: new.origin,
            details: Arc::new(new.details.clone()),
        }
    }

    pub(super) fn expires(&self) -> Micros {
        let idles = self.last_activity.saturating_add(self.idle);
        idles.min(self.created.saturating_add(self.absolute))
    }

    /// When its origin is no longer looked for.
    pub(super) fn is_young_until(&self) -> Micros {
        self.created.saturating_add(micros(Origin::KEPT))
    }

    /// When something of it changes by itself.
    pub(super) fn due(&self) -> Micros {
        let young = self.origin.map(|_| self.is_young_until());
        young.map_or(self.expires(), |young| young.min(self.expires()))
    }

    /// Whether it lives, and no clock stepped back behind one of its moments.
    pub(super) fn is_sound(&self, now: Micros) -> bool {
        let last = self.authenticated.max(self.last_activity);
        self.created.max(last) <= now && now < self.expires()
    }

    /// A moment that lies in the future, since the clock stepped back, becomes now: it lives for no longer than its lifetimes
    /// from the first look on.
    fn mend(&mut self, moment: Moment<'_>) {
        let now = moment.now;
        if self.created > now {
            self.created = now;
            self.born = moment.wall();
        }
        self.authenticated = self.authenticated.min(now);
        self.last_activity = self.last_activity.min(now);
    }

    pub(super) fn told(&self, user: &UserId) -> Session {
        let told = |time: Micros| {
            let since = time.saturating_sub(self.created);
            let wall = Duration::from_micros(self.born.saturating_add(since));
            let told = SystemTime::UNIX_EPOCH.checked_add(wall);
            told.unwrap_or(SystemTime::UNIX_EPOCH)
        };
        Session {
            id: self.id,
            user: user.clone(),
            details: Arc::clone(&self.details),
            created: told(self.created),
            authenticated: told(self.authenticated),
            last_activity: told(self.last_activity),
            lifetime: Lifetime {
                idle: Duration::from_micros(self.idle),
                absolute: Duration::from_micros(self.absolute),
            },
        }
    }
}

/// What is kept of one user.
#[derive(Default)]
pub(super) struct Holder {
    pub(super) user: Option<UserId>,
    /// By their ids.
    pub(super) sessions: Vec<Held>,
    pub(super) epoch: u64,
    /// Whether all were ended since the user's epoch began, or may have been: a login that began without one is overtaken.
    pub(super) is_moved: bool,
    /// When all were ended last, as people tell it; 0 for never.
    pub(super) ended: Micros,
    /// The last create or `end_all`.
    pub(super) changed: Micros,
    /// When something of its sessions changes by itself.
    pub(super) due: Option<Micros>,
    /// The sessions of idempotent creates, and when each was made.
    once: Vec<(Once, SessionId, Micros)>,
    hours: Hours,
}

impl Entry for Holder {
    /// Nothing of it counts any longer than the statistics do.
    fn is_idle(&self, now: Micros, _window: Micros) -> bool {
        let past = now.saturating_sub(self.changed) / HOUR > HOURS;
        past && self.sessions.is_empty()
    }
}

impl Holder {
    /// The most keys of idempotent creates that are remembered of a user, the latest.
    const MOST_ONCE: usize = 1_000;

    pub(super) fn position(&self, id: SessionId) -> Result<usize, usize> {
        self.sessions
            .binary_search_by_key(&id, |session| session.id)
    }

    /// The session that an earlier create with this key made.
    pub(super) fn made(&self, once: Once) -> Option<SessionId> {
        let made = self.once.iter().rev().find(|(key, ..)| *key == once);
        made.map(|(_, id, _)| *id)
    }

    /// Mends a session from the future, with the hour that it counts by.
    pub(super) fn mend(&mut self, place: usize, moment: Moment<'_>) {
        let session = &mut self.sessions[place];
        let created = session.created;
        session.mend(moment);
        if session.created < created {
            self.hours.add(created, moment.now, |hour| {
                hour.created = hour.created.saturating_sub(1);
            });
            self.hours
                .add(session.created, moment.now, |hour| hour.created += 1);
        }
    }

    pub(super) fn insert(&mut self, place: usize, session: Held, once: Option<Once>) {
        let now = session.created;
        self.hours.add(now, now, |hour| hour.created += 1);
        if let Some(once) = once {
            if self.once.len() == Self::MOST_ONCE {
                self.once.remove(0);
            }
            self.once.push((once, session.id, now));
        }
        self.changed = now;
        self.sessions.insert(place, session);
    }

    /// Counts a session as ended.
    pub(super) fn count_ended(&mut self, session: &Held, now: Micros) {
        self.hours
            .add(session.created, now, |hour| hour.terminated += 1);
    }

    /// Forgets what no longer counts, and the memory that it took.
    pub(super) fn tidy(&mut self, now: Micros) {
        let kept = micros(Once::KEPT);
        self.once
            .retain(|(.., made)| now < made.saturating_add(kept));
        if self.once.is_empty() {
            self.once = Vec::new();
        }
        self.hours.0.retain(|hour| !is_past(hour.hour, now));
    }

    pub(super) fn statistics(&self, now: Micros) -> Statistics {
        let this = now / HOUR;
        let of_hours = |hours: u64, of: fn(&Hour) -> u32| -> u64 {
            let counted = self.hours.0.iter().filter(|hour| {
                let hour = u64::from(hour.hour);
                hour <= this && this - hour <= hours
            });
            counted.map(|hour| u64::from(of(hour))).sum()
        };
        let created = of_hours(HOURS, |hour| hour.created);
        let terminated = of_hours(HOURS, |hour| hour.terminated);
        let live = self.sessions.iter();
        let live = live.filter(|session| !is_past(hour_of(session.created), now));
        let expired = created.saturating_sub(terminated + live.count() as u64);
        let active = self.sessions.len() as u64;
        Statistics {
            total: active + expired + terminated,
            active,
            expired,
            terminated,
            recent_24h: of_hours(24, |hour| hour.created),
        }
    }
}

/// The sessions of a user by the hour of their creation, earlier hours first.
#[derive(Default)]
struct Hours(Vec<Hour>);

struct Hour {
    hour: u32,
    created: u32,
    terminated: u32,
}

fn hour_of(time: Micros) -> u32 {
    u32::try_from(time / HOUR).unwrap_or(u32::MAX)
}

/// Whether an hour no longer counts, nor ever will.
fn is_past(hour: u32, now: Micros) -> bool {
    u64::from(hour) + HOURS < now / HOUR
}

impl Hours {
    fn add(&mut self, created: Micros, now: Micros, add: impl FnOnce(&mut Hour)) {
        let hour = hour_of(created);
        if is_past(hour, now) {
            return;
        }
        let place = self.0.binary_search_by_key(&hour, |hour| hour.hour);
        let place = place.unwrap_or_else(|place| {
            let new = Hour {
                hour,
                created: 0,
                terminated: 0,
            };
            self.0.insert(place, new);
            place
        });
        add(&mut self.0[place]);
    }
}
