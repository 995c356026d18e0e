//! Everything that the requests of one layer share.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;

use super::action::Actions;
use super::cache::{Cache, Found, Met, Touched};
use super::drain::Drain;
use super::events::CustomerEvents;
use super::flight::{Leading, follow};
use super::spill::Spill;
use super::store::{KeepCustomers, Reply};
use super::tally::{ChangeKind, ChangeResult, SegmentTally};
use super::writer::{Taken, Writer};
use super::{Change, Criteria, Event, Money, OrderKey, Record, Standing, Timestamp, WallClock};
use crate::log::{Fallback, Losses};
use crate::model::{Country, Segment, UserId};
use crate::task::shielded;
use crate::task::ticker::Ticker;

pub(super) struct Registry {
    pub(super) store: Arc<dyn KeepCustomers>,
    pub(super) criteria: Criteria,
    pub(super) clock: Box<dyn WallClock>,
    pub(super) cache: Cache,
    pub(super) writer: Writer,
    pub(super) actions: Actions,
    pub(super) tally: Arc<SegmentTally>,
    pub(super) convert: Option<Convert>,
    pub(super) sweeps: Ticker,
    /// Whether the store takes changes.
    pub(super) fallback: Fallback,
    pub(super) losses: Losses,
    /// Where changes wait for the next start.
    pub(super) spill: Option<Spill>,
}

/// Makes an amount one of the criteria's currency, in minor units.
pub(super) type Convert = Box<dyn Fn(Money) -> Option<i64> + Send + Sync>;

/// A lookup's result, now or later.
pub(super) enum Sought {
    /// `None` when the store failed.
    Now(Option<Standing>),
    Later(Awaited),
}

pub(super) type Awaited = Pin<Box<dyn Future<Output = Option<Standing>> + Send>>;

/// An amount that cannot be one: below zero, or more than every store can hold exactly.
pub(super) struct Refused;

impl Registry {
    /// The highest amount, in minor units.
    pub(super) const MOST: i64 = (1 << 53) - 1;

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    pub(super) fn standing<E>(
        &self,
        found: Result<Option<Record>, E>,
        now: Timestamp,
    ) -> Option<Standing> {
        let record = found.ok()?;
        Some(self.criteria.standing(record.as_ref(), now))
    }

    /// The customer's view before this moment, and whether the customer was touched, which happens only if `touch` asks
    /// for it and the cache knows the customer.
    pub(super) fn seek(self: &Arc<Self>, user: &UserId, touch: bool) -> (Sought, bool) {
        let now = self.now();
        let found = match self.cache.meet(user, now, touch) {
            Met::Known(record, due) => {
                if let Some(due) = due {
                    self.schedule(user, due);
                }
                return (Sought::Now(self.standing(Found::Ok(record), now)), touch);
            }
            Met::InFlight(landed) => {
                Sought::Later(Box::pin(follow(Arc::clone(self), user.clone(), landed)))
            }
            Met::Leads { id, tell } => {
                let leading = Leading::new(self, user, id, tell);
                match self.store.fetch(user) {
                    Reply::Ready(result) => Sought::Now(self.standing(leading.land(result), now)),
                    Reply::Pending(later) => Sought::Later(Box::pin(leading.wait(later))),
                }
            }
            Met::Full => match self.store.fetch(user) {
                Reply::Ready(result) => Sought::Now(self.standing(result, now)),
                Reply::Pending(later) => {
                    let registry = Arc::clone(self);
                    Sought::Later(Box::pin(async move {
                        let result = later.await;
                        registry.standing(result, registry.now())
                    }))
                }
            },
        };
        (found, false)
    }

    /// The customer is active.
    pub(super) fn touch(self: &Arc<Self>, user: &UserId) {
        match self.cache.touch(user, self.now()) {
            Touched::Scheduled => {}
            Touched::Schedule(due) => self.schedule(user, due),
            Touched::Full => self.lose(ChangeKind::Activity),
        }
    }

    fn schedule(self: &Arc<Self>, user: &UserId, due: Timestamp) {
        self.writer.schedule(user.clone(), due);
        Drain::start(self);
    }

    /// Counts a response for its customer.
    pub(super) fn heed(
        self: &Arc<Self>,
        visit: &Visit,
        status: StatusCode,
        events: Option<&CustomerEvents>,
    ) {
        if !status.is_success() {
            return;
        }
        if let Some(segment) = visit.segment {
            let said = events.filter(|events| !events.actions.is_empty());
            let count = |action| self.tally.count(segment, action, visit.country);
            match said {
                Some(events) => {
                    let names = events.actions.iter();
                    names
                        .filter_map(|name| self.actions.named(name))
                        .for_each(count);
                }
                None => visit.action.into_iter().for_each(count),
            }
        }
        let Some(events) = events else { return };
        let orders = events.orders.iter();
        let orders = orders.map(|order| self.order(order.key, order.amount));
        let refunds = events.refunds.iter();
        let refunds = refunds.map(|refund| self.refund(refund.key, refund.amount));
        for event in orders.chain(refunds).flatten() {
            self.record(Change {
                customer: visit.user.clone(),
                at: self.now(),
                event,
            });
        }
    }

    pub(super) fn order(&self, key: OrderKey, amount: Money) -> Result<Event, Refused> {
        let amount = self.amount(amount, ChangeKind::Order)?;
        Ok(Event::Order { key, amount })
    }

    pub(super) fn refund(&self, key: OrderKey, amount: Money) -> Result<Event, Refused> {
        let amount = self.amount(amount, ChangeKind::Refund)?;
        Ok(Event::Refund { key, amount })
    }

    /// The amount in minor units of the criteria's currency; 0 of one that cannot be converted.
    fn amount(&self, money: Money, kind: ChangeKind) -> Result<i64, Refused> {
        let amount = if money.minor < 0 || money.currency == self.criteria.currency {
            money.minor
        } else if let Some(convert) = &self.convert
            && let Some(amount) = shielded("convert", || convert(money)).flatten()
        {
            amount
        } else {
            if self.tally.leave_unconverted() == 0 {
                tracing::warn!(
                    target: "palisade::segment",
                    event = "amount_unconverted",
                    currency = %money.currency,
                    counted_in = %self.criteria.currency,
                    "an amount in another currency adds nothing to its customer's spend; set a conversion"
                );
            }
            0
        };
        if (0..=Self::MOST).contains(&amount) {
            return Ok(amount);
        }
        if self.tally.add(kind, ChangeResult::Refused) == 0 {
            tracing::warn!(
                target: "palisade::segment",
                event = "amount_refused",
                kind = kind.as_str(),
                amount,
                "an amount below zero or beyond 2^53 - 1 is not recorded"
            );
        }
        Err(Refused)
    }

    /// This process knows of an order or a refund at once, and the store soon.
    fn record(self: &Arc<Self>, change: Change) {
        if !self.cache.record(&change) {
            return;
        }
        let kind = ChangeKind::from(&change.event);
        // The cache first: a change that is written is then sure to be taken out again.
        if self.writer.push(change.clone()) {
            Drain::start(self);
        } else {
            self.cache.take_back(&change);
            self.lose(kind);
        }
    }

    /// A change that an earlier process left.
    pub(super) fn restore(&self, change: Change) {
        let is_kept = match change.event {
            Event::Activity => match self.cache.touch(&change.customer, change.at) {
                Touched::Schedule(_) => true,
                Touched::Scheduled => false,
                Touched::Full => return self.lose(ChangeKind::Activity),
            },
            _ => self.cache.record(&change),
        };
        if is_kept {
            self.writer.restore(change);
        }
    }

    /// The changes, with the activities as of now.
    pub(super) fn gather(&self, Taken { changes, active }: Taken) -> Vec<Change> {
        let active = active.into_iter().flat_map(|customer| {
            let due = self.cache.due(&customer);
            let moments = due
                .into_iter()
                .flat_map(|(first, last)| first.into_iter().chain([last]));
            moments.map(move |at| Change {
                customer: customer.clone(),
                at,
                event: Event::Activity,
            })
        });
        changes.into_iter().chain(active).collect()
    }

    /// All that waits is lost.
    pub(super) fn lose_all(&self) {
        for change in self.gather(self.writer.give_up()) {
            self.tally
                .add(ChangeKind::from(&change.event), ChangeResult::Lost);
        }
        self.tell_losses(
            "customers' changes are lost: their layer is gone, and the store does not take them",
        );
    }

    fn lose(&self, kind: ChangeKind) {
        self.tally.add(kind, ChangeResult::Lost);
        if self.losses.count(self.now().as_millis()).is_some() {
            self.tell_losses(
                "customers' changes are lost: more wait for the store than there is room for",
            );
        }
    }

    fn tell_losses(&self, why: &'static str) {
        let [activities, orders, refunds] =
            ChangeKind::ALL.map(|kind| self.tally.changes(kind, ChangeResult::Lost));
        tracing::error!(
            target: "palisade::segment",
            event = "customers_lost",
            activities,
            orders,
            refunds,
            "{why}"
        );
    }
}

/// The parts of a request that its response needs.
pub(super) struct Visit {
    pub(super) user: UserId,
    pub(super) segment: Option<Segment>,
    /// The action that the route declares.
    pub(super) action: Option<usize>,
    pub(super) country: Country,
}

/// The system's clock.
pub(super) fn system_clock() -> Box<dyn WallClock> {
    Box::new(SystemTime::now)
}
