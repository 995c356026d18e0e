//! Medians of a few rounds, and how far they can be trusted.

/// The middle value, or the mean of the two middle ones; NaN for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// An interval of at least 95 % confidence for the median, from order statistics: it assumes nothing about the
/// distribution, only that rounds are independent. `None` below six values, which cannot carry one.
///
/// The median lies outside `[x(k), x(n+1-k)]` with probability `2 P(B < k)`, `B` binomial with `n` and 1/2
/// (David and Nagaraja, Order Statistics, section 7.1); this takes the largest such `k`.
pub(crate) fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let n = sorted.len();
    let mut below = 0.0;
    let mut mass = 0.5_f64.powi(i32::try_from(n).ok()?);
    let mut k = 0;
    while k < n / 2 && 2.0 * (below + mass) <= 0.05 {
        below += mass;
        mass *= (n - k) as f64 / (k + 1) as f64;
        k += 1;
    }
    (k > 0).then(|| (sorted[k - 1], sorted[n - k]))
}

/// The smallest and the largest value; NaN for none.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let sorted = sorted(values);
    (
        sorted.first().copied().unwrap_or(f64::NAN),
        sorted.last().copied().unwrap_or(f64::NAN),
    )
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A shuffle that a printed seed repeats (Fisher and Yates over SplitMix64).
pub(crate) struct Shuffle(u64);

impl Shuffle {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = (u128::from(self.next()) * (i as u128 + 1)) >> 64;
            items.swap(i, j as usize);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 3.0]), 3.0);
    }

    #[test]
    fn the_interval_of_fifteen_rounds_spans_the_fourth_to_the_twelfth() {
        // From a table of binomial quantiles: P(B <= 3) = 0.0176 for n = 15, P(B <= 4) = 0.0592.
        let values: Vec<f64> = (1..=15).rev().map(f64::from).collect();
        assert_eq!(interval(&values), Some((4.0, 12.0)));
    }

    #[test]
    fn five_rounds_carry_no_interval_and_six_their_whole_range() {
        assert_eq!(interval(&[1.0; 5]), None);
        assert_eq!(interval(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), Some((1.0, 6.0)));
    }

    #[test]
    fn a_seed_repeats_its_orders_and_every_item_stays() {
        let order = |seed| {
            let mut items = [0, 1, 2, 3, 4, 5, 6];
            Shuffle::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
        let mut items = order(7);
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3, 4, 5, 6]);
    }
}
