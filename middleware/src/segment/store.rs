//! The port of the segments, for authors of a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Criteria, Record, Timestamp};
pub use crate::model::Reply;
use crate::model::{Segment, UserId, Written};

/// Keeps the records of customers.
///
/// The contract that every store is held to, for each customer: `first_activity` is the earliest and `last_activity` the
/// latest moment of any activity or order, also of one that was counted before; a refund moves neither, unless it begins the
/// record. An order or a refund counts once, however often and by whichever process it is applied, as long as it is among
/// the newest 4,096 of the customer. An amount below zero counts as zero, and spend that would leave 64 bits stays at their
/// end. An erased customer stays erased, except for changes of a later moment. A record is kept for [`Keeping::retention`]
/// from the last change that was not dropped, whatever moment that change carries.
pub trait CustomerStore: Send + Sync + 'static {
    /// Prepares the store; binds share its records.
    fn keep_customers(&self, keeping: &Keeping) -> Arc<dyn KeepCustomers>;
}

/// A store bound to the settings of one layer. Each reply times out by itself.
pub trait KeepCustomers: Send + Sync + 'static {
    /// A customer's record.
    fn fetch(&self, customer: &UserId) -> Reply<Option<Record>>;

    /// Applies changes in their order, each whole or not at all; one [`Applied`] for each. A server is asked in one round
    /// trip for each 100 of them.
    ///
    /// After an error any of them may have been applied; applying them again does no harm.
    fn apply(&self, changes: &[Change]) -> Reply<Vec<Applied>>;

    /// Forgets a customer: the record, every index entry, the ids of orders; whether there was anything to forget.
    ///
    /// Changes that carry the moment `at` or an earlier one, and that are applied within ten minutes (they waited in some
    /// process), are dropped: their [`Applied::fresh`] is false.
    fn erase(&self, customer: &UserId, at: Timestamp) -> Reply<bool>;

    /// Everything that is kept of a customer.
    fn export(&self, customer: &UserId) -> Reply<Option<Export>>;

    /// Does one bounded step of upkeep and counts the population as of `now`; `None` while another process holds the
    /// lease, which lasts three times [`Keeping::sweep_every`].
    fn sweep(&self, now: Timestamp) -> Reply<Option<Sweep>>;

    /// Gives up the lease, so that another process need not wait for its end. It does nothing without the lease, or for a
    /// store that has none.
    fn end_sweep(&self) -> Reply<()> {
        Reply::Ready(Ok(()))
    }
}

/// Settings that a store needs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Keeping {
    /// How long a record is kept after the last change.
    pub retention: Duration,
    /// The criteria of VIPs and recencies, for the counts of the population.
    pub criteria: Criteria,
    /// How often [`KeepCustomers::sweep`] will be called.
    pub sweep_every: Duration,
}

impl Keeping {
    /// The default settings: 400 days, the default criteria, a sweep every 15 seconds.
    #[must_use]
    pub fn new() -> Self {
        Self {
            retention: Duration::from_secs(400 * 86_400),
            criteria: Criteria::default(),
            sweep_every: Duration::from_secs(15),
        }
    }

    /// The first setting that cannot be used, if there is one: its key, its value and what is allowed. `section` stands
    /// before another key, as `segments.` in a file.
    pub(super) fn refused(&self, section: &str) -> Option<(&'static str, Duration, String)> {
        let sweeps = Duration::from_secs(1)..=Duration::from_secs(3_600);
        let Criteria {
            at_risk_after,
            churned_after,
            ..
        } = self.criteria;
        let churned = Written(churned_after);
        if at_risk_after >= churned_after {
            let allowed = format!("less than `{section}churned_after`, {churned}");
            return Some(("at_risk_after", at_risk_after, allowed));
        }
        if self.retention <= churned_after {
            let allowed = format!("more than `{section}churned_after`, {churned}");
            return Some(("retention", self.retention, allowed));
        }
        if !sweeps.contains(&self.sweep_every) {
            let allowed = "a duration of `1s` to `1h`".to_owned();
            return Some(("sweep_every", self.sweep_every, allowed));
        }
        None
    }
}

impl Default for Keeping {
    fn default() -> Self {
        Self::new()
    }
}

/// Something that happened to a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The customer.
    pub customer: UserId,
    /// The moment.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

/// An event of a customer. Visits and orders are activity. A refund is not, unless it begins the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The customer was seen.
    Activity,
    /// An order, counted once by its key. The amount is in minor units of the criteria's currency, not negative.
    Order {
        /// The order's id.
        key: OrderKey,
        /// The amount that it adds to spend.
        amount: i64,
    },
    /// A refund, counted once by its key. The amount is in minor units of the criteria's currency, not negative. It is no
    /// activity: `last_activity` stays, unless the customer was unknown.
    Refund {
        /// The refund's id.
        key: OrderKey,
        /// The amount that it takes from spend.
        amount: i64,
    },
}

/// The id of an order or a refund, as stores keep it: 96 bits of SHA-256 over it.
///
/// No secret keys it, since every process must recognise an order after every restart. A customer who finds two ids
/// with one hash, after some 2^48 trials, only loses an order of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey([u8; 12]);

impl OrderKey {
    /// The key of an order.
    #[must_use]
    pub fn of_order(id: &str) -> Self {
        Self::of(&[b"order", id.as_bytes()])
    }

    /// The key of a refund of an order. One order may have several refunds, each with an id of its own.
    #[must_use]
    pub fn of_refund(order: &str, refund: &str) -> Self {
        Self::of(&[b"refund", order.as_bytes(), refund.as_bytes()])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; 12];
        key.copy_from_slice(&hash.finalize()[..12]);
        Self(key)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl From<[u8; 12]> for OrderKey {
    /// A key that a store has kept.
    fn from(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The customer as of after the change; `None` for a customer who was erased and has not come back.
    pub record: Option<Record>,
    /// Whether the change counted: false for an order or a refund that was counted before, and for a change from before
    /// the customer was erased.
    pub fresh: bool,
}

/// Everything that is kept of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The record.
    pub record: Record,
    /// The orders and refunds that were counted, the oldest first.
    pub counted: Vec<OrderKey>,
}

/// The result of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The customers of each segment, exact as of the sweep's moment.
    pub population: Population,
    /// How many index entries the step checked against their records.
    pub checked: u64,
    /// How many of them it mended or dropped.
    pub mended: u64,
}

/// How many customers are known, by segment. No known customer is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Population {
    /// [`Segment::Returning`].
    pub returning: u64,
    /// [`Segment::AtRisk`].
    pub at_risk: u64,
    /// [`Segment::Churned`].
    pub churned: u64,
    /// [`Segment::Vip`], whatever their recency.
    pub vip: u64,
}

impl Population {
    /// The customers of a segment.
    #[must_use]
    pub const fn of(&self, segment: Segment) -> u64 {
        match segment {
            Segment::New => 0,
            Segment::Returning => self.returning,
            Segment::AtRisk => self.at_risk,
            Segment::Churned => self.churned,
            Segment::Vip => self.vip,
        }
    }
}
