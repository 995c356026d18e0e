//! Which clients are counted most, in bounded memory: Space-Saving, a summary for each minute.
//!
//! A summary has `m` counters. A client that has one is counted in it; any other takes over the lowest, keeps its count as
//! its own possible error, and adds one. After `n` counts (Metwally, Agrawal, El Abbadi: Efficient computation of frequent
//! and top-k elements in data streams, 2005), for each client and with `least` the lowest count of a summary that has had a
//! counter taken over, else 0:
//!
//! - a client with a counter: `count - error <= true <= count`, and `error <= least`;
//! - a client without one: `true <= least`;
//! - `least <= n / m`.
//!
//! Summaries are merged when they are read (Agarwal et al.: Mergeable summaries, 2012): a client's counts are added, and a
//! summary that has no counter for it adds its `least` to count and error. The sum of all `least` is then at least every
//! error and the true count of every client without any counter, and at most a part `1 / m` of everything counted.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;

use crate::model::Network;

/// Minutes that are looked back, the current one included.
pub(super) const MINUTES: usize = 10;
/// Counters of a summary. So no client with more than a 256th of what is counted is missed, and a flood from ever new
/// addresses blurs every count by no more than that.
pub(super) const COUNTERS: usize = 256;

/// The clients that are counted most.
#[derive(Debug)]
pub(super) struct Top {
    counters: usize,
    minutes: Mutex<Minutes>,
}

/// The summaries of the last minutes; that of minute `n` has the place `n % MINUTES`.
#[derive(Debug, Default)]
struct Minutes {
    /// The newest that anything was counted in.
    newest: u64,
    summaries: [Summary; MINUTES],
}

/// One minute.
#[derive(Debug, Default)]
struct Summary {
    minute: u64,
    total: u64,
    counters: Vec<Counter>,
    /// Which counter a client has.
    places: HashMap<Network, u16>,
    /// The counters as a binary heap, the lowest count first.
    heap: Vec<u16>,
    /// Whether a counter was taken over, so that not every client is known.
    forgot: bool,
}

#[derive(Debug)]
struct Counter {
    client: Network,
    count: u64,
    error: u64,
    /// Its place in the heap.
    at: u16,
}

/// A client's count, too high by `error` at most and never too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Estimate {
    pub(super) client: Network,
    pub(super) count: u64,
    pub(super) error: u64,
}

/// The highest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranking {
    /// Highest first.
    pub(super) clients: Vec<Estimate>,
    pub(super) total: u64,
    /// No count is too high by more than this.
    pub(super) error: u64,
    /// No client that is missing has more than this.
    pub(super) missing: u64,
}

impl Top {
    /// `counters` of 1 to 65,535 for each minute.
    pub(super) fn new(counters: u16) -> Self {
        Self {
            counters: counters.max(1).into(),
            minutes: Mutex::default(),
        }
    }

    /// Counts a client once, in a minute of a clock that does not run back; if it does, in the newest minute.
    pub(super) fn count(&self, client: Network, minute: u64) {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minute.max(minutes.newest);
        minutes.newest = minute;
        let summary = &mut minutes.summaries[place(minute)];
        if summary.minute != minute {
            summary.begin(minute);
        }
        summary.count(client, self.counters);
    }

    /// The clients with the highest counts in the minutes that end with this one, `most` at most.
    pub(super) fn ranking(&self, minute: u64, most: usize) -> Ranking {
        let mut merged: HashMap<Network, Estimate> = HashMap::new();
        let mut ranking = Ranking::default();
        {
            let minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
            let oldest = minute
                .max(minutes.newest)
                .saturating_sub(MINUTES as u64 - 1);
            let live = |summary: &&Summary| summary.total > 0 && summary.minute >= oldest;
            for summary in minutes.summaries.iter().filter(live) {
                let least = summary.least();
                ranking.total += summary.total;
                ranking.error += least;
                for counter in &summary.counters {
                    let estimate = merged.entry(counter.client).or_insert(Estimate {
                        client: counter.client,
                        count: 0,
                        error: 0,
                    });
                    // The part of the count that exceeds the bound for a client without a counter.
                    estimate.count += counter.count - least;
                    estimate.error += least - counter.error.min(least);
                }
            }
        }
        ranking
            .clients
            .extend(merged.into_values().map(|it| Estimate {
                count: it.count + ranking.error,
                error: ranking.error.saturating_sub(it.error),
                ..it
            }));
        // The client last, so that equal counts have one order.
        ranking
            .clients
            .sort_unstable_by_key(|it| (std::cmp::Reverse(it.count), it.error, it.client));
        let next = ranking.clients.get(most).map_or(0, |next| next.count);
        ranking.missing = ranking.error.max(next);
        ranking.clients.truncate(most);
        ranking
    }
}

fn place(minute: u64) -> usize {
    (minute % MINUTES as u64) as usize
}

impl Summary {
    fn begin(&mut self, minute: u64) {
        self.minute = minute;
        self.total = 0;
        self.counters.clear();
        self.places.clear();
        self.heap.clear();
        self.forgot = false;
    }

    /// The most that a client without a counter may have been counted.
    fn least(&self) -> u64 {
        if !self.forgot {
            return 0;
        }
        let lowest = self
            .heap
            .first()
            .and_then(|place| self.counters.get(usize::from(*place)));
        lowest.map_or(0, |counter| counter.count)
    }

    fn count(&mut self, client: Network, counters: usize) {
        self.total += 1;
        if let Some(place) = self.places.get(&client) {
            let counter = &mut self.counters[usize::from(*place)];
            counter.count += 1;
            let at = counter.at;
            self.sink(at.into());
        } else if self.counters.len() < counters {
            let place = self.counters.len() as u16;
            self.counters.push(Counter {
                client,
                count: 1,
                error: 0,
                at: place,
            });
            self.heap.push(place);
            self.places.insert(client, place);
            self.rise(place.into());
        } else if let Some(place) = self.heap.first().copied() {
            self.forgot = true;
            let lowest = &mut self.counters[usize::from(place)];
            self.places.remove(&lowest.client);
            lowest.error = lowest.count;
            lowest.count += 1;
            lowest.client = client;
            self.places.insert(client, place);
            self.sink(0);
        }
    }

    fn count_at(&self, at: usize) -> u64 {
        self.counters[usize::from(self.heap[at])].count
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for at in [a, b] {
            self.counters[usize::from(self.heap[at])].at = at as u16;
        }
    }

    /// Puts a counter that grew where it belongs.
    fn sink(&mut self, mut at: usize) {
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let Some(lowest) = children.min_by_key(|child| self.count_at(*child)) else {
                return;
            };
            if self.count_at(lowest) >= self.count_at(at) {
                return;
            }
            self.swap(at, lowest);
            at = lowest;
        }
    }

    /// Puts a counter that is new where it belongs.
    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.count_at((at - 1) / 2) > self.count_at(at) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }
}

#[cfg(test)]
mod tests;
