//! How many distinct items there were, estimated in a fixed space: HyperLogLog.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// 2^12 registers, one byte each: a standard error of 1.04 / sqrt(2^12), 1.6 %.
const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;
/// The highest rank of an item's other 52 bits: all of them zero. 0 is an empty register's.
const MOST_RANK: usize = 64 - BITS as usize + 1;
/// How many sketches a store may have at a time: 16 MiB of registers.
const MOST: usize = 4_096;

/// The sketches of one store. Clones share the bound.
#[derive(Debug, Clone, Default)]
pub(super) struct Sketches(Arc<AtomicUsize>);

impl Sketches {
    /// An empty sketch, unless as many are held as may be.
    pub(super) fn begin(&self) -> Option<Sketch> {
        let more = |held| (held < MOST).then_some(held + 1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Sketch {
            registers: Box::new([0; REGISTERS]),
            of: self.clone(),
        })
    }
}

/// The registers: in each, the highest rank (the zeros that lead, and one) of the items that fall to it.
#[derive(Debug)]
pub(super) struct Sketch {
    registers: Box<[u8; REGISTERS]>,
    of: Sketches,
}

impl Drop for Sketch {
    fn drop(&mut self) {
        self.of.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sketch {
    /// Adds an item, all of whose bits are as good as random.
    pub(super) fn add(&mut self, item: u64) {
        let register = (item >> (64 - BITS)) as usize;
        // The bit behind the last one ends the count.
        let rank = ((item << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
        let register = &mut self.registers[register];
        *register = rank.max(*register);
    }

    /// The estimate of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6,
    /// which has no bias to correct at any number; Redis's PFCOUNT computes the same.
    pub(super) fn estimate(&self) -> u64 {
        let mut counts = [0_u32; MOST_RANK + 1];
        for rank in self.registers.iter() {
            counts[usize::from(*rank)] += 1;
        }
        let registers = REGISTERS as f64;
        let mut z = registers * tau(1.0 - f64::from(counts[MOST_RANK]) / registers);
        for count in counts[1..MOST_RANK].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += registers * sigma(f64::from(counts[0]) / registers);
        (registers * registers / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

/// x + the sum of x^(2^k) 2^(k-1) over k from 1; without end at 1, where no register is used.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// (1 - x - the sum of (1 - x^(2^-k))^2 2^-k over k from 1) / 3.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bijection that leaves no bit to chance (splitmix64).
    fn item(n: u64) -> u64 {
        let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn estimates_any_number_within_five_standard_errors_and_repeats_change_nothing() {
        let mut sketch = Sketches::default().begin().unwrap();
        assert_eq!(sketch.estimate(), 0);
        let mut squares = Vec::new();
        for n in 1..=300_000_u64 {
            sketch.add(item(n));
            sketch.add(item(n / 2 + 1));
            if n.is_power_of_two() || n % 10_000 == 0 {
                let error = sketch.estimate() as f64 / n as f64 - 1.0;
                assert!(
                    error.abs() < 5.0 * 0.016_25 + 0.5 / n as f64,
                    "{n}: {error}"
                );
                squares.push(error * error);
            }
        }
        let mean = squares.iter().sum::<f64>() / squares.len() as f64;
        assert!(mean.sqrt() < 2.0 * 0.016_25, "{}", mean.sqrt());
    }

    #[test]
    fn items_of_zeros_and_of_ones_are_one_item_each() {
        let mut sketch = Sketches::default().begin().unwrap();
        sketch.add(0);
        assert_eq!(sketch.registers[0], MOST_RANK as u8);
        sketch.add(u64::MAX);
        assert_eq!(sketch.registers[REGISTERS - 1], 1);
    }

    #[test]
    fn no_more_than_a_bounded_number_is_held() {
        let sketches = Sketches::default();
        let mut held: Vec<_> = (0..MOST).map(|_| sketches.begin().unwrap()).collect();
        assert!(sketches.begin().is_none());
        held.pop();
        assert!(sketches.begin().is_some());
    }
}
