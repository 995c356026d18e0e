//! The distinct items that a key saw, and the incidents that they are.

use std::time::Duration;

use super::log::Micros;
use super::shard::Entry;
use super::sketch::{Sketch, Sketches};
use crate::suspicion::{AccountState, IncidentKind, Threshold};

/// The newest distinct items, each with when it was last seen, the latest last; at most [`Distinct::MOST`].
///
/// An item that is not among them was last seen before each of them. So the smaller of [`Distinct::MOST`] and the number of
/// distinct items in the window is exact, and with it whether a threshold, or half of it, lies there.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    items: Vec<Seen>,
    /// Boxed, since most keys never have one.
    episode: Option<Box<Episode>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    item: u64,
    at: Micros,
}

#[derive(Debug)]
struct Episode {
    first: Micros,
    reported: Micros,
    beyond: Beyond,
}

/// The episode's items that are kept no longer.
#[derive(Debug)]
enum Beyond {
    /// There are none: the number of items is exact.
    Nothing,
    /// They are in the sketch, with all others.
    Sketched(Sketch),
    /// There were too many sketches: the number of items that are kept is a lower bound.
    Forgotten,
}

/// The incident that an item is.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) count: u64,
    pub(super) estimated: bool,
    pub(super) span: Duration,
}

impl Entry for Distinct {
    fn is_idle(&self, now: Micros, window: Micros) -> bool {
        let live = |seen: &Seen| now.saturating_sub(seen.at) < window;
        !self.items.last().is_some_and(live)
    }
}

impl Distinct {
    /// How many items are kept: as many as any threshold may ask for.
    const MOST: usize = IncidentKind::MOST_DISTINCT as usize;

    fn newest(&self) -> Micros {
        self.items.last().map_or(0, |seen| seen.at)
    }

    /// How many items have left the window, and how many are in it.
    fn split(&self, now: Micros, window: Micros) -> (usize, usize) {
        let gone = self.items.partition_point(|seen| now - seen.at >= window);
        (gone, self.items.len() - gone)
    }

    /// Whether an episode has begun and not ended.
    pub(super) fn is_in_episode(&self, now: Micros, threshold: Threshold) -> bool {
        let (_, held) = self.split(now.max(self.newest()), threshold.window_micros());
        self.episode.is_some() && held * 2 >= threshold.count() as usize
    }

    /// Whether an episode had begun when the last item came.
    pub(super) fn has_episode(&self) -> bool {
        self.episode.is_some()
    }

    /// Counts an item; returns the incident, if it is one.
    pub(super) fn count(
        &mut self,
        now: Micros,
        threshold: Threshold,
        item: u64,
        sketches: &Sketches,
    ) -> Option<Counted> {
        let (limit, window) = (threshold.count() as usize, threshold.window_micros());
        let now = now.max(self.newest());
        let (gone, held) = self.split(now, window);
        if held * 2 < limit {
            self.episode = None;
        }
        let known = self.items[gone..].iter().any(|seen| seen.item == item);
        let overflows = !known && held == Self::MOST;
        if let Some(episode) = &mut self.episode {
            if gone > 0 || overflows {
                episode.let_go(&self.items, sketches);
            }
            if let Beyond::Sketched(sketch) = &mut episode.beyond {
                sketch.add(item);
            }
        }
        self.items.drain(..gone + usize::from(overflows));
        self.items.retain(|seen| seen.item != item);
        self.push(Seen { item, at: now });
        match &mut self.episode {
            Some(episode) if now - episode.reported < window => return None,
            Some(episode) => episode.reported = now,
            None if self.items.len() < limit => return None,
            None => {
                self.episode = Some(Box::new(Episode {
                    first: self.items.first()?.at,
                    reported: now,
                    beyond: Beyond::Nothing,
                }));
            }
        }
        self.counted(now)
    }

    fn push(&mut self, seen: Seen) {
        let held = self.items.len();
        if held == self.items.capacity() {
            // Most keys have one item; none has more than `MOST`.
            let more = held.clamp(1, Self::MOST - held.min(Self::MOST - 1));
            self.items.reserve_exact(more);
        }
        self.items.push(seen);
    }

    /// The items of the episode.
    fn counted(&self, now: Micros) -> Option<Counted> {
        let episode = self.episode.as_ref()?;
        let held = self.items.len() as u64;
        let (count, estimated) = match &episode.beyond {
            Beyond::Nothing => (held, false),
            Beyond::Sketched(sketch) => (sketch.estimate().max(held), true),
            Beyond::Forgotten => (held, true),
        };
        Some(Counted {
            count,
            estimated,
            span: Duration::from_micros(now - episode.first),
        })
    }

    /// The state of the account whose networks these are.
    pub(super) fn state(&self, now: Micros, threshold: Threshold) -> AccountState {
        let now = now.max(self.newest());
        if self.is_in_episode(now, threshold)
            && let Some(counted) = self.counted(now)
        {
            return AccountState::new(true, counted.count, counted.estimated, counted.span);
        }
        let (_, held) = self.split(now, threshold.window_micros());
        AccountState::new(false, held as u64, false, Duration::ZERO)
    }
}

impl Episode {
    /// Before an item is kept no longer.
    fn let_go(&mut self, items: &[Seen], sketches: &Sketches) {
        if !matches!(self.beyond, Beyond::Nothing) {
            return;
        }
        self.beyond = match sketches.begin() {
            None => Beyond::Forgotten,
            Some(mut sketch) => {
                items.iter().for_each(|seen| sketch.add(seen.item));
                Beyond::Sketched(sketch)
            }
        };
    }
}
