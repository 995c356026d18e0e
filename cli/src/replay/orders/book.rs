use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use palisade::client::UserId;
use palisade::segment::{Change, Event, OrderKey, Record};

/// The customers of a file, by what is known of each.
#[derive(Debug, Default)]
pub(super) struct Book {
    numbers: HashMap<UserId, u32>,
    records: Vec<Record>,
    /// The orders that were counted, with their customer's number, where an id may come again.
    counted: Option<HashSet<(u32, OrderKey)>>,
    /// Orders whose id had come before.
    pub(super) repeated: u64,
}

impl Book {
    /// A book that remembers the ids of orders, unless none can come again.
    pub(super) fn new(ids_may_repeat: bool) -> Self {
        Self {
            counted: ids_may_repeat.then(HashSet::new),
            ..Self::default()
        }
    }

    /// Counts an order, as every store does.
    pub(super) fn apply(&mut self, change: &Change) {
        let Event::Order { key, amount } = change.event else {
            return;
        };
        let at = change.at;
        let number = self.number(&change.customer, Record::seen(at));
        let record = &mut self.records[number as usize];
        record.first_activity = record.first_activity.min(at);
        record.last_activity = record.last_activity.max(at);
        let fresh = self
            .counted
            .as_mut()
            .is_none_or(|counted| counted.insert((number, key)));
        if fresh {
            record.orders += 1;
            // A saturated sum would take some nine million orders of the highest amount.
            record.spend = record.spend.saturating_add(amount);
        } else {
            self.repeated += 1;
        }
    }

    pub(super) fn customers(&self) -> impl Iterator<Item = &UserId> {
        self.numbers.keys()
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    fn number(&mut self, customer: &UserId, new: Record) -> u32 {
        match self.numbers.entry(customer.clone()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                // So many customers take more memory than an address has bits for on their way here.
                let number = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
                self.records.push(new);
                *vacant.insert(number)
            }
        }
    }
}
