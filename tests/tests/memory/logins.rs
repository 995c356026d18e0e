//! What the memory store takes for accounts whose logins fail, seen from outside.

use http::StatusCode;
use palisade::client::{Network, Route, Secret};
use palisade::store::memory::MemoryStore;
use palisade::suspicion::store::{FailedRequest, LocalFailureStore, Rule};
use palisade::suspicion::{AccountHash, IncidentKind, LoginAttempt};
use palisade_tests::memory::{is_alone, resident};

const ACCOUNTS: usize = 100_000;

/// A failed login from so many networks to each of these accounts.
fn fail(store: &MemoryStore, rule: Rule, accounts: std::ops::Range<usize>, networks: u64) {
    let secret = Secret::from_bytes(b"a secret of the tests");
    for account in accounts {
        let account = AccountHash::of(&account.to_string(), &secret);
        let failed = |network: u64| {
            let mut request = FailedRequest::new(
                Network::of([192, 0, 2, 1].into(), 64),
                StatusCode::OK,
                Route::UNMATCHED,
            );
            request.login = Some(LoginAttempt {
                account,
                network: network.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                succeeded: false,
            });
            request
        };
        store.count_now(&[rule], &(0..networks).map(failed).collect::<Vec<_>>());
    }
}

#[test]
fn accounts_whose_logins_fail_stay_within_the_stated_number_and_memory() {
    if !is_alone(accounts_whose_logins_fail_stay_within_the_stated_number_and_memory) {
        return;
    }
    let before = resident();
    let store = MemoryStore::new();
    let rule = Rule::new(
        IncidentKind::DistributedStuffing,
        IncidentKind::DistributedStuffing.default_threshold(),
    );
    fail(&store, rule, 0..ACCOUNTS, 1);
    let taken = resident() - before;
    println!("{} bytes an account", taken / ACCOUNTS);
    assert!(taken < 300 * ACCOUNTS, "{taken} bytes");

    // Twice as many more: the number of accounts, and so the memory, stays.
    fail(&store, rule, ACCOUNTS..3 * ACCOUNTS, 1);
    assert_eq!(store.keys(), ACCOUNTS);
    let taken = resident() - before;
    assert!(taken < 300 * ACCOUNTS, "{taken} bytes");

    // Of 6,000 under attack from 70 networks each, 4,096 have a sketch.
    const ATTACKED: usize = 6_000;
    fail(&store, rule, 0..ATTACKED, 70);
    let more = resident() - before - taken;
    println!("{} bytes more for an attack", more / ATTACKED);
    assert!(more < 4_096 * 4_300 + 1_500 * ATTACKED, "{more} bytes");
}
