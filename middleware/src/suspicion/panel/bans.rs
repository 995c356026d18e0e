//! The bans that last, asked for while somebody watches, and never waited for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::model::panel::millis;
use crate::suspicion::{Ban, Subject, Suspicions};

/// Between two questions to the store.
const EVERY: Duration = Duration::from_secs(2);
/// For its answer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// The age at which an answer is old: two questions and their answers may be late.
const FRESH: Duration = Duration::from_secs(6);
/// Bans that a frame lists.
const LISTED: usize = 100;

/// The bans.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Bans {
    /// Bans that last, the latest end first, at most 100.
    list: Vec<BanNow>,
    /// All that are known of, of which `list` is the first 100.
    total: usize,
    /// Whether the store failed: `list` then has the bans last known, and those that this process imposed alone since.
    stale: bool,
}

/// A ban that lasts.
#[derive(Debug, Clone, Serialize)]
struct BanNow {
    /// Whom to lift it of.
    #[serde(flatten)]
    whom: Whom,
    reason: &'static str,
    strikes: u32,
    /// Milliseconds since 1970.
    since: u64,
    until: u64,
}

/// A client, or a user.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Whom {
    Client(String),
    User(String),
}

impl From<&Subject> for Whom {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::Network(client) => Self::Client(client.to_string()),
            Subject::User(user) => Self::User(user.to_string()),
        }
    }
}

/// The store's last answer.
#[derive(Debug, Default)]
pub(super) struct BanWatch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bans: Vec<Ban>,
    /// Those that this process imposed since, if the store does not tell.
    here: Vec<Ban>,
    /// Rises with each lift: an answer to an earlier question is of no use.
    lifts: u64,
    told: Option<Instant>,
    failed: bool,
    asked: Option<Instant>,
    /// The question under way. One that died with its runtime is finished too.
    question: Option<JoinHandle<()>>,
}

impl BanWatch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the store on a task of its own, if that is due: one question at a time, so that a store that hangs costs one
    /// task.
    pub(super) fn ask(self: &Arc<Self>, suspicions: &Suspicions) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut state = self.lock();
        let busy = state
            .question
            .as_ref()
            .is_some_and(|question| !question.is_finished());
        if busy || state.asked.is_some_and(|asked| asked.elapsed() < EVERY) {
            return;
        }
        state.asked = Some(Instant::now());
        let (suspicions, lifts) = (suspicions.clone(), state.lifts);
        let watch = Arc::downgrade(self);
        state.question = Some(runtime.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, suspicions.bans()).await;
            let answer = match answer {
                Ok(Ok(bans)) => Ok(bans),
                Ok(Err(_)) | Err(_) => Err(suspicions.bans_here()),
            };
            if let Some(watch) = watch.upgrade() {
                watch.tell(lifts, answer);
            }
        }));
    }

    /// The store's answer, or without one the bans that hold in this process alone.
    fn tell(&self, lifts: u64, answer: Result<Vec<Ban>, Vec<Ban>>) {
        let mut state = self.lock();
        if state.lifts != lifts {
            return;
        }
        state.failed = answer.is_err();
        match answer {
            Ok(bans) => {
                state.bans = bans;
                state.here = Vec::new();
                state.told = Some(Instant::now());
            }
            Err(here) => state.here = here,
        }
    }

    /// A ban was lifted here: the list shows it without waiting for the store, which is asked at the next opportunity.
    pub(super) fn lifted(&self, subject: &Subject) {
        let mut state = self.lock();
        state.bans.retain(|ban| ban.subject != *subject);
        state.here.retain(|ban| ban.subject != *subject);
        state.lifts += 1;
        state.asked = None;
    }

    /// The list as shown, and who is banned.
    pub(super) fn now(&self) -> (Bans, HashSet<Subject>) {
        let state = self.lock();
        let now = SystemTime::now();
        // Without those that ended since the store told.
        let mut lasting: Vec<_> = state.bans.iter().filter(|ban| ban.until > now).collect();
        let mut banned: HashSet<_> = lasting.iter().map(|ban| ban.subject.clone()).collect();
        let here = state.here.iter().filter(|ban| ban.until > now);
        lasting.extend(here.filter(|ban| banned.insert(ban.subject.clone())));
        lasting.sort_by_key(|ban| std::cmp::Reverse(ban.until));
        let listed = lasting.iter().take(LISTED).map(|ban| BanNow {
            whom: (&ban.subject).into(),
            reason: ban.reason.as_str(),
            strikes: ban.strikes,
            since: millis(ban.since),
            until: millis(ban.until),
        });
        let bans = Bans {
            list: listed.collect(),
            total: lasting.len(),
            stale: state.failed || state.told.is_none_or(|told| told.elapsed() > FRESH),
        };
        (bans, banned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;
    use crate::suspicion::BanReason;

    /// Bans that last, of clients by their last octet.
    fn bans(octets: &[u8]) -> Vec<Ban> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (now, left) = (now.unwrap(), Duration::from_secs(600));
        let ban = |octet: &u8| {
            let client = Network::of([192, 0, 2, *octet].into(), 64);
            // The higher the octet, the sooner it ends.
            let until = now + left - Duration::from_secs((*octet).into());
            Ban::new(client, BanReason::Manual, 0, [now, until, left])
        };
        octets.iter().map(ban).collect()
    }

    fn listed(watch: &BanWatch) -> Vec<String> {
        let (bans, banned) = watch.now();
        assert_eq!((bans.total, bans.list.len()), (banned.len(), banned.len()));
        let octet = |ban: BanNow| match ban.whom {
            Whom::Client(client) => client.replace("192.0.2.", ""),
            Whom::User(user) => user,
        };
        bans.list.into_iter().map(octet).collect()
    }

    #[test]
    fn an_answer_to_what_was_asked_before_a_lift_does_not_bring_the_ban_back() {
        let watch = BanWatch::default();
        watch.tell(0, Ok(bans(&[1, 2])));
        watch.lifted(&bans(&[1])[0].subject);
        assert_eq!(listed(&watch), ["2"]);
        watch.tell(0, Ok(bans(&[1, 2])));
        assert_eq!(listed(&watch), ["2"]);
        watch.tell(1, Ok(bans(&[2, 3])));
        assert_eq!(listed(&watch), ["2", "3"]);
    }

    #[test]
    fn while_the_store_does_not_tell_what_holds_here_alone_is_listed_too() {
        let watch = BanWatch::default();
        watch.tell(0, Ok(bans(&[2, 4])));
        watch.tell(0, Err(bans(&[1, 2, 3])));
        assert_eq!(listed(&watch), ["1", "2", "3", "4"]);
        assert!(watch.now().0.stale);
        watch.tell(0, Err(bans(&[3])));
        assert_eq!(listed(&watch), ["2", "3", "4"]);
        watch.tell(0, Ok(bans(&[4])));
        assert_eq!(listed(&watch), ["4"]);
        assert!(!watch.now().0.stale);
    }
}
