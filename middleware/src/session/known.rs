//! The sessions that this process proved lately.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::alerts::{Change, Seen, Use};
use super::store::{Claim, Proof};
use super::{Session, SessionId};
use crate::model::UserId;
use crate::sync::cache::{Cache, put};

/// Of sessions that were proved, the last proof. Any may be forgotten: that costs a question.
///
/// Invariant: a session that this process ended is not known again by an answer whose question was asked before.
#[derive(Debug)]
pub(super) struct KnownSessions {
    cache: Cache<Entry>,
    /// How many ends this process has seen, of the sessions and users that share a place.
    ends: [AtomicU64; PLACES],
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry {
    proof: Proof,
    session: Session,
    /// When the question was asked that the proof answers.
    asked: Duration,
    /// When the session ends without activity.
    ends: Duration,
    /// How it was used last.
    seen: Seen,
}

/// When a question is asked: an answer to it is worth nothing once this process has ended the session since, or all of its user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    at: Duration,
    /// At the session's place, at the user's.
    ends: [u64; 2],
}

/// So that ends spoil few answers about other sessions.
const PLACES: usize = 256;

/// Sessions that are remembered, at some 500 bytes each with what is said of them.
const REMEMBERED: usize = 16_384;

impl KnownSessions {
    pub(super) fn new() -> Self {
        Self {
            cache: Cache::new(REMEMBERED),
            ends: [const { AtomicU64::new(0) }; PLACES],
            hasher: RandomState::new(),
        }
    }

    /// The ends at the place of a session or of a user.
    fn ends(&self, of: impl Hash) -> &AtomicU64 {
        &self.ends[self.hasher.hash_one(of) as usize % PLACES]
    }

    fn seen(&self, id: SessionId, user: &UserId) -> [u64; 2] {
        [self.ends(id), self.ends(user)].map(|ends| ends.load(Ordering::Acquire))
    }

    /// A session that was proved by this secret no longer ago than `within`, and has not ended by itself since.
    pub(super) fn get(&self, claim: &Claim, now: Duration, within: Duration) -> Option<Session> {
        let set = self.cache.set(claim.id);
        let entry = set.iter().find(|entry| entry.session.id == claim.id)?;
        let is_good = now.saturating_sub(entry.asked) < within
            && now < entry.ends
            && entry.session.user == claim.user
            && entry.proof.equals(claim.proof.as_bytes());
        is_good.then(|| entry.session.clone())
    }

    /// To be called before the store is asked.
    pub(super) fn ask(&self, claim: &Claim, at: Duration) -> Asking {
        Asking {
            at,
            ends: self.seen(claim.id, &claim.user),
        }
    }

    /// Remembers a proof: the session lives for this long yet.
    pub(super) fn learn(&self, asking: Asking, proof: Proof, session: Session, left: Duration) {
        let mut set = self.cache.set(session.id);
        // Within the lock: an end takes it too, after it has counted itself.
        if self.seen(session.id, &session.user) != asking.ends {
            return;
        }
        let id = session.id;
        let before = set.iter_mut().find(|old| old.session.id == id);
        let entry = Entry {
            proof,
            session,
            asked: asking.at,
            ends: asking.at.saturating_add(left),
            seen: before
                .map(|old| std::mem::take(&mut old.seen))
                .unwrap_or_default(),
        };
        put(&mut set, entry, |old| old.session.id == id, |old| old.asked);
    }

    /// What is new with a request of a session that is known. It is dated by the last proof, so no clock is read.
    #[inline]
    pub(super) fn heed(&self, id: SessionId, used: &Use<'_>) -> Option<Change> {
        let mut set = self.cache.set(id);
        let entry = set.iter_mut().find(|entry| entry.session.id == id)?;
        entry.seen.note(used, entry.asked)
    }

    /// Forgets a session that has ended or has another secret.
    pub(super) fn forget(&self, id: SessionId) {
        self.ends(id).fetch_add(1, Ordering::AcqRel);
        self.cache.set(id).retain(|entry| entry.session.id != id);
    }

    /// Forgets a session of which the store says that this secret opens nothing.
    pub(super) fn lose(&self, claim: &Claim) {
        let mut set = self.cache.set(claim.id);
        set.retain(|it| it.session.id != claim.id || !it.proof.equals(claim.proof.as_bytes()));
    }

    /// Forgets the sessions of a user but one.
    pub(super) fn forget_all(&self, user: &UserId, keep: Option<SessionId>) {
        self.ends(user).fetch_add(1, Ordering::AcqRel);
        for mut set in self.cache.sets() {
            set.retain(|it| it.session.user != *user || Some(it.session.id) == keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::session::Lifetime;

    const SECOND: Duration = Duration::from_secs(1);

    fn claim(user: &str, id: u8, secret: u8) -> Claim {
        Claim {
            user: UserId::kept(user).unwrap(),
            id: SessionId::of([id; 16]),
            proof: Proof::of(&[secret; 32]),
        }
    }

    fn session(claim: &Claim) -> Session {
        Session {
            id: claim.id,
            user: claim.user.clone(),
            details: Arc::default(),
            created: SystemTime::UNIX_EPOCH,
            authenticated: SystemTime::UNIX_EPOCH,
            last_activity: SystemTime::UNIX_EPOCH,
            lifetime: Lifetime {
                idle: SECOND,
                absolute: SECOND,
            },
        }
    }

    fn learn(known: &KnownSessions, claim: &Claim, left: Duration) {
        let asking = known.ask(claim, SECOND);
        known.learn(asking, claim.proof, session(claim), left);
    }

    #[test]
    fn a_session_is_known_by_its_secret_for_a_time_and_never_past_its_end() {
        let known = KnownSessions::new();
        let ada = claim("ada", 1, 1);
        learn(&known, &ada, 90 * SECOND);
        let at = |claim: &Claim, seconds| known.get(claim, seconds * SECOND, 60 * SECOND).is_some();
        assert!(at(&ada, 1) && at(&ada, 60));
        assert!(!at(&ada, 61));
        learn(&known, &ada, 30 * SECOND);
        assert!(at(&ada, 30) && !at(&ada, 31));
        for other in [claim("ada", 1, 2), claim("bob", 1, 1), claim("ada", 2, 1)] {
            assert!(!at(&other, 1));
        }
    }

    #[test]
    fn an_answer_to_a_question_from_before_an_end_is_not_remembered() {
        let known = KnownSessions::new();
        let ada = claim("ada", 1, 1);
        for end in [
            &(|known: &KnownSessions| known.forget(SessionId::of([1; 16])))
                as &dyn Fn(&KnownSessions),
            &|known| known.forget_all(&UserId::kept("ada").unwrap(), None),
        ] {
            let asking = known.ask(&ada, SECOND);
            end(&known);
            known.learn(asking, ada.proof, session(&ada), 60 * SECOND);
            assert_eq!(known.get(&ada, SECOND, SECOND), None);
        }
        learn(&known, &ada, 60 * SECOND);
        assert!(known.get(&ada, SECOND, SECOND).is_some());
    }

    #[test]
    fn ends_of_others_spoil_few_answers() {
        let known = KnownSessions::new();
        let all = || (0..=255).map(|id| claim("grace", id, id));
        let asked: Vec<_> = all().map(|it| (known.ask(&it, SECOND), it)).collect();
        // An end at the place of the user of all of them would spoil all of them.
        let grace = UserId::kept("grace").unwrap();
        let is_apart = |ends: &AtomicU64| !std::ptr::eq(ends, known.ends(&grace));
        let one = all().find(|it| is_apart(known.ends(it.id))).unwrap();
        known.forget(one.id);
        let mut users = (0..).map(|n| UserId::kept(&format!("user-{n}")).unwrap());
        let other = users.find(|user| is_apart(known.ends(user))).unwrap();
        known.forget_all(&other, None);
        for (asking, claim) in &asked {
            known.learn(*asking, claim.proof, session(claim), 60 * SECOND);
        }
        let is_known = |it: &Claim| known.get(it, SECOND, SECOND).is_some();
        let learned = all().filter(is_known).count();
        assert!(learned > 230 && !is_known(&one), "{learned}");
    }

    #[test]
    fn all_sessions_of_a_user_but_one_are_forgotten_together() {
        let known = KnownSessions::new();
        let claims = [claim("ada", 1, 1), claim("ada", 2, 1), claim("bob", 3, 1)];
        for claim in &claims {
            learn(&known, claim, 60 * SECOND);
        }
        known.forget_all(&claims[0].user, Some(claims[1].id));
        let left = claims
            .each_ref()
            .map(|it| known.get(it, SECOND, SECOND).is_some());
        assert_eq!(left, [false, true, true]);
    }
}
