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
//! A customer is one hash, `<prefix>customer:{<id>}`, which every change extends by the retention, and a member of one of
//! two sorted sets by last activity: the VIPs, the others. One script keeps both together, up to 100 changes in a call
//! of 1.1 ms of the server's time (16 µs for a change alone), and knows the newest 4,096 orders and refunds of a customer again. The
//! population is four counts of these sets. Their upkeep (see [`KeepCustomers::sweep`](crate::segment::KeepCustomers)) and
//! the load of a history ([`CustomerLoader`]) use connections of their own. A customer with an order takes some 300
//! bytes, 184 of them the hash; the history of 23,570 customers with three orders each took 383 each, expiry and key
//! included, and one with ten orders has a hash of 552. The indices are apart from the hashes: on a Redis Cluster, which
//! needs the keys of a call in one slot, customers cannot be kept.
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
mod breaker;
mod builder;
mod connection;
mod count_failures;
mod customer_replies;
mod customer_scripts;
mod customers;
mod dispatch;
mod failure;
mod failures;
mod health;
mod keys;
mod load_customers;
mod probe;
mod scripts;
mod sweep_customers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use self::connection::Connections;
use self::count_failures::CountFailures;
use self::customer_scripts::CustomerScripts;
use self::dispatch::Queue;
use self::health::State;
use self::keys::Prefix;
use self::scripts::{AdmitRequest, Ask};
use super::{Operation, Outcome};
use crate::rate_limit::{Admission, Admit, Charge, Store, StoreError, StoreErrorKind, Verdict};

pub use builder::RedisStoreBuilder;
pub use health::StoreHealth;
pub use load_customers::CustomerLoader;

/// The store of all processes that share a Redis server. Clones share the connection.
#[derive(Clone)]
pub struct RedisStore(Arc<Core>);

type Observer = Arc<dyn Fn(Operation, Outcome, Duration) + Send + Sync>;

struct Core {
    script: AdmitRequest,
    count_failures: CountFailures,
    customers: CustomerScripts,
    connections: Arc<Connections>,
    health: Arc<State>,
    queue: Queue,
    prefix: Prefix,
    probe_key: String,
    deadline: Duration,
    probe_interval: Duration,
    observer: Option<Observer>,
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

    /// Asks the server to decide and write now, on a connection of its own: a readiness check.
    ///
    /// # Errors
    /// What a request would meet, were the breaker closed.
    pub async fn check(&self) -> Result<(), StoreError> {
        Ok(self.0.probe().await?)
    }
}

impl Core {
    fn reject_if_open(&self) -> Option<Admission> {
        self.health.breaker.is_open().then(|| {
            self.observe(Operation::Admit, Outcome::Rejected, Duration::ZERO);
            Admission::Ready(Err(StoreError::new(StoreErrorKind::Rejected)))
        })
    }

    fn observe(&self, operation: Operation, outcome: Outcome, took: Duration) {
        if let Some(observer) = &self.observer {
            observer(operation, outcome, took);
        }
    }
}

impl Store for RedisStore {
    fn bind(&self, policies: &[Arc<str>]) -> Arc<dyn Admit> {
        let prefixes = policies
            .iter()
            .map(|policy| self.0.prefix.of_policy(policy));
        Arc::new(Bound {
            core: Arc::clone(&self.0),
            prefixes: prefixes.collect(),
        })
    }
}

/// The store for the policies of one layer.
struct Bound {
    core: Arc<Core>,
    /// What the keys of each policy start with.
    prefixes: Box<[Box<str>]>,
}

impl Admit for Bound {
    fn is_failing(&self) -> bool {
        self.core.health.breaker.is_open()
    }

    fn admit(&self, charges: &[Charge<'_>]) -> Admission {
        if charges.is_empty() {
            return Admission::Ready(Ok(Verdict {
                admitted: true,
                tiers: SmallVec::new(),
            }));
        }
        let refused = |why: &'static str| {
            Admission::Ready(Err(StoreError::new(StoreErrorKind::Failed).with_source(why)))
        };
        if charges.len() > AdmitRequest::MAX_CHARGES {
            return refused("a request under more than 1000 policies");
        }
        // First, so that an open breaker costs a request an atomic load and no allocation.
        if let Some(rejected) = self.core.reject_if_open() {
            return rejected;
        }
        let mut ask = Ask::with_room_for(charges.len());
        for charge in charges {
            let Some(prefix) = self.prefixes.get(charge.policy) else {
                return refused("a policy that was not bound");
            };
            ask.push(charge, prefix);
        }
        self.core.ask(ask)
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
