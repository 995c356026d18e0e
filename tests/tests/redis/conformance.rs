//! One suite that every store must pass, through the port that the layer uses, on the store's own clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade::client::{Network, Secret, UserId};
use palisade::rate_limit::store::{Admit, Charge, Logs, Store, Verdict};
use palisade::rate_limit::{PartitionKey, Quota};
use palisade::store::memory::MemoryStore;
use palisade::store::redis::RedisStore;
use palisade_tests::redis::RedisServer;
use tokio::task::JoinSet;

use super::charge;

const POLICIES: [&str; 3] = ["a", "b", "c"];

/// Runs a test on every store.
async fn on_every_store(test: impl AsyncFn(&str, &dyn Store)) {
    test("memory", &MemoryStore::new()).await;
    let server = RedisServer::start();
    let redis = RedisStore::builder(&server.url()).deadline(Duration::from_secs(10));
    test("redis", &redis.build().unwrap()).await;
}

fn bind(store: &dyn Store) -> Arc<dyn Admit> {
    store.bind(&POLICIES.map(|policy| Logs::of(policy, HOUR)))
}

fn key(name: &str) -> PartitionKey {
    PartitionKey::text(name, &Secret::from_bytes(b"a secret of the tests"))
}

fn quota(limit: u32, window: Duration) -> Quota {
    Quota::new(limit, window).unwrap()
}

async fn admit(limits: &Arc<dyn Admit>, charges: &[Charge<'_>]) -> Verdict {
    limits.admit(charges).await.unwrap()
}

const HOUR: Duration = Duration::from_secs(3_600);

/// A linear congruential generator (Knuth's MMIX): the same commands in every run and for every store.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

#[tokio::test]
async fn a_key_that_is_forgotten_has_its_whole_quota_again_under_every_policy_and_no_other_has() {
    on_every_store(async |name, store| {
        let limits = bind(store);
        let (one, other) = (key("one"), key("other"));
        for key in [&one, &other] {
            let both = [
                charge(0, key, quota(1, HOUR)),
                charge(2, key, quota(1, HOUR)),
            ];
            assert!(admit(&limits, &both).await.admitted, "{name}");
        }
        assert!(limits.forget(&one).await.unwrap(), "{name}");
        assert!(
            !limits.forget(&one).await.unwrap(),
            "{name}: nothing is left"
        );
        let kept = [charge(0, &other, quota(1, HOUR))];
        assert!(!admit(&limits, &kept).await.admitted, "{name}");
        let both = [
            charge(0, &one, quota(1, HOUR)),
            charge(2, &one, quota(1, HOUR)),
        ];
        assert!(admit(&limits, &both).await.admitted, "{name}");
        assert!(!admit(&limits, &both).await.admitted, "{name}");
    })
    .await;
}

/// Random requests within one long window, so that what is held decides and not the clock: costs, quotas that change,
/// dry runs, one to three policies at once.
#[tokio::test]
async fn decides_random_requests_as_plain_counting_does() {
    on_every_store(async |name, store| {
        let limits = bind(store);
        let mut random = Random(7);
        let mut held: HashMap<(usize, u32), u32> = HashMap::new();
        let (mut admissions, mut denials) = (0, 0);
        for step in 0..3_000 {
            // A new set of keys now and then, since nothing leaves within the hour.
            let era = step / 150;
            let mut asked = Vec::new();
            for policy in 0..3 {
                if random.below(3) > 0 {
                    let (number, limit) = (random.below(2) + 2 * era, 5 + random.below(30));
                    asked.push((
                        policy,
                        number,
                        limit,
                        1 + random.below(4),
                        random.below(4) > 0,
                    ));
                }
            }
            if asked.is_empty() {
                continue;
            }
            let keys: Vec<_> = asked
                .iter()
                .map(|(_, number, ..)| key(&number.to_string()))
                .collect();
            let charges: Vec<_> = asked
                .iter()
                .zip(&keys)
                .map(|(&(policy, _, limit, cost, enforced), key)| Charge {
                    policy,
                    key,
                    quota: quota(limit, HOUR),
                    cost,
                    enforced,
                })
                .collect();
            let verdict = admit(&limits, &charges).await;

            let mut rooms = Vec::new();
            for &(policy, number, limit, cost, _) in &asked {
                rooms.push(held.get(&(policy, number)).copied().unwrap_or(0) + cost <= limit);
            }
            let admitted = asked
                .iter()
                .zip(&rooms)
                .all(|((.., enforced), room)| *room || !enforced);
            assert_eq!(verdict.admitted, admitted, "{name}, step {step}: {asked:?}");
            for ((&(policy, number, limit, cost, _), room), tier) in
                asked.iter().zip(rooms).zip(&verdict.tiers)
            {
                let held = held.entry((policy, number)).or_default();
                if admitted && room {
                    *held += cost;
                }
                assert_eq!(
                    tier.remaining,
                    limit.saturating_sub(*held),
                    "{name}, step {step}"
                );
                assert_eq!(tier.retry.is_none(), room, "{name}, step {step}");
                assert_eq!(
                    tier.reset == Duration::ZERO,
                    *held == 0,
                    "{name}, step {step}"
                );
                assert!(
                    tier.reset <= HOUR && tier.retry.is_none_or(|retry| retry <= HOUR),
                    "{name}, step {step}"
                );
            }
            *(if admitted {
                &mut admissions
            } else {
                &mut denials
            }) += 1;
        }
        assert!(
            admissions > 300 && denials > 300,
            "{name}: {admissions} admitted, {denials} denied"
        );
    })
    .await;
}

#[tokio::test]
async fn a_cost_above_the_limit_never_fits() {
    on_every_store(async |name, store| {
        let (limits, key) = (bind(store), key("k"));
        let too_much = Charge {
            cost: 6,
            ..charge(0, &key, quota(5, HOUR))
        };
        let verdict = admit(&limits, &[too_much]).await;
        assert!(!verdict.admitted, "{name}");
        assert_eq!(
            (verdict.tiers[0].retry, verdict.tiers[0].remaining),
            (Some(Duration::MAX), 5),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_denied_request_can_pass_once_its_retry_is_over_and_not_before() {
    // Long against the 0.3 s in which three requests are sent, so that the first still counts after them.
    const WINDOW: Duration = Duration::from_secs(3);
    on_every_store(async |name, store| {
        let limits = bind(store);
        for round in 0.. {
            let key = key(&format!("k{round}"));
            if can_pass_after_its_retry(name, &limits, charge(0, &key, quota(3, WINDOW))).await {
                break;
            }
        }
    })
    .await;

    /// False when this machine stood still for so long that the first request left the window before all were answered:
    /// that tells nothing.
    async fn can_pass_after_its_retry(
        name: &str,
        limits: &Arc<dyn Admit>,
        charge: Charge<'_>,
    ) -> bool {
        let first = Instant::now();
        for _ in 0..3 {
            assert!(admit(limits, &[charge]).await.admitted, "{name}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let verdict = admit(limits, &[charge]).await;
        let denied_again = !admit(limits, &[charge]).await.admitted;
        let answered = Instant::now();
        if answered >= first + WINDOW {
            return false;
        }
        assert!(denied_again, "{name}: admitted early");
        let retry = verdict.tiers[0].retry.expect("the quota is used up");
        // Two pauses of 0.1 s, at least, lie between the first request and the one that was denied.
        let most = WINDOW - Duration::from_millis(200);
        assert!(retry <= most, "{name}: {retry:?}");
        // Less what the store's clock may gain on this one meanwhile.
        let least = (first + WINDOW - answered).saturating_sub(Duration::from_millis(10));
        assert!(retry >= least, "{name}: {retry:?}");
        tokio::time::sleep_until((answered + retry).into()).await;
        assert!(
            admit(limits, &[charge]).await.admitted,
            "{name}: denied after {retry:?}"
        );
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_admitted_exactly_as_far_as_the_quota_goes() {
    on_every_store(async |name, store| {
        let limits = bind(store);
        let mut tasks = JoinSet::new();
        for n in 0..1_000 {
            let limits = Arc::clone(&limits);
            tasks.spawn(async move {
                let (shared, own) = (key("shared"), key(&format!("own-{n}")));
                let charges = [
                    charge(0, &shared, quota(321, HOUR)),
                    charge(1, &own, quota(1, HOUR)),
                ];
                admit(&limits, &charges).await.admitted
            });
        }
        let admitted = tasks
            .join_all()
            .await
            .into_iter()
            .filter(|admitted| *admitted)
            .count();
        assert_eq!(admitted, 321, "{name}");
    })
    .await;
}

#[tokio::test]
async fn binds_of_one_name_share_their_logs_and_names_do_not() {
    on_every_store(async |name, store| {
        let (key, quota) = (key("k"), quota(1, HOUR));
        let (one, other) = (
            store.bind(&["a", "b"].map(|policy| Logs::of(policy, HOUR))),
            store.bind(&["b", "a"].map(|policy| Logs::of(policy, HOUR))),
        );
        assert!(
            admit(&one, &[charge(0, &key, quota)]).await.admitted,
            "{name}"
        );
        assert!(
            !admit(&other, &[charge(1, &key, quota)]).await.admitted,
            "{name}"
        );
        assert!(
            admit(&other, &[charge(0, &key, quota)]).await.admitted,
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn two_windows_of_one_policy_and_two_kinds_of_one_spelling_share_no_log() {
    on_every_store(async |name, store| {
        let second = Duration::from_secs(1);
        let windows = [HOUR, second, second + Duration::from_millis(500)];
        let limits = windows.map(|window| store.bind(&[Logs::of("a", window)]));
        let secret = Secret::from_bytes(b"a secret of the tests");
        let keys = [
            Network::of("192.0.2.1".parse().unwrap(), 64).into(),
            UserId::new("192.0.2.1", &secret).into(),
            PartitionKey::text("192.0.2.1", &secret),
        ];
        for (limits, window) in limits.iter().zip(windows) {
            for key in &keys {
                let verdict = admit(limits, &[charge(0, key, quota(1, window))]).await;
                assert!(verdict.admitted, "{name}: {key:?} in {window:?}");
            }
        }
        // What the short windows have let go of still counts in the long one.
        tokio::time::sleep(2 * second).await;
        for (limits, window) in limits.iter().zip(windows).rev() {
            for key in &keys {
                let verdict = admit(limits, &[charge(0, key, quota(1, window))]).await;
                assert_eq!(
                    verdict.admitted,
                    window < HOUR,
                    "{name}: {key:?} in {window:?}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_cost_above_ten_thousand_never_fits_whatever_the_limit() {
    on_every_store(async |name, store| {
        let (limits, key) = (bind(store), key("k"));
        let cost = |cost| Charge {
            cost,
            ..charge(0, &key, quota(1_000_000, HOUR))
        };
        let verdict = admit(&limits, &[cost(Quota::MAX_COST + 1)]).await;
        assert_eq!(
            (verdict.admitted, verdict.tiers[0].retry),
            (false, Some(Duration::MAX)),
            "{name}"
        );
        assert_eq!(verdict.tiers[0].remaining, 1_000_000, "{name}");
        let verdict = admit(&limits, &[cost(Quota::MAX_COST)]).await;
        assert_eq!(
            (verdict.admitted, verdict.tiers[0].remaining),
            (true, 1_000_000 - Quota::MAX_COST),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_million_is_a_legal_limit_and_takes_no_memory_ahead() {
    on_every_store(async |name, store| {
        let (limits, key) = (bind(store), key("k"));
        let verdict = admit(&limits, &[charge(0, &key, quota(1_000_000, HOUR))]).await;
        assert_eq!(
            (verdict.admitted, verdict.tiers[0].remaining),
            (true, 999_999),
            "{name}"
        );
    })
    .await;
}
