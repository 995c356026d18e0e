//! What the memory store takes for banned clients, seen from outside.

use std::net::Ipv4Addr;
use std::time::Duration;

use palisade::client::{Network, Secret, UserId};
use palisade::store::memory::MemoryStore;
use palisade::suspicion::Subject;
use palisade::suspicion::store::LocalBanStore;
use palisade_tests::memory::{is_alone, resident};

const CLIENTS: u32 = 100_000;

fn ban(store: &MemoryStore, clients: std::ops::Range<u32>) {
    let secret = Secret::from_bytes(b"test");
    for n in clients {
        // In no order, as bans of several lengths are.
        let scattered = n.wrapping_mul(2_654_435_761);
        // Half of them users with ids of the longest kind.
        let subject = match n % 2 {
            0 => Network::of(Ipv4Addr::from_bits(scattered).into(), 64).into(),
            _ => Subject::User(UserId::new(&format!("{scattered:064}"), &secret)),
        };
        store.impose_for_now(
            &subject,
            Duration::from_secs(u64::from(scattered % 86_400) + 3_600),
        );
    }
}

#[test]
fn banned_clients_stay_within_the_stated_number_and_memory() {
    if !is_alone(banned_clients_stay_within_the_stated_number_and_memory) {
        return;
    }
    let before = resident();
    let store = MemoryStore::new();
    ban(&store, 0..CLIENTS);
    let taken = resident() - before;
    println!("{} bytes a client", taken / CLIENTS as usize);
    assert!(taken < 350 * CLIENTS as usize, "{taken} bytes");

    // Five times as many more: the number of clients, and so the memory, stays.
    ban(&store, CLIENTS..6 * CLIENTS);
    assert_eq!(store.list_now(usize::MAX).len(), CLIENTS as usize);
    let taken = resident() - before;
    println!("{} bytes a client", taken / CLIENTS as usize);
    assert!(taken < 350 * CLIENTS as usize, "{taken} bytes");
}
