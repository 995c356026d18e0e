//! Keeps limits, failures, bans, sessions, customers and visitors in the memory of one process. It is exact, and its memory is bounded.
//!
//! ```
//! use std::time::Duration;
//! use palisade::rate_limit::Quota;
//! use palisade::rate_limit::store::{Charge, Logs, Store};
//! use palisade::client::Network;
//! use palisade::store::memory::MemoryStore;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let limits = MemoryStore::new().bind(&[Logs::of("ip", Duration::from_secs(60))]);
//! let key = Network::of("192.0.2.1".parse().unwrap(), 64).into();
//! let quota = Quota::new(2, Duration::from_secs(60)).unwrap();
//! let charge = Charge { policy: 0, key: &key, quota, cost: 1, enforced: true };
//! assert!(limits.admit(&[charge]).await.unwrap().admitted);
//! assert!(limits.admit(&[charge]).await.unwrap().admitted);
//! assert!(!limits.admit(&[charge]).await.unwrap().admitted);
//! # });
//! ```
//!
//! # Limits
//! A key takes at most 100 bytes beside its log. A key of text (a user's id) takes its own length and some 30 bytes more. The
//! log takes five bytes for each unit of admitted cost after the first, in a buffer that at most doubles and never exceeds
//! the limit. So 1,000,000 addresses with a request each stay under 100 MB, and one with 200 requests under 1.1 kB. A log is
//! given back when its key is next seen after a quiet window, or when the key is let go.
//!
//! The number of keys is bounded for each policy ([`MemoryStoreBuilder::max_keys`], 1,000,000 unless set), and with it the
//! memory: at most `max_keys` times 100 bytes and five for each unit of the limit. Keys are spread over shards, and each
//! shard makes room by itself:
//!
//! 1. Each new key lets go of up to two idle ones (nothing admitted in their window).
//! 2. At the bound, with no idle key, it takes the place of the longest-quiet key with room left.
//! 3. When no key has room left, it takes the place of the longest-quiet key at its limit.
//!
//! So no flood of new keys lifts the limit of a client while any other key of its shard has room.
//!
//! # Failures
//! Failures are kept for 100,000 clients of each kind, or `max_keys` if that is less. Clients are let go in the same order,
//! those whose failures reached the threshold last. A client with one failure takes at most 200 bytes, up to 24 for each of
//! seven further routes, and five (in a buffer that doubles) for each failure up to the threshold.
//!
//! The kinds of logins keep as many keys each. A key takes at most 300 bytes with one distinct item, and 16 for each further
//! one (in a buffer that doubles) up to 64. In an episode with more items than that, or one that outlives the window, their
//! number is estimated by HyperLogLog, with a standard error of 1.6 % in 4 kB. A store holds 4,096 such estimates at a time,
//! all kinds together; beyond, the number is a lower bound.
//!
//! # Bans
//! Bans are kept for 100,000 clients, of at most 250 bytes each. Ended bans are let go first, then those that end soonest.
//! What counts towards them is kept for as many clients of each kind, the longest-quiet let go first: at most 200 bytes for a
//! client with one thing, and 16 for each further one below the threshold.
//!
//! # Sessions
//! Up to `max_keys` sessions are kept, and as many users. A session that lives is never let go for another one: a store at its
//! bound answers `Full`. Each shard refuses by itself, so a large store does a few percent before its bound. Sessions that
//! idled or aged out are let go as others come. A user without a session is let go 30 days after the last login, or gives way
//! to a new one at the bound. If all sessions of such a user had been ended, logins under way of users who are not held are
//! overtaken, so that none passes that must not. The newest 1,000 keys of idempotent logins of a user are remembered.
//!
//! # Customers
//! Up to `max_keys` customers are kept, and let go longest-quiet first. The retention runs on the store's clock from the last
//! change, whatever moment that change carries. The newest 4,096 orders and refunds of a customer are recognised when they
//! come again, 12 bytes each. An erased customer is remembered for ten minutes, the latest 100,000 of them.
//!
//! A sweep looks at every customer, under the lock of one shard at a time. Measured with 1,000,000 customers: 162 bytes each,
//! 226 with an order, and 35 ms for a sweep, 0.6 ms a shard.
//!
//! # Visitors
//! At most `max_keys` visitors of a funnel are kept, each in at most 256 bytes (four stages). Visitors without a counted
//! stage are let go first.
mod bans;
mod clock;
mod customers;
mod distinct;
mod failures;
mod limits;
mod log;
mod logins;
mod sessions;
mod shard;
mod sketch;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_customers;
mod things;
mod visits;

use std::fmt;
use std::iter::Sum;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::bans::Bans;
use self::customers::Customers;
use self::distinct::Distinct;
use self::failures::{Trail, Trails};
use self::limits::Bound;
use self::log::Log;
use self::logins::Logins;
use self::sessions::Sessions;
use self::shard::{Entry, Shard};
use self::sketch::Sketches;
use self::table::Table;
use self::things::Things;
use self::visits::Visit;
use crate::ConfigError;
use crate::funnel::store::{Journeys, LocalVisitStore, Progress, Reach};
use crate::rate_limit::store::{Admit, AdmitNow, LocalStore, Logs, Store};
use crate::suspicion::store::{FailedRequest, Incident, LocalFailureStore, Rule};
use crate::suspicion::{AccountHash, AccountState, IncidentKind, Threshold};

#[cfg(test)]
pub(crate) use clock::Hand;
pub use clock::{Clock, MonotonicClock};

/// The store of one process. Clones share the logs.
#[derive(Clone)]
pub struct MemoryStore(Arc<Tables>);

struct Tables {
    clock: Arc<dyn Clock>,
    max_keys: usize,
    by_policy: Named<Log>,
    by_kind: Named<Trail>,
    bans: Bans,
    customers: Arc<Customers>,
    sessions: Arc<Sessions>,
    visitors: Named<Visit>,
    by_login: Named<Distinct>,
    /// What counts towards bans, by kind.
    things: Named<Things>,
    sketches: Sketches,
}

/// The tables by their names, in the order in which they were first bound.
type Named<E> = Mutex<Vec<Arc<Table<E>>>>;

/// Settings of a [`MemoryStore`].
#[must_use]
pub struct MemoryStoreBuilder {
    clock: Arc<dyn Clock>,
    max_keys: usize,
}

impl MemoryStore {
    /// A store on the process's monotonic clock, bounded to 1,000,000 keys for each policy.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().with_bound(MemoryStoreBuilder::DEFAULT_MAX_KEYS)
    }

    /// A store with other settings.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            clock: Arc::new(MonotonicClock::default()),
            max_keys: MemoryStoreBuilder::DEFAULT_MAX_KEYS,
        }
    }

    /// How many keys are held, idle ones included; it looks at every shard.
    #[must_use]
    pub fn keys(&self) -> usize {
        sum(&self.0.by_policy, Shard::len)
            + sum(&self.0.by_kind, Shard::len)
            + self.0.customers.len()
            + self.0.sessions.len()
            + sum(&self.0.visitors, Shard::len)
            + sum(&self.0.by_login, Shard::len)
            + sum(&self.0.things, Shard::len)
    }

    /// How many keys were forgotten to make room while they still counted: above 0, the bound is too small.
    #[must_use]
    pub fn evicted_live(&self) -> u64 {
        sum(&self.0.by_policy, Shard::evicted_live)
            + sum(&self.0.by_kind, Shard::evicted_live)
            + self.0.customers.evicted_live()
            + self.0.sessions.evicted_live()
            + sum(&self.0.visitors, Shard::evicted_live)
            + sum(&self.0.by_login, Shard::evicted_live)
            + sum(&self.0.things, Shard::evicted_live)
    }
}

fn sum<E: Entry, N: Sum>(tables: &Named<E>, of: impl Fn(&Shard<E>) -> N) -> N {
    let tables = lock(tables).clone();
    tables
        .iter()
        .flat_map(|table| table.shards())
        .map(|shard| of(&shard))
        .sum()
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("max_keys", &self.0.max_keys)
            .finish_non_exhaustive()
    }
}

impl MemoryStoreBuilder {
    const DEFAULT_MAX_KEYS: usize = 1_000_000;
    /// More would not fit the 32-bit slot numbers.
    const MOST_KEYS: usize = 1_000_000_000;

    /// The most keys held for each policy, and the most customers; 1,000,000 unless set.
    pub fn max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    /// Another clock: that of a test, or of a log that is replayed.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The store.
    ///
    /// # Errors
    /// A bound outside 1 to 1,000,000,000 keys.
    pub fn build(self) -> Result<MemoryStore, ConfigError> {
        let max_keys = self.max_keys;
        if !(1..=Self::MOST_KEYS).contains(&max_keys) {
            return Err(ConfigError::new(
                "max_keys",
                max_keys,
                "1 to 1000000000 keys",
            ));
        }
        Ok(self.with_bound(max_keys))
    }

    fn with_bound(self, max_keys: usize) -> MemoryStore {
        MemoryStore(Arc::new(Tables {
            clock: self.clock,
            max_keys,
            by_policy: Mutex::default(),
            by_kind: Mutex::default(),
            bans: Bans::default(),
            customers: Arc::new(Customers::new(self.max_keys)),
            sessions: Arc::new(Sessions::new(self.max_keys)),
            visitors: Mutex::default(),
            by_login: Mutex::default(),
            things: Mutex::default(),
            sketches: Sketches::default(),
        }))
    }
}

impl fmt::Debug for MemoryStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStoreBuilder")
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn bind(&self, policies: &[Logs]) -> Arc<dyn Admit> {
        self.bound(policies)
    }
}

impl LocalStore for MemoryStore {
    fn bind_local(&self, policies: &[Logs]) -> Arc<dyn AdmitNow> {
        self.bound(policies)
    }
}

impl MemoryStore {
    fn bound(&self, policies: &[Logs]) -> Arc<Bound> {
        let mut tables = lock(&self.0.by_policy);
        let tables = policies
            .iter()
            // The window first, which has no colon: no two pairs have one name.
            .map(|Logs { policy, window, .. }| format!("{}:{policy}", window.as_micros()))
            .map(|name| named(&mut tables, &name, self.0.max_keys));
        let tables = tables.collect();
        Arc::new(Bound::new(Arc::clone(&self.0.clock), tables))
    }
}

/// The table of this name, new if there is none yet.
fn named<E: Entry>(tables: &mut Vec<Arc<Table<E>>>, name: &str, max_keys: usize) -> Arc<Table<E>> {
    if let Some(known) = tables.iter().find(|table| table.is_of(name)) {
        return Arc::clone(known);
    }
    let table = Arc::new(Table::new(name, max_keys, tables.len()));
    tables.push(Arc::clone(&table));
    table
}

impl LocalFailureStore for MemoryStore {
    fn count_now(&self, rules: &[Rule], requests: &[FailedRequest]) -> Vec<Incident> {
        self.trails(rules).count(requests)
    }

    fn account_now(&self, rules: &[Rule], account: AccountHash) -> AccountState {
        self.trails(rules).account(account)
    }
}

impl LocalVisitStore for MemoryStore {
    fn reach_now(&self, journeys: Journeys, reaches: &[Reach]) -> Vec<Progress> {
        let Journeys { window, stages, .. } = journeys;
        let name = format!("{}:{stages:08x}", window.as_micros());
        let table = named(&mut lock(&self.0.visitors), &name, self.0.max_keys);
        visits::reach(&*self.0.clock, &table, window, reaches)
    }
}

impl MemoryStore {
    /// Of each kind. A source that keeps more addresses than this busy with failures is no single client to report.
    const MOST_SUSPECTS: usize = 100_000;

    /// What clients failed at, of a kind, under a threshold.
    fn things(&self, kind: IncidentKind, threshold: Threshold) -> Arc<Table<Things>> {
        let max_keys = self.0.max_keys.min(Self::MOST_SUSPECTS);
        named(
            &mut lock(&self.0.things),
            &kept_by(kind, threshold),
            max_keys,
        )
    }

    fn trails(&self, rules: &[Rule]) -> Trails {
        let max_keys = self.0.max_keys.min(Self::MOST_SUSPECTS);
        let (of_items, of_failures): (Vec<Rule>, _) = rules.iter().partition(|rule| rule.distinct);
        let by_kind = bound_tables(&self.0.by_kind, of_failures, max_keys);
        let of_credentials = |kind| {
            matches!(
                kind,
                IncidentKind::CredentialStuffing | IncidentKind::CredentialStuffingSlow
            )
        };
        let logins = Logins {
            clock: Arc::clone(&self.0.clock),
            sketches: self.0.sketches.clone(),
            rules: bound_tables(&self.0.by_login, of_items, max_keys),
            failures: by_kind
                .iter()
                .filter(|(rule, _)| of_credentials(rule.kind))
                .cloned()
                .collect(),
        };
        Trails {
            clock: Arc::clone(&self.0.clock),
            rules: by_kind,
            logins,
        }
    }
}

/// The name of a table whose entries hold no more than a threshold asks for.
fn kept_by(kind: IncidentKind, threshold: Threshold) -> String {
    format!("{kind}:{threshold}")
}

/// Each rule with its table.
fn bound_tables<E: Entry>(
    tables: &Named<E>,
    rules: Vec<Rule>,
    max_keys: usize,
) -> Vec<(Rule, Arc<Table<E>>)> {
    let mut tables = lock(tables);
    let table = |rule: Rule| {
        let name = kept_by(rule.kind, rule.threshold);
        (rule, named(&mut tables, &name, max_keys))
    };
    rules.into_iter().map(table).collect()
}

/// A panic while a lock was held cannot leave a log half written that a later request would misread for longer
/// than its window, so a poisoned lock is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
