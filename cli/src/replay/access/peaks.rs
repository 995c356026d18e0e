use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// The most that one client spent in any half-open window `(t-w, t]`.
#[derive(Debug, Default, Clone)]
struct Peak {
    /// What was spent in each second that still counts, oldest first.
    recent: VecDeque<(i64, u64)>,
    spent: u64,
    most: u64,
}

/// The peaks of all clients of a policy.
///
/// Under a limit of `L`, exactly the clients with a peak above `L` are denied something: until its first denial
/// a client's log holds all that it sent.
#[derive(Debug, Clone)]
pub(super) struct Peaks {
    window: Duration,
    by_client: Vec<Peak>,
}

/// The smallest limits that would have denied hardly anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct SuggestedLimits {
    pub(super) nobody: u64,
    #[serde(rename = "0.1%")]
    pub(super) one_in_1000: u64,
    #[serde(rename = "1%")]
    pub(super) one_in_100: u64,
}

impl Peaks {
    pub(super) fn new(window: Duration, clients: usize) -> Self {
        Self {
            window,
            by_client: vec![Peak::default(); clients],
        }
    }

    /// Counts a request; `at` in seconds, never before an earlier call's.
    pub(super) fn count(&mut self, client: usize, at: i64, cost: u32) {
        let peak = &mut self.by_client[client];
        let left = |then: i64| Duration::from_secs(at.abs_diff(then)) >= self.window;
        while let Some(&(then, cost)) = peak.recent.front()
            && left(then)
        {
            peak.spent -= cost;
            peak.recent.pop_front();
        }
        let cost = u64::from(cost);
        match peak.recent.back_mut() {
            Some((then, spent)) if *then == at => *spent += cost,
            _ => peak.recent.push_back((at, cost)),
        }
        peak.spent += cost;
        peak.most = peak.most.max(peak.spent);
    }

    /// How many clients were counted at all.
    pub(super) fn clients(&self) -> usize {
        self.by_client.iter().filter(|peak| peak.most > 0).count()
    }

    /// The smallest limit with nobody, at most 0.1 % and at most 1 % of the clients above it; `None` without any.
    pub(super) fn suggest(&self) -> Option<SuggestedLimits> {
        let mut peaks: Vec<u64> = self.by_client.iter().map(|peak| peak.most).collect();
        peaks.retain(|&peak| peak > 0);
        peaks.sort_unstable_by(|a, b| b.cmp(a));
        let above = |clients: usize| peaks.get(clients).copied();
        Some(SuggestedLimits {
            nobody: above(0)?,
            one_in_1000: above(peaks.len() / 1000)?,
            one_in_100: above(peaks.len() / 100)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peaks(window: u64, counted: &[(usize, i64)], clients: usize) -> Peaks {
        let mut peaks = Peaks::new(Duration::from_secs(window), clients);
        for &(client, at) in counted {
            peaks.count(client, at, 1);
        }
        peaks
    }

    #[test]
    fn a_request_leaves_the_window_exactly_its_length_later() {
        assert_eq!(
            peaks(60, &[(0, 0), (0, 60)], 1).suggest().unwrap().nobody,
            1
        );
        assert_eq!(
            peaks(60, &[(0, 0), (0, 59)], 1).suggest().unwrap().nobody,
            2
        );
    }

    #[test]
    fn suggests_nothing_without_clients() {
        assert_eq!(peaks(60, &[], 3).suggest(), None);
    }

    #[test]
    fn a_share_of_the_clients_is_rounded_down() {
        // Client `c` has a peak of `c`, for 1 to 199 and 1 to 1000.
        let stairs = |clients: usize| -> Vec<_> {
            (1..=clients)
                .flat_map(|client| std::iter::repeat_n((client, 0), client))
                .collect()
        };
        let of_199 = peaks(60, &stairs(199), 200).suggest().unwrap();
        assert_eq!(
            (of_199.nobody, of_199.one_in_1000, of_199.one_in_100),
            (199, 199, 198)
        );
        let of_1000 = peaks(60, &stairs(1000), 1001).suggest().unwrap();
        assert_eq!(
            (of_1000.nobody, of_1000.one_in_1000, of_1000.one_in_100),
            (1000, 999, 990)
        );
    }

    proptest! {
        #[test]
        fn equals_counting_every_window(
            window in 1_u64..20,
            mut counted in prop::collection::vec((0_usize..3, 0_i64..60), 1..80),
        ) {
            counted.sort_by_key(|&(_, at)| at);
            let peaks = peaks(window, &counted, 3);
            for client in 0..3 {
                let of_client = || counted.iter().filter(|&&(other, _)| other == client).map(|&(_, at)| at);
                let most = of_client()
                    .map(|end| of_client().filter(|&at| at <= end && at > end - window as i64).count())
                    .max()
                    .unwrap_or(0);
                prop_assert_eq!(peaks.by_client[client].most, most as u64);
            }
        }
    }
}
