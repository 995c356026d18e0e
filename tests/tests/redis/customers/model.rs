//! The contract, written down naively.

use std::collections::HashMap;

use palisade::client::UserId;
use palisade::segment::store::Applied;
use palisade::segment::{
    Change, Criteria, Event, Export, OrderKey, Population, Record, Segment, Timestamp,
};

#[derive(Default)]
pub(crate) struct Model {
    customers: HashMap<UserId, (Record, Vec<OrderKey>)>,
    erased: HashMap<UserId, Timestamp>,
}

impl Model {
    pub(crate) fn fetch(&self, customer: &UserId) -> Option<Record> {
        self.customers.get(customer).map(|(record, _)| *record)
    }

    pub(crate) fn export(&self, customer: &UserId) -> Option<Export> {
        let (record, counted) = self.customers.get(customer)?.clone();
        Some(Export { record, counted })
    }

    pub(crate) fn apply(&mut self, change: &Change) -> Applied {
        let erased = self.erased.get(&change.customer);
        if erased.is_some_and(|moment| change.at <= *moment) {
            return Applied {
                record: self.fetch(&change.customer),
                fresh: false,
            };
        }
        let customer = self.customers.entry(change.customer.clone());
        let (record, counted) = customer.or_insert((Record::seen(change.at), Vec::new()));
        if !matches!(change.event, Event::Refund { .. }) {
            record.first_activity = record.first_activity.min(change.at);
            record.last_activity = record.last_activity.max(change.at);
        }
        let (key, added, orders) = match change.event {
            Event::Order { key, amount } => (key, i128::from(amount.max(0)), 1),
            Event::Refund { key, amount } => (key, -i128::from(amount.max(0)), 0),
            _ => {
                return Applied {
                    record: Some(*record),
                    fresh: true,
                };
            }
        };
        let fresh = !counted.contains(&key);
        if fresh {
            counted.push(key);
            let sum = i128::from(record.spend) + added;
            record.spend = sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            record.orders += orders;
        }
        Applied {
            record: Some(*record),
            fresh,
        }
    }

    pub(crate) fn erase(&mut self, customer: &UserId, at: Timestamp) -> bool {
        let moment = self.erased.entry(customer.clone()).or_insert(at);
        *moment = at.max(*moment);
        self.customers.remove(customer).is_some()
    }

    pub(crate) fn population(&self, criteria: &Criteria, now: Timestamp) -> Population {
        let segments = self
            .customers
            .values()
            .map(|(record, _)| criteria.standing(Some(record), now).segment());
        let segments: Vec<_> = segments.collect();
        let count = |segment| segments.iter().filter(|s| **s == segment).count() as u64;
        Population {
            returning: count(Segment::Returning),
            at_risk: count(Segment::AtRisk),
            churned: count(Segment::Churned),
            vip: count(Segment::Vip),
        }
    }
}
