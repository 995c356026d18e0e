//! The script that counts distinct items, with the clock in the test's hands.

use palisade::suspicion::store::Rule;
use palisade_tests::redis::RedisServer;
use redis::{Connection, Value};

use super::failures::{Failure, number};
use super::script::load;

const SOURCE: &str = lua!("refused", "value", "ledger", "kept", "count_distinct");
pub(crate) const SECOND: u64 = 1_000_000;
/// Most logins behind another one in a call of these tests.
pub(crate) const LATER: f64 = 5.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum What {
    Count = 1,
    IsFailing = 2,
    IsDistinct = 3,
    CountIf = 4,
    State = 5,
}

/// A step as the script is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) what: What,
    pub(crate) key: String,
    pub(crate) threshold: u16,
    pub(crate) window: u64,
    pub(crate) item: u64,
}

impl Step {
    pub(crate) fn new(what: What, key: &str, threshold: u16, window: u64, item: u64) -> Self {
        Self {
            what,
            key: key.to_owned(),
            threshold,
            window,
            item,
        }
    }

    pub(crate) fn of(what: What, rule: Rule, key: impl std::fmt::Display, item: u64) -> Self {
        let window = rule.threshold.window().as_micros() as u64;
        let key = format!("{}:{key}", rule.kind);
        Self::new(what, &key, rule.threshold.count() as u16, window, item)
    }

    /// The same as a failure, for the other script and its reference.
    pub(crate) fn failure(&self) -> Failure {
        Failure {
            key: self.key.clone(),
            threshold: self.threshold,
            window: self.window,
            route: "/login".into(),
        }
    }
}

/// What a step came to: its place, the number and since when, whether that is estimated, whether there is an episode.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) step: usize,
    pub(crate) count: u64,
    pub(crate) span: u64,
    pub(crate) estimated: bool,
    pub(crate) episode: bool,
}

pub(crate) struct Script {
    connection: Connection,
    sha: String,
}

impl Script {
    /// The script with a clock in its last two arguments.
    pub(crate) fn on(server: &RedisServer) -> Self {
        let others = [
            ("call('TIME')", "{ARGV[3], ARGV[4]}"),
            ("#ARGV ~= 2", "#ARGV ~= 4"),
        ];
        let (connection, sha) = load(server, SOURCE, &others);
        Self { connection, sha }
    }

    pub(crate) fn ask(
        &mut self,
        now: u64,
        keys: &[String],
        plan: &[u8],
    ) -> redis::RedisResult<Vec<Value>> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.sha).arg(1 + keys.len()).arg("ledger");
        call.arg(keys).arg(plan).arg(1_u64 << 40);
        call.arg(now / SECOND).arg(now % SECOND);
        call.query(&mut self.connection)
    }

    /// How many broken trails were dropped, and what the steps came to.
    pub(crate) fn run(&mut self, now: u64, steps: &[Step]) -> (u64, Vec<Finding>) {
        let (mut keys, mut plan) = (Vec::new(), Vec::new());
        for step in steps {
            keys.push(step.key.clone());
            if !matches!(step.what, What::IsFailing | What::IsDistinct) {
                keys.push(format!("{}:sketch", step.key));
            }
            plan.push(step.what as u8);
            plan.extend(step.threshold.to_be_bytes());
            plan.extend(&step.window.to_be_bytes()[3..]);
            plan.extend(step.item.to_be_bytes());
        }
        let mut values = self.ask(now, &keys, &plan).unwrap().into_iter().map(number);
        let broken = values.next().unwrap();
        let mut findings = Vec::new();
        while let Some(step) = values.next() {
            let mut next = || values.next().unwrap();
            let (count, span, flags) = (next(), next(), next());
            findings.push(Finding {
                step: step as usize,
                count,
                span,
                estimated: flags & 1 != 0,
                episode: flags & 2 != 0,
            });
        }
        (broken, findings)
    }

    pub(crate) fn query<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut query = redis::cmd(command[0]);
        query.arg(&command[1..]);
        query.query(&mut self.connection).unwrap()
    }
}

/// The number that a store tells, against the true one: exact, or an estimate within five standard errors; one of Redis
/// also holds what came later in the call.
pub(crate) fn agrees(told: u64, estimated: bool, exact: u64, standard_error: f64) -> bool {
    let off = told.abs_diff(exact) as f64;
    off == 0.0 || (estimated && off <= 5.0 * standard_error * exact as f64 + LATER)
}
