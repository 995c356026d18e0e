//! The distinct things that a client failed at since its last ban.

use super::log::Micros;
use super::shard::Entry;
use crate::suspicion::Threshold;

/// The newest distinct things, each with when it was last seen, the latest last; fewer than the threshold.
///
/// A thing that is not among them was last seen before each of them, so whether a threshold of them lies in the window is
/// exact.
#[derive(Debug, Default)]
pub(super) struct Things(Vec<(u64, Micros)>);

impl Entry for Things {
    fn is_idle(&self, now: Micros, window: Micros) -> bool {
        let live = |(_, at): &(u64, Micros)| now.saturating_sub(*at) < window;
        !self.0.last().is_some_and(live)
    }
}

impl Things {
    /// Counts a thing of a client whose last ban ended then; whether it is an offence, which begins the count anew.
    pub(super) fn is_offence(
        &mut self,
        now: Micros,
        ended: Micros,
        threshold: Threshold,
        thing: u64,
    ) -> bool {
        for (_, at) in &mut self.0 {
            // Left by a clock that stepped back.
            *at = now.min(*at);
        }
        self.0.retain(|(known, at)| {
            *known != thing && *at >= ended && now - *at < threshold.window_micros()
        });
        if self.0.len() + 1 >= threshold.count() as usize {
            self.0 = Vec::new();
            return true;
        }
        if self.0.len() == self.0.capacity() {
            // Most clients fail at one thing; none is kept with as many as the threshold.
            let room = threshold.count() as usize - 1 - self.0.len();
            self.0.reserve_exact(self.0.len().clamp(1, room.max(1)));
        }
        self.0.push((thing, now));
        false
    }
}
