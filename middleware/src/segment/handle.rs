use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::drain::Drain;
use super::events::{Order, Refund};
use super::registry::{Refused, Registry, Sought};
use super::{Change, Currency, Event, Export, Standing, Timestamp};
use crate::model::{StoreError, UserId};
use crate::task::ticker;

/// The segment layer's handle for the service, outside of a request. Clones share it.
///
/// ```
/// use palisade::client::{Secret, UserId};
/// use palisade::segment::{Currency, Money, Order, Refund, Segment, ClassifyLayer};
/// use palisade::store::memory::MemoryStore;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let layer = ClassifyLayer::builder(MemoryStore::new()).build()?;
/// let customers = layer.customers().unwrap();
/// let ada = UserId::new("ada", &Secret::random()?);
///
/// let usd = |cents| Money::new(cents, Currency::USD);
/// assert!(customers.record_order(&ada, &Order::new("A-1", usd(50_001))).await?);
/// // The payment provider calls again: counted once.
/// assert!(!customers.record_order(&ada, &Order::new("A-1", usd(50_001))).await?);
/// assert_eq!(customers.standing(&ada).await.unwrap().segment(), Segment::Vip);
///
/// customers.record_refund(&ada, &Refund::of("A-1", usd(1))).await?;
/// assert_eq!(customers.standing(&ada).await.unwrap().segment(), Segment::Returning);
///
/// assert!(customers.erase(&ada).await?);
/// assert_eq!(customers.export(&ada).await?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Customers {
    registry: Arc<Registry>,
}

impl Customers {
    /// Starts the sweep, and the task that writes what an earlier process left, if the call has a runtime.
    pub(super) fn new(registry: &Arc<Registry>) -> Self {
        ticker::start(registry);
        if registry.writer.left() > 0 {
            Drain::start(registry);
        }
        Self {
            registry: Arc::clone(registry),
        }
    }

    /// Records an order, and waits until the store has it; whether it counted: `false` for an id that was counted before.
    ///
    /// After an error it may have been recorded; recording it again does no harm.
    ///
    /// # Errors
    /// An amount below zero or beyond 2^53 - 1, and the store's failure.
    pub async fn record_order(&self, user: &UserId, order: &Order) -> Result<bool, RecordError> {
        let event = self.registry.order(order.key, order.amount)?;
        self.record(user, event).await
    }

    /// Records a refund as [`record_order`](Self::record_order) does an order.
    ///
    /// # Errors
    /// As there.
    pub async fn record_refund(&self, user: &UserId, refund: &Refund) -> Result<bool, RecordError> {
        let event = self.registry.refund(refund.key, refund.amount)?;
        self.record(user, event).await
    }

    async fn record(&self, user: &UserId, event: Event) -> Result<bool, RecordError> {
        let changes = [Change {
            customer: user.clone(),
            at: self.registry.now(),
            event,
        }];
        self.registry.cache.expect(user);
        let versions = self.registry.versions(&changes);
        let applied = self.registry.store.apply(&changes).await;
        let applied = applied.map_err(RecordError::Store)?;
        self.registry.confirm(&changes, &versions, &applied);
        Ok(applied.iter().any(|applied| applied.fresh))
    }

    /// Records that the customer is active, as a request does. It returns at once; the store has it soon, at most one
    /// activity a minute for each customer.
    pub fn record_activity(&self, user: &UserId) {
        self.registry.touch(user);
    }

    /// The customer's segment, from this process's cache where it can be; `None` when the store does not answer.
    pub async fn standing(&self, user: &UserId) -> Option<Standing> {
        match self.registry.seek(user, false).0 {
            Sought::Now(standing) => standing,
            Sought::Later(standing) => standing.await,
        }
    }

    /// Forgets a customer: everything that the store keeps, and this process's cache and unwritten changes.
    /// Whether the store had anything to forget. Other processes may remember the customer for as long as they cache.
    /// Data of other layers about the user (quotas, the funnel's visits, suspicions) is not the customer's and expires by
    /// itself. The moment is this process's: recent activity in another process, whose clock is ahead, can come back.
    ///
    /// # Errors
    /// The store's failure: the customer may not be forgotten yet.
    pub async fn erase(&self, user: &UserId) -> Result<bool, StoreError> {
        let Registry {
            store,
            cache,
            writer,
            ..
        } = &*self.registry;
        let at = self.registry.now();
        let forget = || {
            writer.forget(user);
            cache.remove(user);
        };
        forget();
        let erased = store.erase(user, at).await;
        // Records that requests read, and changes that they left, during the call to the store.
        forget();
        erased
    }

    /// Everything that the store keeps of a customer, as JSON: `id`, `first_activity` and `last_activity` (RFC 3339),
    /// `spend` in minor units of `currency`, `orders`, and `counted`, the hashes of the orders and refunds that were
    /// counted, the oldest first.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn export(&self, user: &UserId) -> Result<Option<String>, StoreError> {
        let export = self.registry.store.export(user).await?;
        let currency = self.registry.criteria.currency;
        Ok(export.map(|export| json(user, &export, currency)))
    }

    /// Writes everything that waits to be written, and leaves the count of the population to another process, for so long
    /// at most: for the end of the process. What the store has not taken by then goes into the
    /// [`spill_file`](super::ClassifyLayerBuilder::spill_file), if there is one.
    pub async fn flush(&self, within: Duration) -> Flushed {
        let writer = &self.registry.writer;
        let before = self.registry.tally.taken();
        let written_and_left = async {
            // A store that lost its data answers with a younger record, and the first of a customer's activities is due
            // once more.
            for _ in 0..2 {
                writer.hasten();
                Drain::start(&self.registry);
                writer.until_idle().await;
            }
            self.registry.leave_population().await;
        };
        let _ = tokio::time::timeout(within, written_and_left).await;
        let (spilled, left) = self.registry.spill().await;
        Flushed {
            written: self.registry.tally.taken() - before,
            spilled,
            left,
        }
    }
}

impl fmt::Debug for Customers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Customers")
            .field("criteria", &self.registry.criteria)
            .finish_non_exhaustive()
    }
}

/// The result of a [`Customers::flush`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Flushed {
    /// How many changes the store has taken meanwhile.
    pub written: u64,
    /// How many wait in the file for the next start.
    pub spilled: usize,
    /// How many are in this process alone, and lost with it.
    pub left: usize,
}

impl Flushed {
    /// Whether everything is written, or waits in the file.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left == 0
    }
}

/// Why an order or a refund was not recorded.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// The amount is below zero or beyond 2^53 - 1 minor units.
    Amount,
    /// The store failed; it may have recorded it, and recording it again does no harm.
    Store(StoreError),
}

impl From<Refused> for RecordError {
    fn from(Refused: Refused) -> Self {
        Self::Amount
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount => f.write_str("the amount is below zero or beyond 2^53 - 1 minor units"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for RecordError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Amount => None,
            Self::Store(error) => error.source(),
        }
    }
}

/// No text in it needs escaping: a user's id is of `A-Za-z0-9._@~-`, a currency of three letters.
fn json(user: &UserId, export: &Export, currency: Currency) -> String {
    let Export { record, counted } = export;
    let mut json = format!(r#"{{"id":"{user}","first_activity":""#);
    push_rfc3339(&mut json, record.first_activity);
    json.push_str(r#"","last_activity":""#);
    push_rfc3339(&mut json, record.last_activity);
    let (spend, orders) = (record.spend, record.orders);
    let _ = write!(
        json,
        r#"","spend":{spend},"currency":"{currency}","orders":{orders},"counted":["#
    );
    for (index, key) in counted.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(json, r#"{comma}"{key}""#);
    }
    json.push_str("]}");
    json
}

/// A later moment than the end of 9999, the last year that RFC 3339 can write, is written as that end.
fn push_rfc3339(json: &mut String, at: Timestamp) {
    const LAST: u64 = 253_402_300_799_999;
    let at = Duration::from_millis(at.as_millis().min(LAST));
    let _ = write!(
        json,
        "{}",
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + at)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use crate::segment::{OrderKey, Record};

    #[test]
    fn an_export_is_json_whatever_the_customer_is_called() {
        let record = Record {
            last_activity: Timestamp::from_millis(u64::MAX),
            spend: -5,
            orders: 2,
            ..Record::seen(Timestamp::from_millis(1_500))
        };
        let counted = vec![OrderKey::from([0; 12]), OrderKey::from([255; 12])];
        let export = Export { record, counted };
        let user = UserId::new("\"a\"\n", &Secret::from_bytes(b"secret"));
        let read: serde_json::Value =
            serde_json::from_str(&json(&user, &export, Currency::USD)).unwrap();
        assert_eq!(read["id"], user.as_str());
        assert_eq!(read["first_activity"], "1970-01-01T00:00:01.500Z");
        assert_eq!(read["last_activity"], "9999-12-31T23:59:59.999Z");
        assert_eq!((&read["spend"], &read["orders"]), (&(-5).into(), &2.into()));
        assert_eq!(read["currency"], "USD");
        let keys = ["0".repeat(24), "f".repeat(24)];
        assert_eq!(read["counted"], serde_json::json!(keys));
    }
}
