//! How far the visitors of a funnel came.

use std::time::Duration;

use super::clock::Clock;
use super::log::Micros;
use super::shard::Entry;
use super::table::Table;
use crate::funnel::store::{Progress, Reach};
use crate::funnel::{Journey, Moment};

/// A visitor's journey, for as long as anything can change it.
#[derive(Debug, Default)]
pub(super) struct Visit {
    journey: Journey,
    until: Moment,
}

impl Entry for Visit {
    fn is_idle(&self, now: Micros, _window: Micros) -> bool {
        moment(now) >= self.until
    }
}

/// No reach is older than a day, so that none comes before the clock's start.
fn moment(now: Micros) -> Moment {
    now + 86_400_000_000
}

/// Counts reaches in their order.
pub(super) fn reach(
    clock: &dyn Clock,
    table: &Table<Visit>,
    window: Duration,
    reaches: &[Reach],
) -> Vec<Progress> {
    let window = window.as_micros() as Moment;
    let one = |reach: &Reach| {
        let key = reach.visitor.key();
        let hash = table.hash(key);
        let mut shard = table.shard(hash);
        // Read with the lock held: two reaches of one visitor see the times in the order of their counts.
        let clock = clock.now().as_micros() as Micros;
        let now = moment(clock);
        let slot = match shard.find(hash, key) {
            Some(slot) => slot,
            None => shard.insert(table.hasher(), hash, key, clock, window),
        };
        let visit = shard.entry_mut(slot);
        if now >= visit.until {
            // A window that ended long ago is as good as forgotten.
            visit.journey = Journey::default();
        }
        let age = reach.age.min(Reach::OLDEST).as_micros() as Moment;
        let advance = visit.journey.reach(reach.stage, now - age, now, window);
        let end = visit.journey.end(window);
        visit.until = end.unwrap_or(now) + Reach::KEPT.as_micros() as Moment;
        // A visitor within a window is forgotten last.
        shard.used(slot, end.is_some());
        Progress {
            before: advance.before,
            steps: advance
                .steps
                .into_iter()
                .map(Duration::from_micros)
                .collect(),
            left: Duration::from_micros(end.map_or(0, |end| end.saturating_sub(now))),
            refused: false,
        }
    };
    reaches.iter().map(one).collect()
}
