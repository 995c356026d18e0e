//! How far visitors came: the script, with the clock in the test's hands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use palisade::client::{Secret, UserId};
use palisade::funnel::store::{Journeys, LocalVisitStore, Progress, Reach, Visitor};
use palisade::store::memory::{Clock, MemoryStore};
use palisade_tests::redis::RedisServer;
use redis::Connection;

use super::model::Random;
use super::script::{CLOCK, EPOCH, load};

const SOURCE: &str = lua!("refused", "value", "ledger", "kept", "reach_stage");
/// Bytes that no test takes.
const ROOM: u64 = 1 << 40;
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

/// A stage that a visitor reached so many microseconds ago.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    visitor: u64,
    stage: u8,
    age: u64,
}

struct Script(Connection, String);

impl Script {
    /// The script with a clock in its last two arguments.
    fn on(server: &RedisServer) -> Self {
        let (connection, sha) = load(server, SOURCE, &[CLOCK]);
        Self(connection, sha)
    }

    /// How many broken journeys were dropped, and the progress of each reach.
    fn run(&mut self, now: u64, window: u64, batch: &[Reached]) -> (u64, Vec<Progress>) {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.1).arg(1 + batch.len()).arg("ledger");
        let mut plan = Vec::new();
        for reached in batch {
            call.arg(format!("v{}", reached.visitor));
            plan.push(reached.stage);
            plan.extend(&reached.age.to_be_bytes()[3..]);
        }
        call.arg(window).arg(plan).arg(ROOM);
        call.arg(now / SECOND).arg(now % SECOND);
        let reply: Vec<u64> = call.query(&mut self.0).unwrap();
        let mut numbers = reply.into_iter();
        let mut next = || numbers.next().unwrap();
        let broken = next();
        let progress = batch.iter().map(|_| {
            let (before, counted, left) = (next(), next(), next());
            Progress {
                before: before as u8,
                left: Duration::from_micros(left),
                refused: false,
                steps: (before..counted)
                    .map(|_| Duration::from_micros(next()))
                    .collect(),
            }
        });
        (broken, progress.collect())
    }

    /// The first number told of one reach, where all journeys may take this much.
    fn within(&mut self, now: u64, reached: Reached, budget: u64) -> u64 {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.1).arg(2).arg("ledger");
        call.arg(format!("v{}", reached.visitor)).arg(MINUTE);
        let plan = [&[reached.stage][..], &[0; 5]].concat();
        call.arg(plan).arg(budget);
        call.arg(now / SECOND).arg(now % SECOND);
        let reply: Vec<u64> = call.query(&mut self.0).unwrap();
        reply[1]
    }

    /// What the ledger holds, and what it should: of each journey its name, its value and 120 bytes.
    fn ledger(&mut self) -> (u64, u64) {
        let ledger: Vec<u8> = self.query(&["GET", "ledger"]);
        let bytes = |entry: &[u8]| {
            entry[6..]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let held = ledger[2..].chunks(11).map(bytes).sum();
        let keys: Vec<String> = self.query(&["KEYS", "v*"]);
        let takes = keys.iter().map(|key| {
            let value: u64 = self.query(&["STRLEN", key]);
            120 + key.len() as u64 + value
        });
        (held, takes.sum())
    }

    fn query<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut query = redis::cmd(command[0]);
        for argument in &command[1..] {
            query.arg(*argument);
        }
        query.query(&mut self.0).unwrap()
    }
}

/// The contract, written down naively: every reach is kept.
#[derive(Default)]
struct Reference {
    reaches: Vec<(u8, u64)>,
    /// When each stage was counted in the window that is open.
    counted: Vec<u64>,
    /// When the last window ended.
    ended: u64,
}

impl Reference {
    fn reach(&mut self, stage: u8, at: u64, now: u64, window: u64) -> Progress {
        if let Some(start) = self.counted.first()
            && at >= start + window
        {
            self.ended = start + window;
            self.counted.clear();
        }
        let before = self.counted.len();
        let mut steps = Vec::new();
        if at >= self.ended {
            self.reaches.push((stage, at));
        }
        loop {
            let next = self.counted.len() as u8;
            let from = self.counted.last().copied().unwrap_or(self.ended);
            let end = self.counted.first().map_or(u64::MAX, |it| it + window);
            let ready = self
                .reaches
                .iter()
                .filter(|(stage, at)| *stage == next && (from..end).contains(at));
            let Some(latest) = ready.map(|(_, at)| *at).max() else {
                break;
            };
            steps.push(Duration::from_micros(if next == 0 {
                0
            } else {
                latest - from
            }));
            self.counted.push(latest);
        }
        let left = self
            .counted
            .first()
            .map_or(0, |start| (start + window).saturating_sub(now));
        Progress {
            before: before as u8,
            steps: steps.into_iter().collect(),
            left: Duration::from_micros(left),
            refused: false,
        }
    }
}

#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn visitor(n: u64) -> Visitor {
    Visitor::user(UserId::new(&format!("v{n}"), &Secret::from_bytes(b"s")))
}

pub(crate) fn reach(reached: &Reached) -> Reach {
    Reach {
        visitor: visitor(reached.visitor),
        stage: reached.stage,
        age: Duration::from_micros(reached.age),
    }
}

#[test]
fn both_stores_and_the_reference_count_the_same_visitors() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    // Of the stages that were counted, how many by a reach that came late; and windows that were not a visitor's first.
    let (mut counted, mut unlocked, mut again) = (0, 0, 0);
    for (seed, window, stages) in [(1, MINUTE, 4), (2, 5 * MINUTE, 16), (3, 86_400 * SECOND, 4)] {
        script.query::<()>(&["FLUSHALL"]);
        let hand = Hand::default();
        let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
        let mut references: HashMap<u64, Reference> = HashMap::new();
        let mut random = Random(seed);
        let mut now = EPOCH;
        for step in 0..4_000 {
            match random.below(24) {
                // Many at the same instant, and at the exact edges of windows and of what is too old.
                0..8 => {}
                8 => now += 30 * SECOND,
                9 if step % 8 == 0 => now += window,
                10 if step % 8 == 0 => now += window - 30 * SECOND,
                _ => now += random.below(2 * SECOND),
            }
            let batch: Vec<_> = (0..=random.below(6))
                .map(|_| Reached {
                    visitor: random.below(3),
                    stage: random.below(stages) as u8,
                    age: random.of(&[0, 0, 1, SECOND, 5 * SECOND, 29_999_999, 30 * SECOND]),
                })
                .collect();
            let expected: Vec<_> = batch
                .iter()
                .map(|reached| {
                    let reference = references.entry(reached.visitor).or_default();
                    let at = now - reached.age;
                    let progress = reference.reach(reached.stage, at, now, window);
                    counted += progress.steps.len();
                    unlocked += progress.steps.len().saturating_sub(1);
                    again += usize::from(
                        progress.before == 0 && !progress.steps.is_empty() && reference.ended > 0,
                    );
                    progress
                })
                .collect();
            hand.0.store(now, Ordering::Relaxed);
            let (broken, progress) = script.run(now, window, &batch);
            assert_eq!(broken, 0);
            assert_eq!(progress, expected, "Redis, step {step}: {batch:?}");
            let reaches: Vec<_> = batch.iter().map(reach).collect();
            let journeys = Journeys::of([], Duration::from_micros(window));
            let progress = store.reach_now(journeys, &reaches);
            assert_eq!(progress, expected, "memory, step {step}: {batch:?}");
        }
    }
    println!("{counted} counted, {unlocked} of them late, {again} windows after the first");
    assert!(counted > 500 && unlocked > 50 && again > 50);
}

/// One reach of the visitor 0, now.
pub(crate) fn now_at(stage: u8) -> Reached {
    Reached {
        visitor: 0,
        stage,
        age: 0,
    }
}

#[test]
fn a_journey_takes_the_stated_bytes_and_expires_with_its_window() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    script.run(EPOCH, 5 * MINUTE, &[now_at(1)]);
    assert_eq!(script.query::<u64>(&["STRLEN", "v0"]), 17);
    let waiting = script.query::<u64>(&["PTTL", "v0"]);
    assert!((50_000..=60_000).contains(&waiting), "{waiting}");
    for (stage, bytes) in [(0, 17), (1, 17), (2, 24), (3, 31)] {
        script.run(EPOCH + MINUTE, 5 * MINUTE, &[now_at(stage)]);
        assert_eq!(script.query::<u64>(&["STRLEN", "v0"]), bytes);
        let left = script.query::<u64>(&["PTTL", "v0"]);
        assert!((350_000..=360_000).contains(&left), "{left}");
    }
    let memory: u64 = script.query(&["MEMORY", "USAGE", "v0"]);
    println!("{memory} bytes for four stages");
    assert!(memory <= 120, "{memory}");
}

#[test]
fn a_repeat_writes_nothing() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    script.run(EPOCH, MINUTE, &[now_at(0), now_at(1)]);
    script.query::<()>(&["CONFIG", "RESETSTAT"]);
    for stage in [0, 1, 1, 0] {
        let (_, progress) = script.run(EPOCH + 1, MINUTE, &[now_at(stage)]);
        assert_eq!((progress[0].before, progress[0].steps.len()), (2, 0));
    }
    let commands: String = script.query(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_getrange:calls=4") && !commands.contains("cmdstat_set:"));
}

#[test]
fn what_is_no_journey_is_dropped_begun_afresh_and_counted() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    for broken in [
        &["SET", "v0", "nonsense"][..],
        &["SET", "v0", "\x7f\x03\x01aaaaaaa"],
        &["LPUSH", "v0", "a"],
        &["HSET", "v0", "a", "b"],
    ] {
        script.query::<()>(&["DEL", "v0"]);
        script.query::<redis::Value>(broken);
        let (dropped, progress) = script.run(EPOCH, MINUTE, &[now_at(0)]);
        assert_eq!((dropped, progress[0].counted()), (1, 1), "{broken:?}");
    }
}

#[test]
fn a_call_that_breaks_the_protocol_is_refused_and_writes_nothing() {
    let server = RedisServer::start();
    let mut connection = redis::Client::open(server.admin_url())
        .unwrap()
        .get_connection()
        .unwrap();
    let plan = [0_u8; 6];
    let mut refused = |keys: &[&str], window: &str, plan: &[u8]| {
        let mut call = redis::cmd("EVAL");
        call.arg(SOURCE).arg(1 + keys.len()).arg("ledger");
        for key in keys {
            call.arg(key);
        }
        let answer: Result<redis::Value, _> =
            call.arg(window).arg(plan).arg(ROOM).query(&mut connection);
        assert!(
            answer
                .unwrap_err()
                .to_string()
                .contains("reach_stage wants")
        );
    };
    refused(&[], "60000000", &[]);
    refused(&["a"], "60000000", &plan[..5]);
    refused(&["a", "b"], "60000000", &plan);
    refused(&["a"], "59999999", &plan);
    refused(&["a"], "2592000000001", &plan);
    refused(&["a"], "soon", &plan);
    refused(&["a"], "60000000", &[16, 0, 0, 0, 0, 0]);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[test]
fn a_clock_that_stepped_back_keeps_nobody_waiting() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    script.run(EPOCH, MINUTE, &[now_at(0)]);
    let back = EPOCH - 86_400 * SECOND;
    let (_, progress) = script.run(back, MINUTE, &[now_at(1)]);
    assert_eq!((progress[0].before, progress[0].counted()), (1, 2));
    assert_eq!(progress[0].left, Duration::from_secs(60));
    let (_, progress) = script.run(back + MINUTE, MINUTE, &[now_at(0)]);
    assert_eq!((progress[0].before, progress[0].counted()), (0, 1));
}

#[test]
fn a_ledger_holds_what_the_journeys_take_however_they_grow() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let mut random = Random(11);
    let mut now = EPOCH;
    for _ in 0..300 {
        now += random.below(MINUTE / 4);
        let batch: Vec<_> = (0..=random.below(5))
            .map(|_| Reached {
                visitor: random.below(40),
                // A journey that begins with a later stage is kept for a minute: its first entry stays for that minute too.
                stage: if random.below(3) == 0 { 0 } else { 1 },
                age: 0,
            })
            .collect();
        // Only those who have begun go on, so that each entry is replaced.
        let batch: Vec<_> = batch
            .into_iter()
            .filter(|it| {
                it.stage == 0 || script.query::<u64>(&["EXISTS", &format!("v{}", it.visitor)]) == 1
            })
            .collect();
        if batch.is_empty() {
            continue;
        }
        script.run(now, 2_592_000 * SECOND, &batch);
        let (held, takes) = script.ledger();
        assert_eq!(held, takes);
    }
}

#[test]
fn there_is_room_again_when_the_keys_have_expired() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let visit = |visitor| Reached {
        visitor,
        stage: 0,
        age: 0,
    };
    script.run(EPOCH, MINUTE, &[visit(1)]);
    let (held, takes) = script.ledger();
    assert_eq!(held, takes);
    let full = |script: &mut Script, now, visitor| script.within(now, visit(visitor), held) == 255;
    assert!(full(&mut script, EPOCH + SECOND, 2));
    // A minute's window, and a minute for what comes late; rounded up by a sixteenth.
    assert!(full(&mut script, EPOCH + 2 * MINUTE - SECOND, 2));
    assert!(!full(&mut script, EPOCH + 2 * MINUTE + 8 * SECOND, 2));
    assert!(full(&mut script, EPOCH + 2 * MINUTE + 8 * SECOND, 3));
    assert!(
        !full(&mut script, EPOCH + 2 * MINUTE + 8 * SECOND, 2),
        "known"
    );
}
