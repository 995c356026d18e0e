//! The same random commands to both stores and to the plain reference: three equal answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use palisade::client::Secret;
use palisade::rate_limit::store::{AdmitNow, Charge, LocalStore, Logs};
use palisade::rate_limit::{PartitionKey, Quota};
use palisade::store::memory::{Clock, MemoryStore};
use palisade_tests::redis::RedisServer;

use super::model::{Random, decide};
use super::script::{Ask, EPOCH, Script, Tier};

#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// What the memory store makes of a request; its policies stand in the order of the asks.
fn in_memory(limits: &dyn AdmitNow, request: &[(usize, Ask)]) -> (bool, Vec<Tier>) {
    let keys: Vec<_> = request
        .iter()
        .map(|(_, ask)| {
            PartitionKey::text(
                &ask.key.replace(':', "-"),
                &Secret::from_bytes(b"a secret of the tests"),
            )
        })
        .collect();
    let charges: Vec<_> = request
        .iter()
        .zip(&keys)
        .map(|((policy, ask), key)| Charge {
            policy: *policy,
            key,
            quota: Quota::new(ask.limit, Duration::from_micros(ask.window)).unwrap(),
            cost: ask.cost,
            enforced: ask.enforced,
        })
        .collect();
    let verdict = limits.admit_now(&charges);
    let tiers = verdict.tiers.iter().map(|tier| Tier {
        remaining: tier.remaining.into(),
        reset: tier.reset.as_micros() as i64,
        retry: match tier.retry {
            None => 0,
            Some(Duration::MAX) => -1,
            Some(retry) => retry.as_micros() as i64,
        },
    });
    (verdict.admitted, tiers.collect())
}

/// The reference: every hit kept, the definition counted out.
fn by_definition(
    hits: &mut HashMap<String, Vec<u64>>,
    now: u64,
    request: &[(usize, Ask)],
) -> (bool, Vec<Tier>) {
    let live = |hits: &HashMap<String, Vec<u64>>, ask: &Ask| -> Vec<u64> {
        let all = hits.get(&ask.key).into_iter().flatten().copied();
        all.filter(|hit| now - hit < ask.window).collect()
    };
    let before: Vec<_> = request
        .iter()
        .map(|(_, ask)| decide(&live(hits, ask), now, ask))
        .collect();
    let admitted = request
        .iter()
        .zip(&before)
        .all(|((_, ask), tier)| tier.retry == 0 || !ask.enforced);
    for ((_, ask), tier) in request.iter().zip(&before) {
        if admitted && tier.retry == 0 {
            let hits = hits.entry(ask.key.clone()).or_default();
            hits.extend(std::iter::repeat_n(now, ask.cost as usize));
        }
    }
    let after = request.iter().zip(&before).map(|((_, ask), tier)| Tier {
        retry: tier.retry,
        ..decide(
            &live(hits, ask),
            now,
            &Ask {
                cost: 1,
                ..ask.clone()
            },
        )
    });
    (admitted, after.collect())
}

#[test]
fn both_stores_and_the_reference_answer_the_same_commands_alike() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    let mut hits = HashMap::new();
    let mut random = Random(11);
    // One window for each policy, since a shorter one may forget what a longer one still counts.
    let windows = [1_000_000, 7_000_000, 86_400_000_000];
    let limits = store.bind_local(
        &windows.map(|window| Logs::of(window.to_string(), Duration::from_micros(window))),
    );
    let (mut now, mut admissions, mut denials) = (EPOCH, 0, 0);
    for step in 0..8_000 {
        match random.below(20) {
            // Many at the same instant, and at the exact edges of windows.
            0..5 => {}
            5 => now += 1_000_000,
            6 => now += windows[1] - 1,
            7 if step % 50 == 0 => now += windows[2],
            _ => now += random.below(400_000),
        }
        let mut request = Vec::new();
        for (policy, window) in windows.into_iter().enumerate() {
            if random.below(3) > 0 {
                let ask = Ask {
                    key: format!("{policy}:{}", random.below(2)),
                    limit: random.of(&[1, 4, 4, 20, 900]),
                    window,
                    cost: random.of(&[1, 1, 1, 3, 5]),
                    enforced: random.below(4) != 0,
                };
                request.push((policy, ask));
            }
        }
        if request.is_empty() {
            continue;
        }
        hand.0.store(now, Ordering::Relaxed);
        let expected = by_definition(&mut hits, now, &request);
        let asks = request.iter().map(|(_, ask)| ask.clone()).collect();
        let redis = script.run(now, &[asks]).verdicts.remove(0);
        assert_eq!(redis, expected, "Redis, step {step}: {request:?}");
        assert_eq!(
            in_memory(&*limits, &request),
            expected,
            "memory, step {step}: {request:?}"
        );
        *(if expected.0 {
            &mut admissions
        } else {
            &mut denials
        }) += 1;
    }
    assert!(
        admissions > 1_000 && denials > 1_000,
        "{admissions} admitted, {denials} denied"
    );
}
