//! What the memory store takes for keys of text, seen from outside.

use std::time::Duration;

use palisade::client::{Secret, UserId};
use palisade::rate_limit::store::{Charge, LocalStore, Logs};
use palisade::rate_limit::{PartitionKey, Quota};
use palisade::store::memory::MemoryStore;
use palisade_tests::memory::{is_alone, resident};

#[test]
fn a_million_users_with_the_longest_ids_stay_within_the_stated_memory() {
    if !is_alone(a_million_users_with_the_longest_ids_stay_within_the_stated_memory) {
        return;
    }
    const MILLION: usize = 1_000_000;
    // 100 bytes for the key, the id's 64, and up to 32 of the allocation that it is in.
    const STATED: usize = 200;
    let secret = Secret::from_bytes(b"unused: the ids stand as they are");
    let before = resident();
    let store = MemoryStore::new();
    let quota = Quota::new(60, Duration::from_secs(3_600)).unwrap();
    let limits = store.bind_local(&[Logs::of("user", quota.window())]);
    for n in 0..MILLION {
        let id = UserId::new(&format!("{n:0>64}"), &secret);
        assert_eq!(id.as_str().len(), UserId::MAX_PLAIN);
        let key = PartitionKey::from(id);
        let charge = Charge {
            policy: 0,
            key: &key,
            quota,
            cost: 1,
            enforced: true,
        };
        assert!(limits.admit_now(&[charge]).admitted);
    }
    let taken = resident() - before;
    println!("{} bytes a user", taken / MILLION);
    assert!(
        taken < STATED * MILLION,
        "{taken} bytes for 1,000,000 users"
    );
    // Keys are spread over shards by their hashes, so a few shards fill before all have.
    assert!(store.keys() > MILLION * 99 / 100, "{} keys", store.keys());
}
