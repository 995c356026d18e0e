use std::collections::HashMap;
use std::collections::hash_map::Entry;

use palisade::client::UserId;
use palisade::segment::{Change, Event, OrderKey, Record, Timestamp};

use super::cli::Lines;

/// The customers of a file, by what is known of each.
#[derive(Debug)]
pub(super) struct Book {
    numbers: HashMap<UserId, u32>,
    records: Vec<Record>,
    /// The orders that were counted, with their customer's number, where an id may come again.
    counted: Option<HashMap<(u32, OrderKey), Counted>>,
    lines: Lines,
    /// Lines that say an order again.
    pub(super) repeated: u64,
}

/// What is known of an order that has an id.
#[derive(Debug, Clone, Copy)]
struct Counted {
    first: Timestamp,
    last: Timestamp,
    amount: i64,
}

/// A line with another amount than its order had, in minor units.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherAmount(pub(super) i64);

impl Book {
    /// A book that remembers the ids of orders, unless none can come again.
    pub(super) fn new(ids_may_repeat: bool, lines: Lines) -> Self {
        Self {
            numbers: HashMap::new(),
            records: Vec::new(),
            counted: ids_may_repeat.then(HashMap::new),
            lines,
            repeated: 0,
        }
    }

    /// Counts a line: a new order as every store does, and of one that is known its item.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), OtherAmount> {
        let Event::Order { key, amount } = change.event else {
            return Ok(());
        };
        let at = change.at;
        let number = self.number(&change.customer, Record::seen(at));
        let record = &mut self.records[number as usize];
        record.first_activity = record.first_activity.min(at);
        record.last_activity = record.last_activity.max(at);
        let known = match &mut self.counted {
            None => None,
            Some(counted) => match counted.entry((number, key)) {
                Entry::Occupied(known) => {
                    let known = known.into_mut();
                    known.first = known.first.min(at);
                    known.last = known.last.max(at);
                    Some(known)
                }
                Entry::Vacant(vacant) => {
                    vacant.insert(Counted {
                        first: at,
                        last: at,
                        amount,
                    });
                    None
                }
            },
        };
        // Saturated sums would take some nine million orders of the highest amount.
        match (known, self.lines) {
            (None, _) => {
                record.orders += 1;
                record.spend = record.spend.saturating_add(amount);
            }
            (Some(known), Lines::Items) => {
                known.amount = known.amount.saturating_add(amount);
                record.spend = record.spend.saturating_add(amount);
            }
            (Some(known), Lines::Orders) if known.amount == amount => self.repeated += 1,
            (Some(known), Lines::Orders) => return Err(OtherAmount(known.amount)),
        }
        Ok(())
    }

    /// Whether it remembers the orders.
    pub(super) fn keeps_orders(&self) -> bool {
        self.counted.is_some()
    }

    /// The orders that it remembers, each with all of its lines: once, or at its first and its last moment. In no order.
    pub(super) fn orders(&self) -> impl Iterator<Item = Change> {
        let mut customers = vec![None; self.records.len()];
        for (customer, number) in &self.numbers {
            customers[*number as usize] = Some(customer);
        }
        let counted = self.counted.iter().flatten();
        counted.flat_map(move |((number, key), counted)| {
            let again = (counted.last != counted.first).then_some(counted.last);
            let moments = std::iter::once(counted.first).chain(again);
            let (key, amount) = (*key, counted.amount);
            let customer: Option<&UserId> = customers[*number as usize];
            moments.filter_map(move |at| {
                let customer = customer?.clone();
                let event = Event::Order { key, amount };
                Some(Change {
                    customer,
                    at,
                    event,
                })
            })
        })
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
