//! A history of orders, written in large calls on a connection of their own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Rules;
use super::record::applied;
use crate::model::{Operation, StoreError};
use crate::segment::{Change, Keeping};
use crate::store::redis::{Core, RedisStore};

/// Changes in a call: a server applies them in about 5 ms, during which it serves nobody else.
const BATCH: usize = 500;
/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Writes the history from before there was a store: the backfill of customers.
///
/// It applies changes as [`KeepCustomers::apply`](crate::segment::store::KeepCustomers::apply) does, in larger calls under a
/// deadline of 10 s each, on a connection of its own, and whether the requests' breaker is open or not. Loading a
/// history again counts nothing twice and does nothing but begin the retention anew, as long as no customer has more
/// than 4,096 orders and refunds.
///
/// ```no_run
/// use palisade::client::{Secret, UserId};
/// use palisade::segment::{Change, Event, Keeping, OrderKey, Timestamp};
/// use palisade::store::redis::RedisStore;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder("redis://127.0.0.1:6379").build()?;
/// let loader = store.customer_loader(&Keeping::new());
/// let orders = vec![Change {
///     customer: UserId::new("ada", &Secret::from_bytes(b"shared by all processes")),
///     at: Timestamp::from_millis(852_076_800_000),
///     event: Event::Order { key: OrderKey::of_order("1"), amount: 1_177 },
/// }];
/// for chunk in orders.chunks(5_000) {
///     let counted = loader.load(chunk).await?;
///     println!("{counted} of {} orders counted", chunk.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CustomerLoader {
    core: Arc<Core>,
    rules: Rules,
}

impl RedisStore {
    /// Loads customers under these settings; retention runs from the load.
    #[must_use]
    pub fn customer_loader(&self, keeping: &Keeping) -> CustomerLoader {
        CustomerLoader {
            core: Arc::clone(&self.0),
            rules: Rules::of(keeping),
        }
    }
}

impl CustomerLoader {
    /// Applies changes in their order, any number of them; how many counted that had not before. A caller that shows
    /// progress loads some thousands at a time.
    ///
    /// # Errors
    /// The first failure of the server. Earlier changes were applied; loading them again does no harm.
    pub async fn load(&self, changes: &[Change]) -> Result<u64, StoreError> {
        let mut counted = 0;
        for changes in changes.chunks(BATCH) {
            let call = self.rules.apply(&self.core.prefix, changes);
            let read = |reply| applied(reply, changes.len());
            let loading = self.core.ask_apart(&call, DEADLINE, read);
            let applied = self.core.apart(Operation::Record, loading).await?;
            counted += applied.iter().filter(|applied| applied.fresh).count() as u64;
        }
        Ok(counted)
    }
}

impl fmt::Debug for CustomerLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerLoader").finish_non_exhaustive()
    }
}
