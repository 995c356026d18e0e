//! Shares limits, failures, bans, customers, visitors and sessions between all processes that use one Redis server, 6.2 or newer. It is
//! exact, on the server's clock. All requests share one multiplexed connection.
//!
//! ```
//! use palisade::store::redis::RedisStore;
//!
//! let store = RedisStore::builder("redis://127.0.0.1:6379").prefix("shop:").build()?;
//! assert!(!store.health().is_breaker_open());
//! # Ok::<(), palisade::ConfigError>(())
//! ```
//!
//! # Limits
//! One script decides a request under all of its policies in one round trip. Requests that arrive during a call go together
//! into the next call, in order of arrival. Under load that decides about twice as many requests for the same Redis CPU as a
//! call for each.
//!
//! A log takes five bytes for each unit of admitted cost and expires with its window. A key with 200 hits stays below
//! 1,400 bytes however it was filled. A key that holds anything else is dropped, begun afresh and counted
//! ([`StoreHealth::broken_logs`]).
//!
//! # Failures
//! Failures have a script of their own, off the requests' path: one call counts up to 32 failed requests, for all kinds. It
//! shares the connection, the deadline and the breaker. The key of a client and a kind is a *trail*, and names its threshold and
//! window: `<prefix>suspicious:404:10/300s:<client>`. So a changed threshold begins anew. It takes 23 bytes, five
//! for each failure up to the threshold, and the last eight routes with a byte each. It expires with its window.
//!
//! What counts distinct items (the kinds of logins, and others where the configuration says so) has another script, whose call leaves together with that one. A key takes 17 bytes, and 13 for each
//! of the newest 64 distinct items. In an episode with more items than that, or one that outlives the window, their number
//! is estimated by Redis's HyperLogLog (standard error 0.81 %). The estimate is a second key `…:sketch` of at most 14.4 kB,
//! with the same expiry, and begins anew with each episode.
//!
//! **Sizes.** Measured on Redis 7.0, with the key's own bytes: 200 to 230 bytes for a trail with one failure or login, 470
//! with 20 failures on one route, 1,430 at most (eight longest routes), 1,080 with 64 distinct items. A 404 keeps two trails
//! for 5 minutes. A 401 keeps two as well, and one for 2 hours. A failed login with every kind on keeps two more, one of them
//! (the account's) for an hour.
//!
//! **A flood of networks.** A client can fail from a fresh IPv6 /64 each time, and no limit for each client helps against
//! that. So failures have a budget, as visitors and customers do ([`RedisStoreBuilder::analytics_memory`]): beyond it a trail
//! that would be new is not made, and the layer counts the failure in the memory of its process. All processes share the count
//! of what is there, a key of at most some kB for each kind, `<prefix>ledger:<kind>`. Besides:
//!
//! - The queue of each process drops failures that arrive faster than they are counted.
//! - With `client.ipv6_prefix = 56` or `48` such a client is one of few, and meets the `ip` limit.
//! - A kind that is off takes nothing.
//!
//! # Bans
//! A ban is a key of 19 bytes, `<prefix>ban:<client>` or `<prefix>ban:user:<id>`, that expires a day after its end. It is also an entry of an index, which lists at most 10,000
//! bans. An error of a ban's call opens the breaker only if it is an error of the connection.
//!
//! What counts towards a ban is a sorted set for each client (or `user:<id>`) and kind, `<prefix>suspicious:<signal>-things:<count>/<window>:<client>`, of fewer
//! things than the threshold; it expires with the kind's window, and goes with the ban that it leads to. Measured with the key's
//! own bytes: 140 with one thing, 550 with 20, and up to 100 kB with 1,000. One script counts the failures of a batch and bans:
//! 1.5 ms of the server's time for 32 failures of all five kinds with thresholds of 1,000.
//!
//! # Customers
//! A customer is one hash, `<prefix>customer:{<id>}`, which every change extends by the retention. It is also a member of one
//! of two sorted sets by last activity, one of the VIPs and one of the others. One script keeps hash and set together, up to
//! 100 changes in a call of 1.1 ms of the server's time (16 µs for a change alone). It recognises the newest 4,096 orders and
//! refunds of a customer when they come again.
//!
//! The population is four counts of these sets. Their upkeep (see
//! [`KeepCustomers::sweep`](crate::segment::store::KeepCustomers)) and the load of a history ([`CustomerLoader`]) use
//! connections of their own.
//!
//! A customer with an order takes some 300 bytes, 184 of them the hash, and one with ten orders has a hash of 552. A history
//! of 23,570 customers with three orders each took 383 bytes each, expiry and key included.
//!
//! Beyond their part of [`analytics_memory`](RedisStoreBuilder::analytics_memory) the sweep forgets who was last active longest ago,
//! up to 4,000 in a step: those who are no VIPs first. A customer counts as 400 bytes. No change is refused.
//!
//! # Which servers
//! One server, or the current master behind Sentinel. A Redis Cluster is not supported yet: it needs all keys of a call in one
//! slot, and an address and a user, or a customer and the sets, lie apart. [`RedisStore::examine`] tells at start of a Cluster,
//! of a replica, and of each command that this user may not run; `docs/operations.md` in the repository lists those that are
//! needed. Found later, each is an outage, and the log names it.
//!
//! # Visitors
//! The visitors of a funnel have a script too, called in the same way. A visitor's key,
//! `<prefix>funnel:<window>:<stages>:<visitor>`, takes ten bytes, and seven for each stage after the first, beside its name.
//! `<stages>` is a fingerprint of their names in order. It expires a minute after its window, or after a minute without a counted stage. Beyond their part of the memory a new visitor is not kept
//! ([`Progress::refused`](crate::funnel::store::Progress::refused)).
//!
//! # Sessions
//! A session is a record that expires at its end, `<prefix>session:{<user>}:<id>`, and an entry of its user's index
//! (`<prefix>sessions:{<user>}`), of one of sixteen indices of all that live (`<prefix>sessions-live:<digit>`) and, for two
//! hours, of its origin's (`<prefix>sessions-from:<origin>`). Beside them a user has an epoch (`<prefix>session-epoch:{<user>}`)
//! that is kept for a day and while a session may live, and counts by hour (`<prefix>session-hours:{<user>}`), which are kept
//! for 31 days. A record has the hash of the secret and no
//! address. Each call is one script; it reads the records of a user in one step, so that no cap, no end and no rotation
//! overlooks another.
//!
//! A typical session takes at most 500 bytes, with its share of all keys where a user has ten. A user has at most 1,024
//! sessions; one more is refused ([`Created::Full`](crate::session::store::Created::Full)).
//!
//! An index that was lost is filled by activity. An epoch that was lost ends its user's sessions, and no later one is the
//! same. While the clock, having stepped back, is before a user's last `end_all`, a login that an identity provider dates is
//! refused.
//!
//! # When the server fails
//! A request waits for its [deadline](RedisStoreBuilder::deadline) at most. After a row of failures the
//! [breaker](RedisStoreBuilder::breaker) opens, and requests fail at once for the cost of an atomic load. A task probes
//! meanwhile what requests ask (every command of a decision, and the real script on keys of its own), and closes the breaker
//! when the server has decided and written. It runs on the runtime of
//! the call that opened the breaker, so that must go on being driven. A failed call is not repeated, since it may have been
//! executed. Each layer says what becomes of its requests until then:
//! [`rate_limit`](crate::rate_limit#when-the-store-fails), [`suspicion`](crate::suspicion#when-the-store-fails),
//! [`segment`](crate::segment#segments) and [`funnel`](crate::funnel#visitors).
//!
//! # Two services
//! Services that share a server need a prefix each: under one they count each other's requests, and honour each other's bans.
//! A stack with telemetry marks its prefix with its namespace, in the key `<prefix>service`, which expires an hour after its
//! last process. A second service that finds the marker of another logs `prefix_shared` with both names. The marker has 32
//! bits of an HMAC by the configured secret too: a process of the same service with another secret logs `secret_differs`.
//!
//! # What a loss can add
//! - A log lost on the server (flush, failover to a replica that lagged, eviction under `maxmemory`) begins afresh, and so
//!   can admit one more quota in a window.
//! - A lost hash makes its customer new. A lost index misses customers in the population until their next change.
//! - If the server's clock steps back, stamps from the future count as made now.
//! - A log is named by its policy, window and kind of key. So a changed window starts empty, and can admit one more quota for as
//!   long as the old one would have counted. A changed limit keeps the history.

mod address;
mod answer;
mod bans;
mod breaker;
mod budget;
mod builder;
mod call;
mod claims;
mod commands;
mod connection;
mod customers;
mod dispatch;
mod error;
mod examine;
mod failures;
mod health;
mod keys;
mod limits;
mod logins;
mod marker;
mod probe;
mod secrets;
mod server;
mod sessions;
mod visits;
mod words;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::budget::Budget;
use self::connection::Connections;
use self::dispatch::Queue;
use self::health::State;
use self::keys::Prefix;
use self::marker::Marker;
use super::{AnalyticsMemory, Operation, Outcome};
use crate::model::StoreError;

pub use builder::RedisStoreBuilder;
pub use customers::CustomerLoader;
pub use examine::{DeniedCommand, Examination};
pub use health::StoreHealth;

/// The store of all processes that share a Redis server. Clones share the connection.
#[derive(Clone)]
pub struct RedisStore(Arc<Core>);

type Observer = Arc<dyn Fn(Operation, Outcome, Duration) + Send + Sync>;

struct Core {
    connections: Arc<Connections>,
    health: Arc<State>,
    queue: Queue,
    prefix: Prefix,
    /// Server, database and prefix, for people to read.
    place: Box<str>,
    deadline: Duration,
    probe_interval: Duration,
    marker: Marker,
    budget: Budget,
    observer: Option<Observer>,
    /// The observer of the one stack that watches the store.
    watcher: OnceLock<Observer>,
}

impl RedisStore {
    /// A store on the server at `url`: `redis://[<user>[:<password>]@]<host>[:<port>][/<database>]`,
    /// `unix://<path>`, or with the feature `redis-tls` also `rediss://…`.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    /// How the store fares; the handle outlives the store.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        StoreHealth::of(Arc::clone(&self.0.health))
    }

    /// Tells one more observer of every call; false if a stack's is told already.
    pub(crate) fn watch(
        &self,
        observer: impl Fn(Operation, Outcome, Duration) + Send + Sync + 'static,
    ) -> bool {
        self.0.watcher.set(Arc::new(observer)).is_ok()
    }

    pub(crate) fn prefix(&self) -> &str {
        self.0.prefix.as_str()
    }

    pub(crate) fn analytics_memory(&self) -> AnalyticsMemory {
        self.0.budget.setting
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// Asks the server to decide and write now, on a connection of its own: a readiness check.
    ///
    /// # Errors
    /// The error that a request would meet, were the breaker closed.
    pub async fn check(&self) -> Result<(), StoreError> {
        Ok(self.0.probe().await?)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.0.prefix)
            .field("deadline", &self.0.deadline)
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
