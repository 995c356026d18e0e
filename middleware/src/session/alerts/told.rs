//! Which alerts this process told lately.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Alert, AlertKind, SessionId, UserId};
use crate::sync::cache::{Cache, put};

/// How long an alert of one kind is told once of one session.
const ONCE_IN: Duration = Duration::from_secs(3_600);
/// Alerts that are remembered.
const REMEMBERED: usize = 8_192;
/// Alerts that wait for the streams, which look once a second.
const RECENT: usize = 256;

#[derive(Debug)]
pub(super) struct Told {
    cache: Cache<Entry>,
    recent: Mutex<Recent>,
}

#[derive(Debug)]
struct Entry {
    kind: AlertKind,
    user: UserId,
    session: Option<SessionId>,
    until: Duration,
}

#[derive(Debug, Default)]
struct Recent {
    /// Of all that there were.
    number: u64,
    /// The newest last.
    alerts: VecDeque<Alert>,
}

impl Told {
    pub(super) fn new() -> Self {
        Self {
            cache: Cache::new(REMEMBERED),
            recent: Mutex::default(),
        }
    }

    /// Whether an alert is news; from now on it is none for an hour.
    pub(super) fn is_news(&self, alert: &Alert, now: Duration) -> bool {
        let Alert {
            kind,
            user,
            session,
            ..
        } = alert;
        let mut set = self.cache.set((kind, user, session));
        let is_same = |it: &Entry| it.kind == *kind && it.session == *session && it.user == *user;
        if set.iter().any(|it| is_same(it) && now < it.until) {
            return false;
        }
        let entry = Entry {
            kind: *kind,
            user: user.clone(),
            session: *session,
            until: now + ONCE_IN,
        };
        put(&mut set, entry, is_same, |it| it.until);
        true
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an alert for the streams of its user.
    pub(super) fn leave(&self, alert: &Alert) {
        let mut recent = self.recent();
        recent.number += 1;
        if recent.alerts.len() >= RECENT {
            recent.alerts.pop_front();
        }
        recent.alerts.push_back(alert.clone());
    }

    /// The number of the newest alert.
    #[cfg_attr(not(feature = "session-api"), allow(dead_code))]
    pub(super) fn newest(&self) -> u64 {
        self.recent().number
    }

    /// The alerts of a user after this number, which becomes that of the newest.
    #[cfg_attr(not(feature = "session-api"), allow(dead_code))]
    pub(super) fn after(&self, number: &mut u64, user: &UserId) -> Vec<Alert> {
        let recent = self.recent();
        let new = usize::try_from(recent.number - *number).unwrap_or(usize::MAX);
        *number = recent.number;
        let known = recent.alerts.len().saturating_sub(new);
        let new = recent.alerts.iter().skip(known);
        new.filter(|alert| alert.user == *user).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(kind: AlertKind, user: &str, session: Option<u8>) -> Alert {
        let session = session.map(|n| SessionId::of([n; 16]));
        Alert::new(kind, UserId::kept(user).unwrap(), session)
    }

    #[test]
    fn an_alert_is_news_once_in_an_hour_for_each_session_and_kind() {
        let told = Told::new();
        let at = |alert: &Alert, seconds| told.is_news(alert, Duration::from_secs(seconds));
        let one = alert(AlertKind::UserAgentChanged, "ada", Some(1));
        assert!(at(&one, 0) && !at(&one, 0) && !at(&one, 3_599) && at(&one, 3_600));
        for other in [
            alert(AlertKind::ConcurrentNetworks, "ada", Some(1)),
            alert(AlertKind::UserAgentChanged, "ada", Some(2)),
            alert(AlertKind::UserAgentChanged, "bob", Some(1)),
            alert(AlertKind::UserAgentChanged, "ada", None),
        ] {
            assert!(at(&other, 3_600) && !at(&other, 3_600));
        }
    }

    #[test]
    fn a_stream_hears_of_its_users_alerts_once_and_of_the_newest_if_there_were_many() {
        let told = Told::new();
        let leave = |user| told.leave(&alert(AlertKind::UserAgentChanged, user, Some(1)));
        leave("ada");
        let (mut number, ada) = (told.newest(), UserId::kept("ada").unwrap());
        let mut heard = || told.after(&mut number, &ada).len();
        assert_eq!(heard(), 0, "from before");
        leave("bob");
        leave("ada");
        assert_eq!((heard(), heard()), (1, 0));
        (0..RECENT + 9).for_each(|_| leave("ada"));
        assert_eq!((heard(), heard()), (RECENT, 0));
    }
}
