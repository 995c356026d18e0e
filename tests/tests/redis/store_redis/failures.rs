//! What failures add up to: the script, with the clock in the test's hands.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use palisade::client::{Network, Route};
use palisade::store::memory::{Clock, MemoryStore};
use palisade::suspicion::IncidentKind;
use palisade::suspicion::store::{FailedRequest, Incident, LocalFailureStore, Rule};
use palisade_tests::redis::RedisServer;
use redis::{Connection, Value};

use super::model::Random;
use super::script::{CLOCK, EPOCH, load};

const SOURCE: &str = lua!("refused", "value", "ledger", "kept", "count_failures");
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

/// A failure as the script is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) key: String,
    pub(crate) threshold: u16,
    pub(crate) window: u64,
    pub(crate) route: String,
}

/// An incident: the failures of its episode, since when, and their routes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    place: usize,
    count: u64,
    span: u64,
    routes: Vec<String>,
}

pub(crate) struct Script {
    connection: Connection,
    sha: String,
}

impl Script {
    /// The script with a clock in its last two arguments.
    pub(crate) fn on(server: &RedisServer) -> Self {
        let (connection, sha) = load(server, SOURCE, &[CLOCK]);
        Self { connection, sha }
    }

    /// How many broken trails were dropped, and the incidents.
    pub(crate) fn run(&mut self, now: u64, failures: &[Failure]) -> (i64, Vec<Report>) {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.sha).arg(1 + failures.len()).arg("ledger");
        let mut plan = Vec::new();
        for (place, failure) in failures.iter().enumerate() {
            call.arg(&failure.key);
            plan.extend(failure.threshold.to_be_bytes());
            plan.extend(&failure.window.to_be_bytes()[3..]);
            plan.push(place as u8);
        }
        call.arg(plan).arg(1_u64 << 40);
        for failure in failures {
            call.arg(&failure.route);
        }
        call.arg(now / SECOND).arg(now % SECOND);
        let reply: Vec<Value> = call.query(&mut self.connection).unwrap();
        let mut values = reply.into_iter();
        let broken = number(values.next().unwrap()) as i64;
        let mut reports = Vec::new();
        while let Some(place) = values.next() {
            let mut next = || values.next().unwrap();
            reports.push(Report {
                place: number(place) as usize,
                count: number(next()),
                span: number(next()),
                routes: (0..number(next())).map(|_| text(next())).collect(),
            });
        }
        (broken, reports)
    }

    /// One failure: whether it is an incident.
    fn one(&mut self, now: u64, threshold: u16, window: u64) -> bool {
        let failure = Failure {
            key: "k".into(),
            threshold,
            window,
            route: "/".into(),
        };
        !self.run(now, &[failure]).1.is_empty()
    }

    fn query<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut query = redis::cmd(command[0]);
        for argument in &command[1..] {
            query.arg(*argument);
        }
        query.query(&mut self.connection).unwrap()
    }
}

pub(crate) fn number(value: Value) -> u64 {
    redis::from_redis_value(value).unwrap()
}

fn text(value: Value) -> String {
    redis::from_redis_value(value).unwrap()
}

/// The contract, written down naively: every failure is kept.
#[derive(Default)]
pub(crate) struct Reference {
    failures: Vec<(u64, String)>,
    reported: Option<u64>,
    first: u64,
    count: u64,
}

impl Reference {
    /// Whether an episode has begun and not ended.
    pub(crate) fn is_in_episode(&self, now: u64, failure: &Failure) -> bool {
        let live = |(at, _): &&(u64, String)| now - at < failure.window;
        let held = self.failures.iter().filter(live).count();
        self.reported.is_some() && held * 2 >= usize::from(failure.threshold)
    }

    pub(crate) fn fail(&mut self, now: u64, failure: &Failure) -> Option<(u64, u64, Vec<String>)> {
        let live = |(at, _): &&(u64, String)| now - at < failure.window;
        let held = self.failures.iter().filter(live).count();
        if held * 2 < usize::from(failure.threshold) {
            self.reported = None;
        }
        if held == 0 {
            self.failures.clear();
        }
        self.failures.push((now, failure.route.clone()));
        if self.reported.is_some() {
            self.count += 1;
        } else if held + 1 < usize::from(failure.threshold) {
            return None;
        } else {
            self.count = held as u64 + 1;
            self.first = self.failures.iter().find(live).unwrap().0;
        }
        if self.reported.is_some_and(|at| now - at < failure.window) {
            return None;
        }
        self.reported = Some(now);
        let mut routes: Vec<String> = Vec::new();
        for (_, route) in self.failures.iter().rev() {
            if !routes.contains(route) && routes.len() < 8 {
                routes.push(route.clone());
            }
        }
        routes.reverse();
        Some((self.count, now - self.first, routes))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Hand(pub(crate) Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) fn client(n: u32) -> Network {
    Network::of(Ipv4Addr::from_bits(n).into(), 64)
}

pub(crate) fn failed(n: u32, status: u16, route: &'static str) -> FailedRequest {
    FailedRequest::new(
        client(n),
        StatusCode::from_u16(status).unwrap(),
        Route::from(route),
    )
}

pub(crate) fn rule(kind: IncidentKind, threshold: &str) -> Rule {
    Rule::new(kind, threshold.parse().unwrap())
}

const ROUTES: [&str; 12] = [
    "/0",
    "/1",
    "/2",
    "/3",
    "/4",
    "/5",
    "/6",
    "/7",
    "/8",
    "/9",
    "/{id}",
    "unmatched",
];

#[test]
fn both_stores_and_the_reference_tell_the_same_incidents() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    let rules = [
        rule(IncidentKind::CredentialStuffing, "4/1s"),
        rule(IncidentKind::CredentialStuffingSlow, "7/7s"),
        rule(IncidentKind::EndpointScanning, "1/3s"),
        rule(IncidentKind::Abuse, "90/24h"),
    ];
    let mut references: HashMap<String, Reference> = HashMap::new();
    let mut random = Random(5);
    let (mut now, mut incidents) = (EPOCH, [0; 4]);
    for step in 0..6_000 {
        match random.below(20) {
            // Many at the same instant, and at the exact edges of windows.
            0..5 => {}
            5 => now += SECOND,
            6 => now += 7 * SECOND - 1,
            7 if step % 20 == 0 => now += 86_400 * SECOND,
            _ => now += random.below(300_000),
        }
        let requests: Vec<_> = (0..=random.below(4))
            .map(|_| {
                let route = ROUTES[random.below(12) as usize];
                let status = [401, 401, 404, 403][random.below(4) as usize];
                failed(random.below(2) as u32, status, route)
            })
            .collect();
        let counted: Vec<_> = requests
            .iter()
            .enumerate()
            .flat_map(|(request, failed)| {
                let counting = rules.iter().filter(|rule| rule.kind.counts(failed.status));
                counting.map(move |rule| {
                    let failure = Failure {
                        key: format!("{}:{}", rule.kind, failed.client),
                        threshold: rule.threshold.count() as u16,
                        window: rule.threshold.window().as_micros() as u64,
                        route: failed.route.to_string(),
                    };
                    (request, *rule, failure)
                })
            })
            .collect();

        let mut expected = Vec::new();
        for (place, (request, rule, failure)) in counted.iter().enumerate() {
            let reference = references.entry(failure.key.clone()).or_default();
            if let Some((count, span, routes)) = reference.fail(now, failure) {
                incidents[rule.kind as usize] += 1;
                let report = Report {
                    place,
                    count,
                    span,
                    routes,
                };
                expected.push((*request, *rule, report));
            }
        }
        let failures: Vec<_> = counted
            .iter()
            .map(|(.., failure)| failure.clone())
            .collect();
        let (broken, redis) = script.run(now, &failures);
        assert_eq!(broken, 0);
        assert!(
            redis.iter().eq(expected.iter().map(|(.., report)| report)),
            "Redis, step {step}: {redis:?} instead of {expected:?}"
        );
        hand.0.store(now, Ordering::Relaxed);
        let expected = expected
            .into_iter()
            .map(|(request, rule, report)| Incident {
                request,
                rule,
                count: report.count,
                estimated: false,
                span: Duration::from_micros(report.span),
                routes: report
                    .routes
                    .into_iter()
                    .map(|route| Route::from(Arc::<str>::from(route)))
                    .collect(),
            });
        assert_eq!(
            store.count_now(&rules, &requests),
            expected.collect::<Vec<_>>(),
            "memory, step {step}"
        );
    }
    assert!(incidents.iter().all(|n| *n > 10), "{incidents:?}");
}

#[test]
fn a_failure_has_left_its_window_at_exactly_its_end() {
    for (late, expected) in [(MINUTE - 1, true), (MINUTE, false)] {
        let server = RedisServer::start();
        let mut script = Script::on(&server);
        assert!(!script.one(EPOCH, 2, MINUTE));
        assert_eq!(script.one(EPOCH + late, 2, MINUTE), expected);
    }
}

#[test]
fn one_guess_every_80_seconds_is_seen_by_the_slow_window_alone() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let slow = IncidentKind::CredentialStuffingSlow.default_threshold();
    let fast = IncidentKind::CredentialStuffing.default_threshold();
    let failure = |threshold: palisade::suspicion::Threshold| Failure {
        key: threshold.to_string(),
        threshold: threshold.count() as u16,
        window: threshold.window().as_micros() as u64,
        route: "/login".into(),
    };
    let mut reported = Vec::new();
    for guess in 1..=300 {
        let now = EPOCH + guess * 80 * SECOND;
        for report in script.run(now, &[failure(fast), failure(slow)]).1 {
            assert_eq!(report.place, 1, "only the slow one");
            reported.push(guess);
        }
    }
    assert_eq!(reported, [20, 110, 200, 290]);
}

#[test]
fn what_is_no_trail_is_dropped_and_counted() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let failure = Failure {
        key: "k".into(),
        threshold: 2,
        window: MINUTE,
        route: "/".into(),
    };
    let header =
        |magic: &str, size: &str| format!("\\x9a\\x{magic}{}\\x00\\x{size}", "\\x00".repeat(19));
    for broken in [
        "SET k x".to_owned(),
        "RPUSH k x".to_owned(),
        format!("SET k \"{}\"", header("02", "00")),
        format!("SET k \"{}abcd\"", header("02", "00")),
        format!("SET k \"{}abcde\"", header("01", "00")),
        format!("SET k \"{}\\x07abcde\"", header("02", "01")),
        format!("SET k \"{}abcde\"", header("02", "ff")),
    ] {
        script.query::<()>(&["FLUSHALL"]);
        server.cli(&["EVAL", &lua(&broken), "0"]);
        assert_eq!(
            script.run(EPOCH, std::slice::from_ref(&failure)),
            (1, vec![]),
            "{broken}"
        );
        let (broken, reports) = script.run(EPOCH, std::slice::from_ref(&failure));
        assert_eq!((broken, reports.len()), (0, 1));
    }
}

/// A command line with `\x..` in a quoted text, as a call from Lua.
pub(crate) fn lua(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    let (command, key, value) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap().trim_matches('"'),
    );
    let mut bytes = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        let (code, length) = match rest.strip_prefix("\\x") {
            Some(hex) => (u8::from_str_radix(&hex[..2], 16).unwrap(), 4),
            None => (c as u8, 1),
        };
        bytes += &format!("\\{code:03}");
        rest = &rest[length..];
    }
    format!("return redis.call('{command}', '{key}', '{bytes}')")
}

#[test]
fn a_clock_that_steps_back_neither_loses_failures_nor_keeps_them_for_longer_than_a_window() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    assert!(!script.one(EPOCH + MINUTE, 3, MINUTE));
    assert!(!script.one(EPOCH, 3, MINUTE));
    assert!(script.one(EPOCH + 1, 3, MINUTE));
    // They count as made when the clock had stepped back.
    assert!(!script.one(EPOCH + MINUTE + 1, 3, MINUTE));
    assert!(!script.one(EPOCH + MINUTE + 2, 3, MINUTE));
    assert!(script.one(EPOCH + MINUTE + 3, 3, MINUTE));
}

#[test]
fn a_flood_leaves_as_many_stamps_as_the_threshold_and_a_ttl() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let long = "x".repeat(128);
    for n in 0..200 {
        let failures = (0..32).map(|_| Failure {
            key: "k".into(),
            threshold: 20,
            window: 300 * SECOND,
            route: format!("{n}{long}")[..128].to_owned(),
        });
        script.run(EPOCH + n, &failures.collect::<Vec<_>>());
    }
    let size: usize = script.query(&["STRLEN", "k"]);
    assert_eq!(size, 23 + 8 * 129 + 20 * 5);
    let expires: u64 = script.query(&["PEXPIRETIME", "k"]);
    let window_ends = (EPOCH + 199 + 300 * SECOND) / 1_000;
    assert!((window_ends..window_ends + 2_000).contains(&expires));
}

#[test]
fn refuses_arguments_that_do_not_fit_together() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    for (keys, plan, routes) in [(1, 0, 1), (2, 7, 1), (3, 8, 1), (2, 9, 1), (0, 0, 1)] {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&script.sha).arg(keys);
        for key in 0..keys {
            call.arg(key);
        }
        call.arg(vec![0_u8; plan]).arg(1_u64 << 40);
        for route in 0..routes {
            call.arg(route);
        }
        let reply = call.arg(0).arg(0).query::<Value>(&mut script.connection);
        let error = reply.unwrap_err().to_string();
        assert!(error.contains("count_failures wants"), "{error}");
    }
}
