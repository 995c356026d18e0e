//! Limits, failures and customers shared by every process that uses one Redis server, 6.2 or newer: exact, on the server's clock.
//!
//! One script decides a request under all of its policies in one round trip. What is asked while a call is under
//! way goes into the next call together, in order of arrival, which under load decides about twice as many requests
//! for the same Redis CPU as a call for each. All requests share one multiplexed connection.
//!
//! A log takes five bytes for each unit of admitted cost and expires with its window; a key that holds 200 hits
//! stays below 1,400 bytes however it was filled. A key that holds anything else is dropped, begun afresh and
//! counted ([`StoreHealth::broken_logs`]).
//!
//! What clients' failures add up to has a script of its own: one call for all kinds of up to 32 failed requests, off the
//! requests' path, on the same connection and under the same deadline and breaker. A client's key takes five bytes for
//! each failure up to the threshold, 25, and the last eight routes, and expires with its window.
//!
//! A ban is a key of 19 bytes that expires a day after its end, and an entry of an index from which at most 10,000 bans
//! can be listed. What bans meet opens the breaker only if it is of the connection.
//!
//! A customer is one hash, `<prefix>customer:{<id>}`, which every change extends by the retention, and a member of one of
//! two sorted sets by last activity: the VIPs, the others. One script keeps both together, up to 100 changes in a call
//! of 1.1 ms of the server's time (16 µs for a change alone), and knows the newest 4,096 orders and refunds of a customer again. The
//! population is four counts of these sets. Their upkeep (see [`KeepCustomers::sweep`](crate::segment::store::KeepCustomers)) and
//! the load of a history ([`CustomerLoader`]) use connections of their own. A customer with an order takes some 300
//! bytes, 184 of them the hash; the history of 23,570 customers with three orders each took 383 each, expiry and key
//! included, and one with ten orders has a hash of 552. The indices are apart from the hashes: on a Redis Cluster, which
//! needs the keys of a call in one slot, customers cannot be kept.
//!
//! How far the visitors of a funnel came has a script too, called in the same way. A visitor's key takes ten bytes, and
//! seven for each stage after the first, beside its name, and expires a minute after its window; without a counted stage,
//! after a minute.
//!
//! The kinds of logins have another script, whose call leaves together with that one. A key takes 13 bytes for each of the
//! newest 64 distinct items and 17. In an episode whose items exceed that, or outlive the window, their number is an
//! estimate by Redis's HyperLogLog (standard error 0.81 %) in a second key `…:sketch` of 14.4 kB at most, with the same
//! expiry; it begins anew with each episode.
//!
//! # What failures can take
//! Measured on Redis 7.0, with the key's own bytes: 200 to 230 bytes for a trail with one failure or login, 470 with 20
//! failures on one route, 1,430 at most (eight longest routes); 1,080 for one with 64 distinct items. A 404 keeps two
//! trails for 5 minutes; a 401 as many, and one for 2 hours; a failed login with every kind on, two more, one of them (the
//! account's) for an hour.
//!
//! So a client that fails from a fresh IPv6 /64 each time, against which no limit for each client helps, takes up to 1.1 kB
//! with each 401: a whole /48 (65,536 networks) 70 MB, and 1,000 fresh networks a second 2.5 GB in the steady state, most of
//! it for the slow kind. What bounds that is Redis's `maxmemory`: with `noeviction` a full server is an outage, for which there
//! are the failure modes, until keys expire; with a `volatile-*` policy it forgets, since every key expires, and nobody hears
//! of it (`redis/redis.conf` in the repository weighs them). Further, the queue of each process, which drops what comes faster
//! than it is counted; `client.ipv6_prefix = 56` or `48`, under which such a client is one of few, and meets the `ip` limit;
//! and a kind that is off takes nothing.
//!
//! # When the server fails
//! A request waits for its [deadline](RedisStoreBuilder::deadline) at most. After a row of failures the
//! [breaker](RedisStoreBuilder::breaker) opens: requests fail at once, for the cost of an atomic load, while a task
//! of its own probes with the real script, and lets them back when it was decided and written. What happens to a
//! request meanwhile is the layer's failure mode. A failed call is not repeated, since it may have been executed.
//!
//! # What a loss can add
//! A log lost on the server (flush, failover to a replica that lagged, eviction under `maxmemory`) begins afresh,
//! and so can admit one more quota in a window. A customer's hash that is lost makes a new customer; an index that is lost
//! misses customers in the population until their next change. Should the server's clock step back, stamps from the future count
//! as made now. A shorter window forgets what lies beyond it as soon as it admits, so lengthening it again counts
//! from there.
//!
//! ```
//! use palisade::store::redis::RedisStore;
//!
//! let store = RedisStore::builder("redis://127.0.0.1:6379").prefix("shop:").build()?;
//! assert!(!store.health().is_breaker_open());
//! # Ok::<(), palisade::ConfigError>(())
//! ```
mod answer;
mod bans;
mod breaker;
mod builder;
mod call;
mod connection;
mod customers;
mod dispatch;
mod failure;
mod failures;
mod health;
mod keys;
mod limits;
mod logins;
mod probe;
mod visits;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::connection::Connections;
use self::dispatch::Queue;
use self::health::State;
use self::keys::Prefix;
use super::{Operation, Outcome};
use crate::model::StoreError;

pub use builder::RedisStoreBuilder;
pub use customers::CustomerLoader;
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
    deadline: Duration,
    probe_interval: Duration,
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

    pub(crate) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// Asks the server to decide and write now, on a connection of its own: a readiness check.
    ///
    /// # Errors
    /// What a request would meet, were the breaker closed.
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
