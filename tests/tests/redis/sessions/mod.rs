//! What every store keeps of sessions, through the port that the layer uses, with the clock in the test's hands.

mod alike;
mod conformance;
mod logins;
mod model;
mod races;
pub(crate) mod redis;
mod shared;
mod statistics;
mod steps_back;
mod subject;

use std::time::Duration;

use palisade::client::{Secret, UserId};
use palisade::session::store::{
    Began, Claim, Created, Creation, KeepSessions, Keeping, OnMax, Proof, Proved,
};
use palisade::session::{Lifetime, Session, SessionId};

pub(crate) use self::subject::{START, Subject, on_every_store};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

fn user(name: &str) -> UserId {
    UserId::new(name, &Secret::from_bytes(b"a secret of the tests"))
}

/// The same id for the same number, and ids of all first bytes.
fn id(n: u64) -> SessionId {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&scattered.to_be_bytes());
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    SessionId::of(bytes)
}

fn proof(n: u64) -> Proof {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&n.to_be_bytes());
    Proof::of(&secret)
}

/// The claim of a user's session `n` with its secret `secret`.
fn claim(name: &str, n: u64, secret: u64) -> Claim {
    Claim {
        user: user(name),
        id: id(n),
        proof: proof(secret),
    }
}

fn lifetime(idle: u64, absolute: u64) -> Lifetime {
    Lifetime {
        idle: Duration::from_micros(idle),
        absolute: Duration::from_micros(absolute),
    }
}

/// Idles out after a minute, ends after an hour.
fn minutes() -> Lifetime {
    lifetime(60 * SECOND, HOUR)
}

/// Activity every second, and so many sessions a user.
fn keeping(max_per_user: u16, on_max: OnMax) -> Keeping {
    let mut keeping = Keeping::new();
    keeping.touch_every = Duration::from_micros(SECOND);
    keeping.max_per_user = max_per_user;
    keeping.on_max = on_max;
    keeping
}

/// Session `n` of a user, whose secret is `n` as well, by a login that begins now.
async fn login(store: &dyn Subject, keeping: &Keeping, name: &str, n: u64) -> Session {
    let kept = store.bind(keeping);
    let began = kept.begin(&user(name)).await.unwrap();
    let new = Creation::new(claim(name, n, n), began, minutes());
    created(kept.create(&new).await.unwrap())
}

fn created(answer: Created) -> Session {
    match answer {
        Created::New { session, .. } => session,
        other => panic!("no session was created: {other:?}"),
    }
}

fn ids(sessions: &[Session]) -> Vec<SessionId> {
    let mut ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
    ids.sort();
    ids
}

fn sorted<const N: usize>(numbers: [u64; N]) -> Vec<SessionId> {
    let mut ids = numbers.map(id).to_vec();
    ids.sort();
    ids
}

/// A login of long ago, for which nothing but its user's epoch counts.
const NO_EPOCH: Began = Began::Epoch(None);

/// The session, if the claim proves it.
async fn proves(kept: &dyn KeepSessions, name: &str, n: u64, touch: bool) -> Option<Session> {
    match kept.prove(&claim(name, n, n), touch).await.unwrap() {
        Proved::Lives(session, _) => Some(session),
        Proved::Gone => None,
        other => panic!("{other:?}"),
    }
}

async fn listed(kept: &dyn KeepSessions, name: &str) -> Vec<SessionId> {
    ids(&kept.list(&user(name)).await.unwrap())
}
