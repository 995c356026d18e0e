//! What failed logins add up to: the script that counts distinct items, with the clock in the test's hands, the memory
//! store and a plain reference.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use palisade::client::{Route, Secret};
use palisade::store::memory::MemoryStore;
use palisade::suspicion::{
    AccountHash, FailedRequest, Kind, LocalFailureStore, Login, LoginAttempt, Watch,
};
use palisade_tests::redis::RedisServer;
use redis::{Connection, Value};

use crate::failures::{self, Failure, Hand, client, lua, number, watch};
use crate::model::Random;
use crate::script::EPOCH;

const SOURCE: &str = include_str!("../../../middleware/src/store/redis/lua/count_distinct.lua");
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
/// Most logins behind another one in a call of these tests.
const LATER: f64 = 5.0;

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Count = 1,
    IsFailing = 2,
    IsDistinct = 3,
    CountIf = 4,
    State = 5,
}

/// A step as the script is told of it.
#[derive(Debug, Clone)]
struct Step {
    what: What,
    key: String,
    threshold: u16,
    window: u64,
    item: u64,
}

impl Step {
    fn new(what: What, key: &str, threshold: u16, window: u64, item: u64) -> Self {
        Self {
            what,
            key: key.to_owned(),
            threshold,
            window,
            item,
        }
    }

    fn of(what: What, watch: Watch, key: impl std::fmt::Display, item: u64) -> Self {
        let window = watch.threshold.window().as_micros() as u64;
        let key = format!("{}:{key}", watch.kind);
        Self::new(what, &key, watch.threshold.count() as u16, window, item)
    }

    /// The same as a failure, for the other script and its reference.
    fn failure(&self) -> Failure {
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
struct Finding {
    step: usize,
    count: u64,
    span: u64,
    estimated: bool,
    episode: bool,
}

struct Script {
    connection: Connection,
    sha: String,
}

impl Script {
    /// The script with a clock in its last two arguments.
    fn on(server: &RedisServer) -> Self {
        let source = [
            ("call('TIME')", "{ARGV[2], ARGV[3]}"),
            ("#ARGV ~= 1", "#ARGV ~= 3"),
        ]
        .into_iter()
        .fold(SOURCE.to_owned(), |source, (from, to)| {
            assert_eq!(source.matches(from).count(), 1, "{from}");
            source.replace(from, to)
        });
        let client = redis::Client::open(server.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let sha = redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(source)
            .query(&mut connection)
            .unwrap();
        Self { connection, sha }
    }

    fn ask(&mut self, now: u64, keys: &[String], plan: &[u8]) -> redis::RedisResult<Vec<Value>> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.sha).arg(keys.len()).arg(keys).arg(plan);
        call.arg(now / SECOND).arg(now % SECOND);
        call.query(&mut self.connection)
    }

    /// How many broken trails were dropped, and what the steps came to.
    fn run(&mut self, now: u64, steps: &[Step]) -> (u64, Vec<Finding>) {
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

    fn query<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut query = redis::cmd(command[0]);
        query.arg(&command[1..]);
        query.query(&mut self.connection).unwrap()
    }
}

/// The contract, written down naively: every item is kept, with every time at which it was seen.
#[derive(Default)]
struct Reference {
    seen: Vec<(u64, u64)>,
    reported: Option<u64>,
    first: u64,
    episode: HashSet<u64>,
}

impl Reference {
    /// The distinct items in the window, each with when it was last seen.
    fn live(&self, now: u64, window: u64) -> HashMap<u64, u64> {
        let live = self.seen.iter().filter(|(at, _)| now - at < window);
        live.map(|(at, item)| (*item, *at)).collect()
    }

    fn is_in_episode(&self, now: u64, step: &Step) -> bool {
        let held = self.live(now, step.window).len();
        self.reported.is_some() && held * 2 >= usize::from(step.threshold)
    }

    /// The number of items and since when, if the item is an incident.
    fn count(&mut self, now: u64, step: &Step) -> Option<(u64, u64)> {
        if !self.is_in_episode(now, step) {
            self.reported = None;
        }
        self.seen.push((now, step.item));
        let live = self.live(now, step.window);
        if self.reported.is_none() {
            if live.len() < usize::from(step.threshold) {
                return None;
            }
            self.episode = live.keys().copied().collect();
            self.first = *live.values().min().unwrap();
        }
        self.episode.insert(step.item);
        if self.reported.is_some_and(|at| now - at < step.window) {
            return None;
        }
        self.reported = Some(now);
        Some((self.episode.len() as u64, now - self.first))
    }

    fn state(&self, now: u64, step: &Step) -> (bool, u64, u64) {
        if self.is_in_episode(now, step) {
            (true, self.episode.len() as u64, now - self.first)
        } else {
            (false, self.live(now, step.window).len() as u64, 0)
        }
    }
}

/// The number that a store tells, against the true one: exact, or an estimate within five standard errors; one of Redis
/// also holds what came later in the call.
fn agrees(told: u64, estimated: bool, exact: u64, standard_error: f64) -> bool {
    let off = told.abs_diff(exact) as f64;
    off == 0.0 || (estimated && off <= 5.0 * standard_error * exact as f64 + LATER)
}

fn secret() -> Secret {
    Secret::from_bytes(b"a secret of the tests")
}

fn login(network: u32, account: u64, succeeded: bool) -> FailedRequest {
    let name = format!("account {account}");
    let login = if succeeded {
        Login::succeeded(&name)
    } else {
        Login::failed(&name)
    };
    FailedRequest {
        client: client(network),
        status: StatusCode::from_u16(if succeeded { 200 } else { 401 }).unwrap(),
        route: Route::from("/login"),
        login: Some(LoginAttempt::of(&login, client(network), &secret())),
    }
}

/// The steps of a login: those of a failure, or those of a success.
fn steps(request: &FailedRequest, watches: &[Watch; 5]) -> Vec<Step> {
    let [spraying, stuffing, success, fast, slow] = *watches;
    let (network, login) = (request.client, request.login.unwrap());
    if login.succeeded {
        vec![
            Step::of(What::IsDistinct, stuffing, login.account, 0),
            Step::of(What::IsDistinct, spraying, network, 0),
            Step::of(What::IsFailing, fast, network, 0),
            Step::of(What::IsFailing, slow, network, 0),
            Step::of(What::CountIf, success, login.account, login.network),
        ]
    } else {
        let item = login.account.item();
        vec![
            Step::of(What::Count, spraying, network, item),
            Step::of(What::Count, stuffing, login.account, login.network),
        ]
    }
}

/// Feeds the same logins to both stores and the reference; how many incidents of each kind there were, and how many
/// numbers were estimates.
fn compare(seed: u64, networks: u64, accounts: u64, watches: [&str; 5], rounds: u32) -> [u64; 4] {
    let kinds = [
        Kind::PasswordSpraying,
        Kind::DistributedStuffing,
        Kind::SuccessAfterFailures,
        Kind::CredentialStuffing,
        Kind::CredentialStuffingSlow,
    ];
    let watches: [Watch; 5] = std::array::from_fn(|n| watch(kinds[n], watches[n]));
    let server = RedisServer::start();
    let mut failing = failures::Script::on(&server);
    let mut script = Script::on(&server);
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    let memory = store.bind_failures_local(&watches);
    let mut distinct: HashMap<String, Reference> = HashMap::new();
    let mut failed: HashMap<String, failures::Reference> = HashMap::new();
    let mut random = Random(seed);
    let (mut now, mut told) = (EPOCH, [0; 4]);
    for round in 0..rounds {
        match random.below(20) {
            // Many at the same instant, and at the exact edges of windows.
            0..8 => {}
            8 => now += SECOND,
            9 => now += 5 * SECOND - 1,
            10 if round % 40 == 0 => now += 60 * SECOND,
            _ => now += random.below(200_000),
        }
        hand.0.store(now, Ordering::Relaxed);
        let requests: Vec<_> = (0..=random.below(LATER as u64 + 1))
            .map(|_| {
                let (network, account) = (random.below(networks), random.below(accounts));
                login(network as u32, account, random.below(4) == 0)
            })
            .collect();

        let failures: Vec<_> = requests
            .iter()
            .filter(|request| request.status == 401)
            .flat_map(|request| {
                watches[3..]
                    .iter()
                    .map(|watch| Step::of(What::IsFailing, *watch, request.client, 0).failure())
            })
            .collect();
        for failure in &failures {
            let reference = failed.entry(failure.key.clone()).or_default();
            reference.fail(now, failure);
        }
        if !failures.is_empty() {
            assert_eq!(failing.run(now, &failures).0, 0);
        }

        let mut expected = Vec::new();
        let mut all = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            let mut suspicious = false;
            for step in steps(request, &watches) {
                let reference = distinct.entry(step.key.clone()).or_default();
                let counts = match step.what {
                    What::IsDistinct => {
                        suspicious |= reference.is_in_episode(now, &step);
                        false
                    }
                    What::IsFailing => {
                        let reference = failed.entry(step.key.clone()).or_default();
                        suspicious |= reference.is_in_episode(now, &step.failure());
                        false
                    }
                    What::CountIf => suspicious,
                    What::Count | What::State => true,
                };
                if counts && let Some((count, span)) = reference.count(now, &step) {
                    let kind = watches
                        .iter()
                        .position(|watch| step.key.starts_with(&format!("{}:", watch.kind)));
                    told[kind.unwrap()] += 1;
                    expected.push((place, all.len(), kind.unwrap(), count, span));
                }
                all.push(step);
            }
        }
        let (broken, found) = script.run(now, &all);
        assert_eq!((broken, found.len()), (0, expected.len()), "round {round}");
        let incidents = memory.count_now(&requests);
        let incidents: Vec<_> = incidents
            .into_iter()
            .filter(|incident| incident.watch.kind.is_of_logins())
            .collect();
        assert_eq!(incidents.len(), expected.len(), "round {round}");
        for ((found, incident), (place, step, kind, count, span)) in
            found.iter().zip(&incidents).zip(&expected)
        {
            assert_eq!(
                (found.step, found.span, found.episode),
                (*step, *span, true)
            );
            assert!(
                agrees(found.count, found.estimated, *count, 0.008_1),
                "{found:?} {count}"
            );
            assert_eq!((incident.request, incident.watch), (*place, watches[*kind]));
            assert_eq!(incident.span, Duration::from_micros(*span));
            assert_eq!(incident.estimated, found.estimated, "round {round}");
            assert!(
                agrees(incident.count, incident.estimated, *count, 0.016_25),
                "{incident:?} {count}"
            );
            told[3] += u64::from(found.estimated);
        }

        let account = AccountHash::of(&format!("account {}", random.below(accounts)), &secret());
        let step = Step::of(What::State, watches[1], account, 0);
        let reference = distinct.entry(step.key.clone()).or_default();
        let (episode, count, span) = reference.state(now, &step);
        let (_, found) = script.run(now, &[step]);
        let [found] = &found[..] else {
            panic!("one state")
        };
        assert_eq!(
            (found.episode, found.span),
            (episode, span),
            "round {round}"
        );
        assert!(
            agrees(found.count, found.estimated, count, 0.008_1),
            "{found:?} {count}"
        );
        let state = memory.account_now(account);
        assert_eq!(
            (state.under_attack, state.lasting),
            (episode, Duration::from_micros(span))
        );
        assert_eq!(state.estimated, found.estimated);
        assert!(
            agrees(state.networks, state.estimated, count, 0.016_25),
            "{state:?} {count}"
        );
    }
    told
}

#[test]
fn both_stores_and_the_reference_count_few_networks_and_accounts_alike() {
    let watches = ["4/1s", "3/5s", "1/2s", "4/1s", "9/7s"];
    let told = compare(7, 6, 6, watches, 4_000);
    assert!(told.iter().all(|told| *told > 20), "{told:?}");
}

#[test]
fn both_stores_and_the_reference_count_many_networks_and_accounts_alike() {
    let watches = ["64/20s", "10/30s", "1/1s", "50/5s", "90/60s"];
    let told = compare(8, 300, 3, watches, 3_000);
    assert!(told[1] > 5 && told[2] > 5 && told[3] > 3, "{told:?}");
    let told = compare(9, 3, 1_000, watches, 3_000);
    assert!(told[0] > 3 && told[2] > 0 && told[3] > 3, "{told:?}");
}

#[test]
fn an_item_has_left_its_window_at_exactly_its_end() {
    for (late, expected) in [(MINUTE - 1, 1), (MINUTE, 0)] {
        let server = RedisServer::start();
        let mut script = Script::on(&server);
        let mut count = |now, item| {
            let step = Step::new(What::Count, "k", 2, MINUTE, item);
            script.run(now, &[step]).1.len()
        };
        assert_eq!(count(EPOCH, 1), 0);
        assert_eq!(count(EPOCH + late, 2), expected);
    }
}

#[test]
fn a_flood_leaves_64_items_a_sketch_and_a_ttl_on_both() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    for n in 0..200_u64 {
        let steps: Vec<_> = (0..50)
            .map(|k| {
                let item = (n * 50 + k).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Step::new(What::Count, "k", 64, 300 * SECOND, item)
            })
            .collect();
        script.run(EPOCH + n, &steps);
    }
    let size: usize = script.query(&["STRLEN", "k"]);
    assert_eq!(size, 17 + 64 * 13);
    let size: usize = script.query(&["STRLEN", "k:sketch"]);
    assert!(size < 12_400, "{size}");
    for key in ["k", "k:sketch"] {
        let expires: u64 = script.query(&["PEXPIRETIME", key]);
        let window_ends = (EPOCH + 199 + 300 * SECOND) / 1_000;
        assert!(
            (window_ends..window_ends + 2_000).contains(&expires),
            "{key}"
        );
    }
    let state = Step::new(What::State, "k", 64, 300 * SECOND, 0);
    let found = script.run(EPOCH + 200, &[state]).1.remove(0);
    assert!(found.estimated && found.episode);
    assert!(agrees(found.count, true, 10_000, 0.008_1), "{found:?}");
}

#[test]
fn the_number_begins_anew_with_each_episode() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let mut now = EPOCH;
    for episode in 0..3_u64 {
        for n in 0..100_u64 {
            let item = (episode * 100 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let found = script.run(now + n, &[Step::new(What::Count, "k", 4, MINUTE, item)]);
            assert_eq!(found.1.len(), usize::from(n == 3), "{episode} {n}");
        }
        let state = Step::new(What::State, "k", 4, MINUTE, 0);
        let found = script.run(now + 100, &[state]).1.remove(0);
        assert!(agrees(found.count, true, 100, 0.008_1), "{found:?}");
        now += 2 * MINUTE;
    }
}

#[test]
fn a_clock_that_steps_back_neither_loses_items_nor_keeps_them_for_longer_than_a_window() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let mut count = |now, item| {
        let step = Step::new(What::Count, "k", 3, MINUTE, item);
        script.run(now, &[step]).1.len()
    };
    assert_eq!(count(EPOCH + MINUTE, 1), 0);
    assert_eq!(count(EPOCH, 2), 0);
    assert_eq!(count(EPOCH + 1, 3), 1);
    // They count as seen when the clock had stepped back.
    assert_eq!(count(EPOCH + MINUTE + 1, 4), 0);
    assert_eq!(count(EPOCH + MINUTE + 2, 5), 0);
    assert_eq!(count(EPOCH + MINUTE + 3, 6), 1);
}

#[test]
fn what_is_no_trail_or_sketch_is_dropped_and_counted() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let step = |item| Step::new(What::Count, "k", 2, MINUTE, item);
    let header = |magic: &str| format!("\\x9a\\x{magic}{}", "\\x00".repeat(15));
    for broken in [
        "SET k x".to_owned(),
        "RPUSH k x".to_owned(),
        format!("SET k \"{}abcd\"", header("03")),
        format!("SET k \"{}abcdefghijklm\"", header("02")),
    ] {
        script.query::<()>(&["FLUSHALL"]);
        server.cli(&["EVAL", &lua(&broken), "0"]);
        assert_eq!(script.run(EPOCH, &[step(1)]), (1, vec![]), "{broken}");
        let (broken, found) = script.run(EPOCH, &[step(2)]);
        assert_eq!((broken, found.len()), (0, 1));
    }
    // A trail that is none is in no episode.
    for command in ["SET f x", "RPUSH f x"] {
        script.query::<()>(&["FLUSHALL"]);
        server.cli(&["EVAL", &lua(command), "0"]);
        let steps = [
            Step::new(What::IsFailing, "f", 2, MINUTE, 0),
            Step::new(What::CountIf, "k", 1, MINUTE, 1),
        ];
        assert_eq!(script.run(EPOCH, &steps), (0, vec![]), "{command}");
    }
    for command in ["SET k:sketch x", "RPUSH k:sketch x"] {
        script.query::<()>(&["FLUSHALL"]);
        let fill: Vec<_> = (0..64).map(step).collect();
        script.run(EPOCH, &fill);
        // The sketch exists since it began, so it is replaced only now.
        script.run(EPOCH, &[step(64)]);
        script.query::<()>(&["DEL", "k:sketch"]);
        server.cli(&["EVAL", &lua(command), "0"]);
        assert_eq!(script.run(EPOCH, &[step(65)]), (1, vec![]), "{command}");
        let state = Step::new(What::State, "k", 2, MINUTE, 0);
        let (broken, found) = script.run(EPOCH, &[state]);
        assert_eq!((broken, found[0].count), (0, 64), "as many as are kept");
    }
}

#[test]
fn refuses_arguments_that_do_not_fit_together() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let step = |what: u8| [&[what, 0, 1, 0, 0, 0x0f, 0x42, 0x40][..], &[0; 8]].concat();
    for (keys, plan) in [
        (0, vec![]),
        (2, vec![]),
        (1, step(1)),
        (3, step(1)),
        (2, step(2)),
        (2, step(1)[..15].to_vec()),
        (2, [&step(1)[..], &[1]].concat()),
        (2, step(0)),
        (2, step(6)),
    ] {
        let keys: Vec<_> = (0..keys).map(|key| key.to_string()).collect();
        let error = script.ask(EPOCH, &keys, &plan).unwrap_err().to_string();
        assert!(error.contains("count_distinct"), "{error}");
        assert_eq!(script.query::<u64>(&["DBSIZE"]), 0);
    }
}
