use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Network, PartitionKey, Quota, Route};
use crate::rate_limit::store::{Charge, Logs, Tier, Verdict};
use crate::suspicion::IncidentKind;
use crate::suspicion::store::FailedRequest;

fn key(n: u32) -> PartitionKey {
    Network::of(std::net::Ipv4Addr::from_bits(n).into(), 64).into()
}

fn quota(limit: u32, millis: u64) -> Quota {
    Quota::new(limit, Duration::from_millis(millis)).unwrap()
}

fn charge(policy: usize, key: &PartitionKey, quota: Quota) -> Charge<'_> {
    Charge {
        policy,
        key,
        quota,
        cost: 1,
        enforced: true,
    }
}

/// Under quotas of whatever window, which all count in the same logs.
fn bind<const N: usize>(store: &MemoryStore, policies: [&str; N]) -> Arc<dyn AdmitNow> {
    store.bind_local(&policies.map(|policy| Logs::of(policy, Duration::from_secs(60))))
}

fn store(max_keys: usize) -> (Hand, MemoryStore, Arc<dyn AdmitNow>) {
    let hand = Hand::default();
    let store = MemoryStore::builder()
        .clock(hand.clone())
        .max_keys(max_keys)
        .build()
        .unwrap();
    let bound = bind(&store, ["a", "b"]);
    (hand, store, bound)
}

/// The definition itself: every admitted unit, and a count over the window.
#[derive(Default)]
struct Reference(Vec<(usize, u32, u64)>);

impl Reference {
    fn live(&self, policy: usize, key: u32, now: u64, quota: Quota) -> Vec<u64> {
        let of_key = self.0.iter().filter(|(p, k, _)| (*p, *k) == (policy, key));
        of_key
            .map(|(.., at)| *at)
            .filter(|at| now - at < quota.window_micros())
            .collect()
    }

    fn tier(&self, charge: &Charge<'_>, key: u32, now: u64, denied: bool) -> Tier {
        let live = self.live(charge.policy, key, now, charge.quota);
        let (held, limit) = (live.len(), charge.quota.limit() as usize);
        let leaves =
            |index: usize| Duration::from_micros(live[index] + charge.quota.window_micros() - now);
        let retry = match (denied, charge.cost as usize) {
            (false, _) => None,
            (true, cost) if cost > limit => Some(Duration::MAX),
            (true, cost) => Some(leaves(held + cost - limit - 1)),
        };
        let reset = if held == 0 {
            Duration::ZERO
        } else {
            leaves(held.saturating_sub(limit))
        };
        Tier {
            remaining: limit.saturating_sub(held) as u32,
            reset,
            retry,
        }
    }

    fn admit(&mut self, now: u64, charges: &[(Charge<'_>, u32)]) -> Verdict {
        let room = |(charge, key): &(Charge<'_>, u32)| {
            self.live(charge.policy, *key, now, charge.quota).len() as u32 + charge.cost
                <= charge.quota.limit()
        };
        let rooms: Vec<_> = charges.iter().map(room).collect();
        let admitted = charges
            .iter()
            .zip(&rooms)
            .all(|((charge, _), room)| *room || !charge.enforced);
        if admitted {
            for ((charge, key), _) in charges.iter().zip(&rooms).filter(|(_, room)| **room) {
                self.0.extend(std::iter::repeat_n(
                    (charge.policy, *key, now),
                    charge.cost as usize,
                ));
            }
        }
        let tiers = charges
            .iter()
            .zip(&rooms)
            .map(|((charge, key), room)| self.tier(charge, *key, now, !room));
        Verdict {
            admitted,
            banned: Default::default(),
            tiers: tiers.collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Few keys, small quotas that change, costs, dry runs, one or two policies at once: every answer as defined.
    #[test]
    fn answers_exactly_as_the_definition_does(
        steps in prop::collection::vec(
            (0_u64..700_000, 0_u32..3, 1_u32..5, any::<bool>(), any::<bool>(), 1_u32..9, 0_u8..3), 1..150),
    ) {
        let (hand, _, bound) = store(1_000);
        let mut reference = Reference::default();
        let mut now = 0;
        for (pause, number, cost, enforced, also, limit, policies) in steps {
            // Often no time at all passes.
            now += pause.saturating_sub(200_000);
            hand.set(now);
            let (first, second) = (key(number), key(7));
            let quotas = [quota(limit, 1_000), quota(5, 2_500)];
            let a = (Charge { policy: 0, key: &first, quota: quotas[0], cost, enforced }, number);
            let b = (Charge { policy: 1, key: &second, quota: quotas[1], cost: 1, enforced: also }, 7);
            let charges = match policies {
                0 => vec![a],
                1 => vec![b],
                _ => vec![a, b],
            };
            let plain: Vec<_> = charges.iter().map(|(charge, _)| *charge).collect();
            prop_assert_eq!(bound.admit_now(&plain), reference.admit(now, &charges));
        }
    }
}

#[test]
fn forgets_an_idle_key_before_one_that_still_counts() {
    let (hand, store, bound) = store(3);
    let quota = quota(2, 1_000);
    for (at, n) in [(0, 1), (100, 2), (200, 2), (300, 3)] {
        hand.set(at * 1_000);
        assert!(bound.admit_now(&[charge(0, &key(n), quota)]).admitted);
    }
    // Key 1 is idle, keys 2 (at its limit) and 3 are not.
    hand.set(1_050_000);
    assert!(bound.admit_now(&[charge(0, &key(4), quota)]).admitted);
    assert_eq!((store.keys(), store.evicted_live()), (3, 0));
    assert!(!bound.admit_now(&[charge(0, &key(2), quota)]).admitted);
    assert_eq!(
        bound.admit_now(&[charge(0, &key(3), quota)]).tiers[0].remaining,
        0
    );
}

#[test]
fn forgets_a_client_at_its_limit_last() {
    let (hand, store, bound) = store(3);
    let quota = quota(2, 60_000);
    for (at, n) in [(0, 1), (1, 1), (2, 2), (3, 3)] {
        hand.set(at);
        bound.admit_now(&[charge(0, &key(n), quota)]);
    }
    // Nobody is idle; key 1 has been quiet for longest, but stands at its limit.
    for n in 100..200 {
        hand.set(u64::from(n));
        assert!(bound.admit_now(&[charge(0, &key(n), quota)]).admitted);
        assert!(!bound.admit_now(&[charge(0, &key(1), quota)]).admitted);
    }
    assert_eq!((store.keys(), store.evicted_live()), (3, 100));
}

#[test]
fn an_idle_key_at_its_limit_gives_way_to_keys_that_count() {
    let (hand, _, bound) = store(2);
    let quota = quota(1, 1_000);
    bound.admit_now(&[charge(0, &key(1), quota)]);
    hand.set(1_000_000);
    // Key 1 has left its limit by the clock alone, without being asked again.
    let roomy = Quota::new(9, Duration::from_secs(1)).unwrap();
    bound.admit_now(&[charge(0, &key(2), roomy)]);
    bound.admit_now(&[charge(0, &key(3), roomy)]);
    assert_eq!(
        bound.admit_now(&[charge(0, &key(2), roomy)]).tiers[0].remaining,
        7
    );
}

#[test]
fn a_denied_request_takes_no_place() {
    let (_, store, bound) = store(10);
    let (spare, full) = (quota(5, 1_000), quota(1, 1_000));
    bound.admit_now(&[charge(1, &key(9), full)]);
    for n in 0..10 {
        assert!(
            !bound
                .admit_now(&[charge(0, &key(n), spare), charge(1, &key(9), full)])
                .admitted
        );
    }
    assert_eq!(store.keys(), 1);
}

#[test]
fn a_clock_that_steps_back_admits_nothing_extra() {
    let (hand, _, bound) = store(10);
    let quota = quota(2, 1_000);
    hand.set(5_000_000);
    assert!(bound.admit_now(&[charge(0, &key(1), quota)]).admitted);
    hand.set(0);
    assert!(bound.admit_now(&[charge(0, &key(1), quota)]).admitted);
    assert!(!bound.admit_now(&[charge(0, &key(1), quota)]).admitted);
    hand.set(6_000_000);
    assert!(bound.admit_now(&[charge(0, &key(1), quota)]).admitted);
}

#[test]
fn threads_that_share_a_key_are_admitted_exactly_its_quota_together() {
    let store = MemoryStore::new();
    let quota = Quota::new(1_000, Duration::from_secs(3_600)).unwrap();
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let bound = bind(&store, ["a", "b"]);
            let admitted = &admitted;
            scope.spawn(move || {
                for n in 0..1_000 {
                    // Each thread has its own second key, so locks are taken in many combinations.
                    let (shared, own) = (key(1), key(100 + thread * 1_000 + n));
                    let verdict =
                        bound.admit_now(&[charge(0, &shared, quota), charge(1, &own, quota)]);
                    admitted.fetch_add(u64::from(verdict.admitted), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1_000);
}

#[test]
fn binds_that_name_the_policies_in_other_orders_do_not_wait_for_each_other_in_a_circle() {
    let store = MemoryStore::new();
    let quota = Quota::new(1_000_000, Duration::from_secs(3_600)).unwrap();
    let orders = [
        ["a", "b", "c"],
        ["c", "a", "b"],
        ["b", "c", "a"],
        ["c", "b", "a"],
    ];
    let (done, finished) = std::sync::mpsc::channel();
    for order in orders {
        let bound = bind(&store, order);
        let done = done.clone();
        std::thread::spawn(move || {
            for n in 0..20_000 {
                let key = key(n % 2);
                let charges = [0, 1, 2].map(|policy| charge(policy, &key, quota));
                assert_eq!(bound.admit_now(&charges).tiers.len(), 3);
            }
            done.send(()).unwrap();
        });
    }
    for _ in orders {
        finished
            .recv_timeout(Duration::from_secs(60))
            .expect("the threads wait for each other");
    }
}

#[test]
fn a_bind_in_another_order_answers_in_the_order_of_its_charges() {
    let store = MemoryStore::new();
    let minute = Duration::from_secs(60);
    let quotas = [1, 2, 3].map(|limit| Quota::new(limit, minute).unwrap());
    bind(&store, ["c", "b", "a"]);
    let bound = bind(&store, ["a", "b", "c"]);
    let key = key(1);
    let charges = [0, 1, 2].map(|policy| charge(policy, &key, quotas[policy]));
    let left: Vec<_> = bound
        .admit_now(&charges)
        .tiers
        .iter()
        .map(|tier| tier.remaining)
        .collect();
    assert_eq!(left, [0, 1, 2]);
}

#[test]
fn idle_keys_are_let_go_while_new_ones_come() {
    let (hand, store, bound) = store(10_000);
    let quota = quota(200, 1_000);
    for n in 0..5_000 {
        bound.admit_now(&[charge(0, &key(n), quota)]);
    }
    assert_eq!(store.keys(), 5_000);
    hand.set(1_000_000);
    for n in 10_000..15_000 {
        bound.admit_now(&[charge(0, &key(n), quota)]);
    }
    assert_eq!((store.keys(), store.evicted_live()), (5_000, 0));
}

#[test]
fn a_flood_of_failing_clients_does_not_make_a_suspicious_one_forgotten() {
    let (_, store, _) = store(1_000);
    let rule = Rule::new(IncidentKind::EndpointScanning, "2/1h".parse().unwrap());
    let fail = |n: u32| {
        let request = FailedRequest::new(
            Network::of(std::net::Ipv4Addr::from_bits(n).into(), 64),
            http::StatusCode::NOT_FOUND,
            Route::UNMATCHED,
        );
        store.count_now(&[rule], &[request]).len()
    };
    assert_eq!((fail(0), fail(0)), (0, 1));
    assert_eq!((1..10_000).map(fail).sum::<usize>(), 0);
    // Still the episode that was reported, and no new one.
    assert_eq!((fail(0), fail(0)), (0, 0));
    assert_eq!((store.keys(), store.evicted_live()), (1_000, 9_000));
}

#[test]
fn refuses_a_bound_of_no_keys() {
    let error = MemoryStore::builder().max_keys(0).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`max_keys` cannot be `0`: allowed is 1 to 1000000000 keys"
    );
}
