//! What the memory store takes for clients that fail, seen from outside.

use std::net::Ipv4Addr;

use http::StatusCode;
use palisade::client::{Network, Route};
use palisade::store::memory::MemoryStore;
use palisade::suspicion::IncidentKind;
use palisade::suspicion::store::{FailedRequest, LocalFailureStore, Rule};
use palisade_tests::memory::{is_alone, resident};

const CLIENTS: u32 = 100_000;

/// One 404 of each of these clients.
fn fail(store: &MemoryStore, rule: Rule, clients: std::ops::Range<u32>) -> usize {
    let failed = |client| {
        FailedRequest::new(
            Network::of(Ipv4Addr::from_bits(client).into(), 64),
            StatusCode::NOT_FOUND,
            Route::UNMATCHED,
        )
    };
    let incidents = clients.map(|client| store.count_now(&[rule], &[failed(client)]).len());
    incidents.sum()
}

#[test]
fn scanning_clients_stay_within_the_stated_number_and_memory() {
    if !is_alone(scanning_clients_stay_within_the_stated_number_and_memory) {
        return;
    }
    let before = resident();
    let store = MemoryStore::new();
    let rule = Rule::new(
        IncidentKind::EndpointScanning,
        IncidentKind::EndpointScanning.default_threshold(),
    );
    assert_eq!(fail(&store, rule, 0..CLIENTS), 0);
    let taken = resident() - before;
    println!("{} bytes a client", taken / CLIENTS as usize);
    assert!(taken < 200 * CLIENTS as usize, "{taken} bytes");

    // Five times as many more: the number of clients, and so the memory, stays.
    assert_eq!(fail(&store, rule, CLIENTS..6 * CLIENTS), 0);
    assert_eq!(store.keys(), CLIENTS as usize);
    let taken = resident() - before;
    assert!(taken < 200 * CLIENTS as usize, "{taken} bytes");
}
