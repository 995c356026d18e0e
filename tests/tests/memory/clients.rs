//! What the memory store takes, seen from outside.

use std::net::Ipv4Addr;
use std::time::Duration;

use palisade::client::Network;
use palisade::rate_limit::Quota;
use palisade::rate_limit::store::{AdmitNow, Charge, LocalStore, Logs};
use palisade::store::memory::MemoryStore;
use palisade_tests::memory::{is_alone, resident};

const HOUR: Duration = Duration::from_secs(3_600);

fn admit(limits: &dyn AdmitNow, client: u32, quota: Quota) -> bool {
    let key = Network::of(Ipv4Addr::from_bits(client).into(), 64).into();
    limits
        .admit_now(&[Charge {
            policy: 0,
            key: &key,
            quota,
            cost: 1,
            enforced: true,
        }])
        .admitted
}

#[test]
fn a_million_clients_and_a_hot_one_stay_within_the_stated_memory() {
    if !is_alone(a_million_clients_and_a_hot_one_stay_within_the_stated_memory) {
        return;
    }
    const MILLION: u32 = 1_000_000;
    let before = resident();
    let store = MemoryStore::new();
    let limits = store.bind_local(&[Logs::of("ip", HOUR)]);
    let quota = Quota::new(200, HOUR).unwrap();
    for client in 0..MILLION {
        assert!(admit(&*limits, client, quota));
    }
    let taken = resident() - before;
    println!("{} bytes a client", taken / MILLION as usize);
    assert!(
        taken < 100 * MILLION as usize,
        "{taken} bytes for 1,000,000 clients"
    );

    // A million more: the number of keys, and so the memory, stays.
    for client in MILLION..2 * MILLION {
        assert!(admit(&*limits, client, quota));
    }
    assert!(store.keys() <= MILLION as usize);
    let taken = resident() - before;
    assert!(
        taken < 100 * MILLION as usize,
        "{taken} bytes after 2,000,000 clients"
    );

    // The largest quota, used up by one client: five bytes a hit.
    let before = resident();
    let hot = MemoryStore::new();
    let limits = hot.bind_local(&[Logs::of("ip", HOUR)]);
    let quota = Quota::new(MILLION, HOUR).unwrap();
    for _ in 0..MILLION {
        assert!(admit(&*limits, 1, quota));
    }
    assert!(!admit(&*limits, 1, quota));
    let taken = resident().saturating_sub(before);
    println!("{taken} bytes for a log of 1,000,000 hits");
    assert!(
        taken < 10 * MILLION as usize,
        "{taken} bytes for a log of 1,000,000 hits"
    );
}
