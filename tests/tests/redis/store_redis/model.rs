//! Random commands, decided by the script and by a reference that keeps every hit.

use std::collections::HashMap;

use palisade_tests::redis::RedisServer;

use super::script::{Ask, EPOCH, Script, Tier};

/// All hits of a key, and up to when a shorter window may have let them go.
#[derive(Default)]
struct History {
    hits: Vec<u64>,
    forgotten: u64,
}

impl History {
    fn live(&self, now: u64, window: u64) -> Vec<u64> {
        self.hits
            .iter()
            .copied()
            .filter(|&hit| now - hit < window)
            .collect()
    }

    /// Whether the log certainly holds all that is live.
    fn is_certain(&self, now: u64, window: u64) -> bool {
        self.live(now, window)
            .first()
            .is_none_or(|&first| first > self.forgotten)
    }
}

/// The contract, written down naively: what is left before the charge, and when it and the cost will fit.
pub(crate) fn decide(live: &[u64], now: u64, ask: &Ask) -> Tier {
    let (limit, cost) = (ask.limit as usize, ask.cost as usize);
    let leaves = |index: usize| (live[index] + ask.window - now) as i64;
    let count = live.len();
    Tier {
        remaining: limit.saturating_sub(count) as i64,
        reset: if count == 0 {
            0
        } else {
            leaves(count.saturating_sub(limit))
        },
        retry: match count + cost {
            _ if cost > limit => -1,
            wanted if wanted > limit => leaves(wanted - limit - 1),
            _ => 0,
        },
    }
}

/// A xorshift generator: the same commands in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Runs random batches; the limits, windows and costs change from request to request.
fn compare(seed: u64, limits: &[u32], windows: &[u64], costs: &[u32], steps: usize) -> [usize; 4] {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let mut random = Random(seed);
    let mut histories: HashMap<String, History> = HashMap::new();
    let mut now = EPOCH;
    let (mut admissions, mut denials, mut stepped_back, mut set_aside) = (0, 0, 0, 0);
    for _ in 0..steps {
        match random.below(40) {
            0 => now += 100_000_000,
            1 => {
                now -= random.below(5_000_000);
                stepped_back += 1;
            }
            2..8 => {}
            _ => now += random.below(1_000_000),
        }
        let batch: Vec<Vec<Ask>> = (0..=random.below(4))
            .map(|_| {
                (0..=random.below(3))
                    .map(|policy| Ask {
                        key: format!("{policy}:{}", random.below(2)),
                        limit: random.of(limits),
                        window: random.of(windows),
                        cost: random.of(costs),
                        enforced: random.below(4) != 0,
                    })
                    .collect()
            })
            .collect();
        let reply = script.run(now, &batch);
        assert_eq!(reply.broken, 0);
        for (request, (admitted, tiers)) in batch.iter().zip(reply.verdicts) {
            let mut certain = true;
            let mut fits = true;
            let expected: Vec<Tier> = request
                .iter()
                .map(|ask| {
                    let history = histories.entry(ask.key.clone()).or_default();
                    // No window and no step of the clock reaches back so far.
                    history.hits.retain(|&hit| hit + 60_000_000 > now);
                    for hit in &mut history.hits {
                        *hit = (*hit).min(now);
                    }
                    history.forgotten = history.forgotten.min(now);
                    let tier = decide(&history.live(now, ask.window), now, ask);
                    certain &= history.is_certain(now, ask.window);
                    fits &= tier.retry == 0 || !ask.enforced;
                    tier
                })
                .collect();
            if certain {
                assert_eq!(admitted, fits, "{request:?} {expected:?} {tiers:?}");
            }
            for ((ask, expected), tier) in request.iter().zip(expected).zip(tiers) {
                let history = histories.get_mut(&ask.key).unwrap();
                let empty = history.live(now, ask.window).is_empty();
                let charged = admitted && tier.retry == 0;
                if history.is_certain(now, ask.window) {
                    let mut expected = expected;
                    if charged {
                        expected.remaining -= i64::from(ask.cost);
                        if empty {
                            expected.reset = ask.window as i64;
                        }
                    }
                    assert_eq!(tier, expected, "{ask:?} at {now}");
                } else {
                    // Some of what is live may be forgotten, which leaves more room, never less.
                    let taken = if charged { i64::from(ask.cost) } else { 0 };
                    assert!(
                        tier.remaining + taken >= expected.remaining,
                        "{ask:?} {tier:?}"
                    );
                }
                if charged {
                    history
                        .hits
                        .extend(std::iter::repeat_n(now, ask.cost as usize));
                    history.forgotten = history.forgotten.max(now - ask.window);
                    let ttl: i64 = redis::cmd("PEXPIRETIME")
                        .arg(&ask.key)
                        .query(script.redis())
                        .unwrap();
                    assert!(ttl >= 0, "{} has no expiry", ask.key);
                    let older = format!("{}:older", ask.key);
                    let older = redis::cmd("EXISTS")
                        .arg(older)
                        .query::<usize>(script.redis());
                    set_aside += older.unwrap();
                }
            }
            admissions += usize::from(admitted);
            denials += usize::from(!admitted);
        }
    }
    [admissions, denials, stepped_back, set_aside]
}

#[test]
fn decides_as_the_reference_does_on_short_logs() {
    let counts = compare(
        1,
        &[1, 2, 5, 20, 100],
        &[1_000_000, 7_000_000, 7_000_000],
        &[1, 1, 1, 3],
        4000,
    );
    assert!(counts[..3].iter().all(|&count| count > 50), "{counts:?}");
    assert_eq!(counts[3], 0, "a short log is never set aside");
}

#[test]
fn decides_as_the_reference_does_on_long_logs() {
    let counts = compare(2, &[900, 2000, 5000], &[10_000_000], &[1, 40, 700], 3000);
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
}

#[test]
fn decides_as_the_reference_does_when_limits_move_between_short_and_long() {
    let counts = compare(
        3,
        &[10, 300, 819, 820, 3000],
        &[5_000_000, 20_000_000],
        &[1, 5, 250],
        3000,
    );
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
}
