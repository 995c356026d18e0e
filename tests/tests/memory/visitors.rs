//! What the memory store takes for the visitors of a funnel, seen from outside.

use std::net::Ipv4Addr;
use std::time::Duration;

use palisade::client::{Network, Secret};
use palisade::funnel::store::{Journeys, LocalVisitStore, Reach, Visitor};
use palisade::store::memory::MemoryStore;
use palisade_tests::memory::{is_alone, resident};

const VISITORS: u32 = 100_000;
const DAY: Duration = Duration::from_secs(86_400);

/// These visitors reach so many stages; how many counted.
fn walk(store: &MemoryStore, visitors: std::ops::Range<u32>, stages: u8) -> usize {
    let secret = Secret::from_bytes(b"a secret of the tests");
    let counted = visitors.map(|visitor| {
        let network = Network::of(Ipv4Addr::from_bits(visitor).into(), 64);
        let visitor = Visitor::anonymous(network, &secret);
        let reach = |stage| Reach {
            visitor: visitor.clone(),
            stage,
            age: Duration::ZERO,
        };
        let reaches: Vec<_> = (0..stages).map(reach).collect();
        let progress = store.reach_now(Journeys::of(["browse"], DAY), &reaches);
        progress.iter().map(|it| it.steps.len()).sum::<usize>()
    });
    counted.sum()
}

#[test]
fn a_flood_of_visitors_stays_within_the_stated_number_and_memory() {
    if !is_alone(a_flood_of_visitors_stays_within_the_stated_number_and_memory) {
        return;
    }
    let before = resident();
    let store = MemoryStore::builder()
        .max_keys(VISITORS as usize)
        .build()
        .unwrap();
    let all = VISITORS as usize;
    assert_eq!(walk(&store, 0..VISITORS, 4), 4 * all);
    let taken = resident() - before;
    println!("{} bytes a visitor of four stages", taken / all);
    assert!(taken < 256 * all, "{taken} bytes");

    // Five times as many more: the number of visitors, and so the memory, stays.
    assert_eq!(walk(&store, VISITORS..6 * VISITORS, 1), 5 * all);
    assert_eq!(store.keys(), all);
    assert_eq!(store.evicted_live(), 5 * u64::from(VISITORS));
    let taken = resident() - before;
    assert!(taken < 256 * all, "{taken} bytes");
}
