//! One key's log: the exact times of its admitted cost, packed.

use super::shard::Entry;

/// Microseconds since the store's start.
pub(super) type Micros = u64;

const STAMP: usize = 5;
/// Stamps are kept modulo 2^40 µs, 12.7 days; those of one log lie within a window, at most a day, of its newest.
const MODULUS_MASK: u64 = (1 << 40) - 1;

/// A sliding log in five bytes a unit of cost.
///
/// The newest stamp stands apart, so a key with a single hit owns no heap memory; the others lie in a ring,
/// oldest first, that grows by doubling and never beyond the limit.
#[derive(Debug, Default)]
pub(super) struct Log {
    newest: Micros,
    ring: Box<[u8]>,
    head: u32,
    /// Units of cost held, with the newest; 0 for an empty log, whose `newest` means nothing.
    len: u32,
}

impl Entry for Log {
    fn is_idle(&self, now: Micros, window: Micros) -> bool {
        self.len == 0 || now.saturating_sub(self.newest) >= window
    }
}

impl Log {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn newest(&self) -> Micros {
        self.newest
    }

    fn capacity(&self) -> u32 {
        // A ring holds at most 1,000,000 stamps.
        (self.ring.len() / STAMP) as u32
    }

    /// The stamp at `index`, the oldest being 0; `index < len`.
    pub(super) fn stamp(&self, index: u32) -> Micros {
        if index + 1 >= self.len {
            return self.newest;
        }
        let at = self.slot(index);
        let mut wide = [0; 8];
        wide[3..].copy_from_slice(&self.ring[at..at + STAMP]);
        let age = self.newest.wrapping_sub(u64::from_be_bytes(wide)) & MODULUS_MASK;
        self.newest - age
    }

    /// Where the ring's stamp number `index` lies.
    fn slot(&self, index: u32) -> usize {
        let at = self.head + index;
        let capacity = self.capacity();
        (if at >= capacity { at - capacity } else { at }) as usize * STAMP
    }

    /// Drops the entries that have left the window `(now - window, now]`.
    pub(super) fn expire(&mut self, now: Micros, window: Micros) {
        if self.len == 0 {
            return;
        }
        if now - self.newest >= window {
            // Idle: give the memory back too.
            *self = Self::default();
            return;
        }
        while now - self.stamp(0) >= window {
            self.forget_oldest();
        }
    }

    /// Drops the oldest unit of a log that is not empty.
    pub(super) fn forget_oldest(&mut self) {
        // The newest stamp stands outside of the ring.
        if self.len > 1 {
            self.head += 1;
            if self.head == self.capacity() {
                self.head = 0;
            }
        }
        self.len -= 1;
    }

    /// Adds `cost` units at `now`, which is no earlier than the newest; `len + cost <= limit`.
    pub(super) fn push(&mut self, now: Micros, cost: u32, limit: u32) {
        let held = self.len;
        self.reserve(held + cost - 1, limit);
        if held > 0 {
            self.write(held - 1, self.newest);
        }
        for index in held..held + cost - 1 {
            self.write(index, now);
        }
        self.newest = now;
        self.len = held + cost;
    }

    fn write(&mut self, index: u32, stamp: Micros) {
        let at = self.slot(index);
        self.ring[at..at + STAMP].copy_from_slice(&(stamp & MODULUS_MASK).to_be_bytes()[3..]);
    }

    /// Makes room for `stamps` in the ring.
    fn reserve(&mut self, stamps: u32, limit: u32) {
        let capacity = self.capacity();
        if stamps <= capacity {
            return;
        }
        let wanted = (capacity * 2)
            .max(4)
            .min(limit.saturating_sub(1))
            .max(stamps);
        let mut ring = vec![0; wanted as usize * STAMP].into_boxed_slice();
        let bytes = self.len.saturating_sub(1) as usize * STAMP;
        let until_end = (self.ring.len() - self.head as usize * STAMP).min(bytes);
        let start = self.head as usize * STAMP;
        ring[..until_end].copy_from_slice(&self.ring[start..start + until_end]);
        ring[until_end..bytes].copy_from_slice(&self.ring[..bytes - until_end]);
        self.ring = ring;
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_a_plain_queue_holds(
            start in 0_u64..1 << 45,
            window in 1_u64..86_400_000_000,
            steps in prop::collection::vec((0_u64..100_000_000_000, 1_u32..40), 1..200),
        ) {
            let limit = 64;
            let (mut log, mut queue, mut now) = (Log::default(), VecDeque::new(), start);
            for (step, cost) in steps {
                now += step % (window / 3 + 1);
                log.expire(now, window);
                queue.retain(|stamp| now - stamp < window);
                prop_assert_eq!(log.len() as usize, queue.len());
                if log.len() + cost <= limit {
                    log.push(now, cost, limit);
                    queue.extend(std::iter::repeat_n(now, cost as usize));
                }
                for (index, stamp) in queue.iter().enumerate() {
                    prop_assert_eq!(log.stamp(index as u32), *stamp);
                }
                prop_assert!(log.ring.len() <= (limit as usize - 1) * STAMP);
            }
        }
    }

    #[test]
    fn owns_no_heap_memory_for_a_single_hit() {
        let mut log = Log::default();
        log.push(7, 1, 200);
        assert_eq!((log.ring.len(), log.len(), log.stamp(0)), (0, 1, 7));
    }
}
