//! The bans that last, asked for while somebody watches, and never waited for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::hub::{Hub, millis};
use super::stream;
use crate::client::Network;
use crate::suspicion::{Ban, Suspicions};

/// Between two questions to the store.
const EVERY: Duration = Duration::from_secs(2);
/// For its answer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// From when on what was told is old: two questions and their answers may be late.
const FRESH: Duration = Duration::from_secs(6);
/// Bans that the stream lists.
const LISTED: usize = 100;

/// What the store last told.
#[derive(Debug, Default)]
pub(super) struct BanWatch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bans: Vec<Ban>,
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
    pub(super) fn ask(&self, hub: Weak<Hub>, suspicions: &Suspicions) {
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
        let suspicions = suspicions.clone();
        state.question = Some(runtime.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, suspicions.bans()).await;
            if let Some(hub) = hub.upgrade() {
                hub.bans.tell(answer.ok().and_then(Result::ok));
            }
        }));
    }

    fn tell(&self, bans: Option<Vec<Ban>>) {
        let mut state = self.lock();
        state.failed = bans.is_none();
        if let Some(bans) = bans {
            state.bans = bans;
            state.told = Some(Instant::now());
        }
    }

    /// A ban was lifted here: the list shows it without waiting for the store, which is asked at the next opportunity.
    pub(super) fn lifted(&self, client: Network) {
        let mut state = self.lock();
        state.bans.retain(|ban| ban.client != client);
        state.asked = None;
    }

    /// What is shown, and who is banned.
    pub(super) fn now(&self) -> (stream::Bans, HashSet<Network>) {
        let state = self.lock();
        let now = SystemTime::now();
        // Those that ended since the store told.
        let lasting = || state.bans.iter().filter(|ban| ban.until > now);
        let listed = lasting().take(LISTED).map(|ban| stream::BanNow {
            client: ban.client.to_string(),
            reason: ban.reason.as_str(),
            strikes: ban.strikes,
            since: millis(ban.since),
            until: millis(ban.until),
        });
        let bans = stream::Bans {
            list: listed.collect(),
            total: lasting().count(),
            stale: state.failed || state.told.is_none_or(|told| told.elapsed() > FRESH),
        };
        (bans, lasting().map(|ban| ban.client).collect())
    }
}

impl Hub {
    /// Sees to it that the list of bans is not too old.
    pub(super) fn ask_for_bans(self: &Arc<Self>) {
        if let Some(sources) = self.sources.get()
            && sources.suspicions.sentence().is_some()
        {
            self.bans.ask(Arc::downgrade(self), &sources.suspicions);
        }
    }
}
