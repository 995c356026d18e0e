use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn client(n: u32) -> Network {
    Network::of(std::net::Ipv4Addr::from_bits(n).into(), 64)
}

/// Everything that was counted, as told by a clock that may be set back, which counts in the newest minute.
#[derive(Default)]
struct Exact {
    newest: u64,
    counted: HashMap<u64, HashMap<Network, u64>>,
}

impl Exact {
    fn count(&mut self, client: Network, minute: u64) {
        self.newest = self.newest.max(minute);
        let minute = self.counted.entry(self.newest).or_default();
        *minute.entry(client).or_default() += 1;
    }

    fn of(&self, minute: u64) -> HashMap<Network, u64> {
        let newest = self.newest.max(minute);
        let mut sums = HashMap::new();
        let live = self
            .counted
            .iter()
            .filter(|(minute, _)| **minute + MINUTES as u64 > newest);
        for (client, count) in live.flat_map(|(_, counts)| counts) {
            *sums.entry(*client).or_default() += count;
        }
        sums
    }
}

fn holds(top: &Top, exact: &Exact, minute: u64, counters: u64) {
    let exact = exact.of(minute);
    let all = top.ranking(minute, usize::MAX);
    let total: u64 = exact.values().sum();
    assert_eq!(all.total, total);
    assert!(all.error * counters <= total, "{} of {total}", all.error);
    for most in [0, 3, usize::MAX] {
        let ranking = top.ranking(minute, most);
        assert_eq!(ranking.clients, all.clients[..most.min(all.clients.len())]);
        let mut missing = exact.clone();
        for it in &ranking.clients {
            let truth = missing.remove(&it.client).unwrap_or(0);
            assert!(
                it.count - it.error <= truth && truth <= it.count,
                "{it:?} of {truth}"
            );
            assert!(it.error <= ranking.error);
        }
        let most = missing.values().max().copied().unwrap_or(0);
        assert!(most <= ranking.missing, "{most} > {}", ranking.missing);
    }
    let counts: Vec<_> = all.clients.iter().map(|it| it.count).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b));
}

/// How a client is chosen and how the clock moves before it is counted.
#[derive(Debug, Clone)]
enum Step {
    Fresh,
    Heavy,
    Any(u32),
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Fresh),
        4 => Just(Step::Heavy),
        6 => (0..40_u32).prop_map(Step::Any),
        1 => prop_oneof![Just(1), Just(-1), -30..30_i64].prop_map(Step::Clock),
    ];
    vec(step, 0..600)
}

proptest! {
    #[test]
    fn every_bound_holds_for_hostile_streams_and_clocks(steps in steps(), counters in 1..20_u16) {
        let (top, mut exact) = (Top::new(counters), Exact::default());
        let (mut minute, mut fresh) = (1_000_i64, 1_000_000);
        for step in steps {
            let chosen = match step {
                Step::Fresh => {
                    fresh += 1;
                    fresh
                }
                // Another one each minute.
                Step::Heavy => 500_000 + minute as u32,
                Step::Any(n) => n,
                Step::Clock(minutes) => {
                    minute = (minute + minutes).max(0);
                    holds(&top, &exact, minute as u64, counters.into());
                    continue;
                }
            };
            top.count(client(chosen), minute as u64);
            exact.count(client(chosen), minute as u64);
        }
        holds(&top, &exact, minute as u64, counters.into());
    }
}

#[test]
fn counts_are_exact_while_there_are_no_more_clients_than_counters() {
    let top = Top::new(4);
    for n in 1..=4 {
        (0..n).for_each(|_| top.count(client(n), 7));
    }
    let ranking = top.ranking(7, 3);
    let counts: Vec<_> = ranking
        .clients
        .iter()
        .map(|it| (it.count, it.error))
        .collect();
    assert_eq!(counts, [(4, 0), (3, 0), (2, 0)]);
    // The fourth is known, and merely not listed.
    assert_eq!((ranking.total, ranking.error, ranking.missing), (10, 0, 1));
    assert_eq!(top.ranking(7, 4).missing, 0);
    // A fifth takes a counter over: now there may be one who is not known.
    top.count(client(5), 7);
    assert_eq!(top.ranking(7, 4).error, 2);
}

#[test]
fn a_heavy_client_shows_in_a_flood_of_clients_that_come_once() {
    let top = Top::new(COUNTERS as u16);
    for n in 0..100_000 {
        top.count(client(1_000_000 + n), u64::from(n) / 10_000);
        if n % 50 == 0 {
            top.count(client(1), u64::from(n) / 10_000);
        }
    }
    let ranking = top.ranking(9, 10);
    assert_eq!(ranking.clients[0].client, client(1));
    assert!(ranking.clients[0].count - ranking.clients[0].error >= 1_500);
    assert!(ranking.error <= 102_000 / COUNTERS as u64);
}

#[test]
fn what_is_older_than_the_time_looked_back_is_forgotten() {
    let top = Top::new(4);
    top.count(client(1), 5);
    assert_eq!(top.ranking(14, 1).total, 1);
    assert_eq!(top.ranking(15, 1), Ranking::default());
    // A minute's place is taken by one that is a round later.
    top.count(client(2), 15);
    let ranking = top.ranking(15, 9);
    assert_eq!(
        (ranking.clients.len(), ranking.clients[0].client),
        (1, client(2))
    );
}

#[test]
fn memory_stays_bounded_however_many_clients_come() {
    let top = Top::new(8);
    for n in 0..50_000 {
        top.count(client(n), u64::from(n) / 100);
    }
    let minutes = top.minutes.lock().unwrap();
    for summary in &minutes.summaries {
        assert_eq!(summary.counters.len(), 8);
        assert_eq!(summary.heap.len(), 8);
        assert_eq!(summary.places.len(), 8);
        assert!(
            summary.places.capacity() <= 32,
            "{}",
            summary.places.capacity()
        );
    }
}
