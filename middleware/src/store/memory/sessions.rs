//! The sessions of one process.

mod held;
mod room;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use self::room::{Place, Room};
use super::clock::Clock;
use super::log::Micros;
use super::{MemoryStore, lock, table};
use crate::model::{PartitionKey, Reply, UserId};
use crate::session::store::{
    Began, Claim, Created, Creation, KeepSessions, Keeping, Origin, Proof, Proved, Renewal,
    SessionStore, Statistics,
};
use crate::session::{Session, SessionId};

/// The sessions of a store, spread over rooms by their users; all binds share them.
pub(super) struct Sessions {
    hasher: RandomState,
    rooms: Box<[Mutex<Room>]>,
    epochs: Epochs,
}

/// Every epoch of every user is a number of its own, later ones above earlier ones: what was forgotten never comes back.
#[derive(Default)]
struct Epochs(AtomicU64);

impl Epochs {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A moment on the store's clock.
#[derive(Clone, Copy)]
struct Moment<'a> {
    now: Micros,
    clock: &'a dyn Clock,
}

impl Moment<'_> {
    /// The moment as people tell it, in microseconds since 1970.
    fn wall(&self) -> Micros {
        since_1970(self.clock.wall())
    }
}

fn since_1970(time: SystemTime) -> Micros {
    micros(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

impl Sessions {
    pub(super) fn new(max_sessions: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            rooms: table::capacities(max_sessions)
                .map(|most| Mutex::new(Room::new(most)))
                .collect(),
            epochs: Epochs::default(),
        }
    }

    /// How many users are held, those without a session included.
    pub(super) fn len(&self) -> usize {
        self.rooms.iter().map(|room| lock(room).users()).sum()
    }

    /// How many users without a session were forgotten while they still counted.
    pub(super) fn evicted_live(&self) -> u64 {
        self.rooms
            .iter()
            .map(|room| lock(room).evicted_live())
            .sum()
    }
}

impl SessionStore for MemoryStore {
    fn keep_sessions(&self, keeping: &Keeping) -> Arc<dyn KeepSessions> {
        Arc::new(Bound {
            clock: Arc::clone(&self.0.clock),
            sessions: Arc::clone(&self.0.sessions),
            keeping: keeping.clone(),
        })
    }
}

/// The store for the settings of one layer.
struct Bound {
    clock: Arc<dyn Clock>,
    sessions: Arc<Sessions>,
    keeping: Keeping,
}

impl Bound {
    fn moment(&self) -> Moment<'_> {
        Moment {
            now: micros(self.clock.now()),
            clock: &*self.clock,
        }
    }

    /// One step: what is done with a user's place, nobody comes between.
    fn at<T>(&self, user: &UserId, run: impl FnOnce(Place<'_>) -> T) -> Reply<T> {
        let Sessions {
            hasher,
            rooms,
            epochs,
        } = &*self.sessions;
        let key = PartitionKey::from(user.clone());
        let hash = hasher.hash_one(&key);
        let mut room = lock(&rooms[table::place(hash, rooms.len())]);
        let place = Place {
            room: &mut room,
            hasher,
            epochs,
            hash,
            key,
            user,
            // Read with the lock held, so that the steps of one user see the times in their order.
            moment: self.moment(),
        };
        Reply::Ready(Ok(run(place)))
    }

    /// Lets go of what idled out, so many users at a time, and lets others in between.
    fn settled(&self, room: &Mutex<Room>) -> u64 {
        const AT_A_TIME: usize = 64;
        loop {
            let mut room = lock(room);
            if room.let_go(AT_A_TIME, self.moment()) < AT_A_TIME {
                return room.held().into();
            }
        }
    }
}

impl KeepSessions for Bound {
    fn begin(&self, user: &UserId) -> Reply<Began> {
        self.at(user, |place| Began::Epoch(place.epoch()))
    }

    fn create(&self, new: &Creation) -> Reply<Created> {
        self.at(&new.user, |place| place.create(new, &self.keeping))
    }

    fn prove(&self, claim: &Claim, touch: bool) -> Reply<Proved> {
        let touch_every = touch.then(|| micros(self.keeping.touch_every));
        self.at(&claim.user, |place| place.prove(claim, touch_every))
    }

    fn rotate(&self, claim: &Claim, to: &Proof, renewal: &Renewal) -> Reply<Option<Session>> {
        self.at(&claim.user, |place| place.rotate(claim, *to, *renewal))
    }

    fn end(&self, user: &UserId, id: SessionId) -> Reply<Option<Session>> {
        self.at(user, |place| place.end(id))
    }

    fn end_all(&self, user: &UserId, keep: Option<SessionId>) -> Reply<Vec<Session>> {
        self.at(user, |place| place.end_all(keep))
    }

    fn list(&self, user: &UserId) -> Reply<Vec<Session>> {
        self.at(user, |place| place.list())
    }

    fn statistics(&self, user: &UserId) -> Reply<Statistics> {
        self.at(user, |place| place.statistics())
    }

    fn clean(&self, user: &UserId) -> Reply<u64> {
        self.at(user, |place| place.clean())
    }

    fn active(&self) -> Reply<u64> {
        let rooms = self.sessions.rooms.iter();
        Reply::Ready(Ok(rooms.map(|room| self.settled(room)).sum()))
    }

    fn created_from(&self, origin: Origin, within: Duration) -> Reply<Vec<(UserId, SessionId)>> {
        let mut found = Vec::new();
        for room in &self.sessions.rooms {
            let mut room = lock(room);
            room.created_from(origin, micros(within), self.moment(), &mut found);
        }
        Reply::Ready(Ok(found))
    }
}
