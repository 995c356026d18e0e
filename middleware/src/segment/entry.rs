//! One customer, as this process knows it.

use std::time::Duration;

use tokio::sync::watch;

use super::cache::{Found, REST, Unknown};
use super::{Change, Event, OrderKey, Record, Timestamp};
use crate::model::UserId;
use crate::segment::store::Applied;

pub(super) struct Entry {
    pub(super) user: UserId,
    pub(super) known: Option<Known>,
    /// The latest activity that is not written.
    pub(super) activity: Option<Timestamp>,
    /// The earliest, where there is a latest.
    pub(super) active_since: Timestamp,
    /// Whether the writer has the customer among those whose activity it will ask for.
    pub(super) scheduled: bool,
    /// Orders and refunds that are not written.
    pub(super) unwritten: Vec<(Timestamp, Event)>,
    /// The newest orders and refunds that the store has counted for this process: known not to count again.
    pub(super) counted: Vec<OrderKey>,
    /// Counts the writes: a lookup that began before one is out of date.
    pub(super) version: u64,
    pub(super) flight: Option<Flight>,
    /// Whether it was used since it was last looked at for eviction.
    pub(super) used: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) record: Option<Record>,
    pub(super) at: Timestamp,
}

pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) version: u64,
    pub(super) landed: watch::Receiver<Option<Found>>,
}

impl Entry {
    /// Enough to recognise the last orders when they come again, in less than 200 bytes.
    pub(super) const COUNTED: usize = 16;

    pub(super) fn new(user: &UserId) -> Self {
        Self {
            user: user.clone(),
            known: None,
            activity: None,
            active_since: Timestamp::from_millis(0),
            scheduled: false,
            unwritten: Vec::new(),
            counted: Vec::new(),
            version: 0,
            flight: None,
            used: false,
        }
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.activity.is_some() || !self.unwritten.is_empty() || self.flight.is_some()
    }

    /// The customer's view, if the store's record is known and young enough.
    pub(super) fn view(&self, now: Timestamp, ttl: Duration) -> Found {
        let known = self.known.filter(|known| {
            // After a step back of the clock an age cannot be told.
            now >= known.at && now.since(known.at) < ttl
        });
        let mut record = known.ok_or(Unknown)?.record;
        if let Some(at) = self.activity {
            apply(&mut record, self.active_since, &Event::Activity);
            apply(&mut record, at, &Event::Activity);
        }
        for (at, event) in &self.unwritten {
            apply(&mut record, *at, event);
        }
        Ok(record)
    }

    /// Takes away the activity that the store has.
    pub(super) fn confirm(&mut self, change: &Change, applied: &Applied) {
        // A repeat counts nothing. A repeated activity means that the customer was erased since; a repeated order does not.
        let is_erased = !applied.fresh && matches!(change.event, Event::Activity);
        let has = |moment: Timestamp| match applied.record {
            // Activity until then must not be written again.
            None => moment <= change.at,
            Some(_) if is_erased && moment <= change.at => true,
            Some(record) => (record.first_activity..=record.last_activity).contains(&moment),
        };
        if self.activity.is_some_and(has) {
            self.activity = (!has(self.active_since)).then_some(self.active_since);
        }
    }

    /// Returns when the activity is to be written, if that is to be scheduled.
    pub(super) fn touch(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.active_since = match self.activity {
            Some(_) => self.active_since.min(now),
            None => now,
        };
        self.activity = self.activity.max(Some(now));
        if std::mem::replace(&mut self.scheduled, true) {
            None
        } else {
            Some(self.rests_until(now))
        }
    }

    /// Until when the customer's activity need not be written: some process wrote one less than a minute ago.
    pub(super) fn rests_until(&self, now: Timestamp) -> Timestamp {
        let last = self.known.and_then(|known| known.record);
        last.map(|record| record.last_activity.plus(REST))
            .filter(|until| until.since(now) <= REST)
            .map_or(now, |until| until.max(now))
    }

    pub(super) fn forget(&mut self, event: &Event) {
        let key = key_of(event);
        if key.is_some() {
            self.unwritten.retain(|(_, event)| key_of(event) != key);
        }
    }
}

/// Applies a change to a record as stores do, for changes that they have not confirmed.
fn apply(record: &mut Option<Record>, at: Timestamp, event: &Event) {
    let record = record.get_or_insert(Record::seen(at));
    if !matches!(event, Event::Refund { .. }) {
        record.first_activity = record.first_activity.min(at);
        record.last_activity = record.last_activity.max(at);
    }
    match event {
        Event::Activity => {}
        Event::Order { amount, .. } => {
            record.spend = record.spend.saturating_add(*amount);
            record.orders = record.orders.saturating_add(1);
        }
        Event::Refund { amount, .. } => record.spend = record.spend.saturating_sub(*amount),
    }
}

pub(super) fn key_of(event: &Event) -> Option<OrderKey> {
    match event {
        Event::Activity => None,
        Event::Order { key, .. } | Event::Refund { key, .. } => Some(*key),
    }
}
