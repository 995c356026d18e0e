//! When a policy begins and ceases to deny, and to do without its store: a line of the log each, and not one for each
//! request.
//!
//! A policy is in a state from the first of its kind (a denial for lack of quota; a request in fallback) until none came for
//! a while. Invariants: the lines of a state alternate, its beginning first; the numbers of all lines that end it add up to
//! what the [`PolicyTally`] had when the last was written; and it ends no sooner than its quiet time after the last of the
//! kind, so that a state has at most one pair of lines in a quiet time, however many requests come. The request that begins
//! it writes a line and starts a task; any other costs one relaxed load. `log::Fallback` would not do: it learns of the end by
//! a call that goes well, and these states end while nobody calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::policy::{OnStoreFailure, Policy};
use super::store::Admit;
use super::tally::{PolicyCounts, PolicyTally};

/// How often a task looks whether its state lasts.
const TICK: Duration = Duration::from_secs(1);
/// The least quiet time of denials; that of a policy with a longer window is its window.
const LEAST_QUIET: Duration = Duration::from_secs(10);
/// The quiet time of fallbacks.
const FALLBACK_QUIET: Duration = Duration::from_secs(5);

/// The states of each policy of a layer.
pub(super) struct Changes {
    tally: Arc<PolicyTally>,
    /// The store that may fail, if it is one.
    store: Option<Arc<dyn Admit>>,
    policies: Box<[States]>,
}

struct States {
    name: Arc<str>,
    mode: OnStoreFailure,
    /// Of its denials.
    quiet: Duration,
    denying: State,
    in_fallback: State,
}

#[derive(Default)]
struct State {
    lasts: AtomicBool,
    /// The count of the tally when the last line that ended the state was written.
    told: [AtomicU64; 2],
}

/// A state that a policy can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Denying,
    Fallback,
}

impl Changes {
    pub(super) fn new(
        policies: &[Policy],
        tally: &Arc<PolicyTally>,
        store: Option<Arc<dyn Admit>>,
    ) -> Self {
        let states = policies.iter().map(|policy| States {
            name: Arc::clone(&policy.name),
            mode: policy.on_store_failure,
            quiet: policy.quota.window().max(LEAST_QUIET),
            denying: State::default(),
            in_fallback: State::default(),
        });
        Self {
            tally: Arc::clone(tally),
            store,
            policies: states.collect(),
        }
    }

    /// A policy denied for lack of quota, and the tally has it.
    pub(super) fn denies(self: &Arc<Self>, policy: usize) {
        self.is_in(policy, Trouble::Denying);
    }

    /// A policy did without its store, and the tally has it.
    pub(super) fn falls_back(self: &Arc<Self>, policy: usize) {
        self.is_in(policy, Trouble::Fallback);
    }

    fn is_in(self: &Arc<Self>, policy: usize, kind: Trouble) {
        let state = self.policies[policy].state(kind);
        // A load keeps the line shared between cores.
        if !state.lasts.load(Ordering::Relaxed) && !state.lasts.swap(true, Ordering::Relaxed) {
            self.begin(policy, kind);
        }
    }

    #[cold]
    fn begin(self: &Arc<Self>, policy: usize, kind: Trouble) {
        let States { name, mode, .. } = &self.policies[policy];
        match kind {
            Trouble::Denying => tracing::warn!(
                target: "palisade::rate_limit",
                event = "rate_limit_denying",
                policy = %name,
                "a policy denies requests"
            ),
            Trouble::Fallback => tracing::warn!(
                target: "palisade::rate_limit",
                event = "rate_limit_fallback",
                policy = %name,
                mode = mode.as_str(),
                "a policy does without its store, which does not answer"
            ),
        }
        // Without a runtime there is nobody to see the end.
        if let Ok(runtime) = Handle::try_current() {
            let watch = Monitor {
                changes: Arc::downgrade(self),
                policy,
                kind,
            };
            drop(runtime.spawn(watch.until_over()));
        }
    }

    fn end(&self, policy: usize, kind: Trouble) {
        let states = &self.policies[policy];
        let state = states.state(kind);
        // Before the tally is read: a later count begins the state again.
        state.lasts.store(false, Ordering::Relaxed);
        let counts = kind.counted(&self.tally.counts(policy));
        let since = |n: usize| {
            let told = state.told[n].swap(counts[n], Ordering::Relaxed);
            counts[n].saturating_sub(told)
        };
        let policy = &states.name;
        match kind {
            Trouble::Denying => tracing::info!(
                target: "palisade::rate_limit",
                event = "rate_limit_ceased",
                %policy,
                denied = since(0),
                "a policy denies no more requests"
            ),
            Trouble::Fallback => tracing::info!(
                target: "palisade::rate_limit",
                event = "rate_limit_restored",
                %policy,
                mode = states.mode.as_str(),
                admitted = since(0),
                denied = since(1),
                "a policy is decided by its store again"
            ),
        }
    }
}

impl States {
    fn state(&self, kind: Trouble) -> &State {
        match kind {
            Trouble::Denying => &self.denying,
            Trouble::Fallback => &self.in_fallback,
        }
    }

    fn quiet(&self, kind: Trouble) -> Duration {
        match kind {
            Trouble::Denying => self.quiet,
            Trouble::Fallback => FALLBACK_QUIET,
        }
    }
}

impl Trouble {
    /// The count that rises while a state of the kind lasts.
    fn counted(self, counts: &PolicyCounts) -> [u64; 2] {
        match self {
            Self::Denying => [counts.exceeded, 0],
            Self::Fallback => [counts.fallback_admitted, counts.fallback_denied],
        }
    }
}

/// Looks for the end of a state. It holds no layer: one that is dropped meanwhile ends it.
struct Monitor {
    changes: Weak<Changes>,
    policy: usize,
    kind: Trouble,
}

impl Monitor {
    async fn until_over(mut self) {
        let mut counted = None;
        let mut quiet_since = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            let Some(changes) = self.changes.upgrade() else {
                return;
            };
            let now = Some(self.kind.counted(&changes.tally.counts(self.policy)));
            if now != counted {
                counted = now;
                quiet_since = Instant::now();
                continue;
            }
            let quiet = changes.policies[self.policy].quiet(self.kind);
            // While nobody asks a store that fails, nobody falls back either.
            let store = changes.store.as_ref();
            let fails =
                self.kind == Trouble::Fallback && store.is_some_and(|store| store.is_failing());
            if quiet_since.elapsed() >= quiet && !fails {
                changes.end(self.policy, self.kind);
                self.changes = Weak::new();
                return;
            }
        }
    }
}

impl Drop for Monitor {
    /// When the runtime shuts down, the next request of the kind begins the state again, in another one. A panic is that of
    /// a runtime without a timer, where each request would begin it.
    fn drop(&mut self) {
        if let Some(changes) = self.changes.upgrade()
            && !std::thread::panicking()
        {
            let state = changes.policies[self.policy].state(self.kind);
            state.lasts.store(false, Ordering::Relaxed);
        }
    }
}
