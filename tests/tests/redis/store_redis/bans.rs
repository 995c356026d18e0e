//! Bans: the scripts with the clock in the test's hands, and the store against real servers.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use palisade::client::Network;
use palisade::store::memory::{Clock, MemoryStore};
use palisade::suspicion::store::LocalBanStore;
use palisade::suspicion::{Ban, BanReason, IncidentKind, Sentence};
use palisade_tests::redis::RedisServer;
use redis::{Connection, Value};

use super::model::Random;
use super::script::EPOCH;

const IMPOSE: &str = include_str!("../../../../middleware/src/store/redis/lua/impose_ban.lua");
const LIFT: &str = include_str!("../../../../middleware/src/store/redis/lua/lift_ban.lua");
const READ: &str = include_str!("../../../../middleware/src/store/redis/lua/read_bans.lua");
const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;
const INDEX: &str = "bans";

pub(crate) fn client(n: u32) -> Network {
    Network::of(Ipv4Addr::from_bits(n).into(), 64)
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap()
}

/// What stands for a reason in a stored ban; other processes rely on it.
fn code(reason: BanReason) -> u8 {
    match reason {
        BanReason::Incident(IncidentKind::CredentialStuffing) => 1,
        BanReason::Incident(IncidentKind::EndpointScanning) => 2,
        BanReason::Incident(IncidentKind::Abuse) => 3,
        BanReason::Incident(IncidentKind::CredentialStuffingSlow) => 4,
        _ => 0,
    }
}

/// The scripts with a clock in their last two arguments.
struct Scripts {
    connection: Connection,
    impose: String,
    lift: String,
    read: String,
}

/// A ban as the scripts tell it: reason, strikes, since, until.
type Told = (u8, u32, u64, u64);

impl Scripts {
    fn on(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.admin_url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut load = |source: &str| -> String {
            assert_eq!(source.matches("call('TIME')").count(), 1);
            let source = source.replace("call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}");
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(source).query(&mut connection).unwrap()
        };
        let (impose, lift, read) = (load(IMPOSE), load(LIFT), load(READ));
        Self {
            connection,
            impose,
            lift,
            read,
        }
    }

    fn run(&mut self, sha: &str, keys: &[String], arguments: &[Vec<u8>], now: u64) -> Vec<u64> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(sha).arg(keys.len()).arg(keys).arg(arguments);
        call.arg(now / SECOND).arg(now % SECOND);
        let reply: Vec<Value> = call.query(&mut self.connection).unwrap();
        let numbers = reply
            .into_iter()
            .map(|value| redis::from_redis_value(value).unwrap());
        numbers.collect()
    }

    fn impose(
        &mut self,
        now: u64,
        n: u32,
        reason: BanReason,
        lengths: impl Iterator<Item = Duration>,
    ) -> (u64, Told) {
        let strike = u8::from(reason != BanReason::Manual);
        let mut terms = vec![code(reason), strike];
        for number in [DAY].into_iter().chain(lengths.map(micros)) {
            terms.extend(&number.to_be_bytes()[1..]);
        }
        let name = client(n).to_string();
        let keys = [name.clone(), INDEX.into()];
        let sha = self.impose.clone();
        let reply = self.run(&sha, &keys, &[name.into(), terms], now);
        let [broken, reason, strikes, since, until, told] = reply[..] else {
            panic!("{reply:?}")
        };
        assert_eq!(told, now);
        (broken, (reason as u8, strikes as u32, since, until))
    }

    fn lift(&mut self, now: u64, n: u32) -> (u64, bool) {
        let name = client(n).to_string();
        let keys = [name.clone(), INDEX.into()];
        let sha = self.lift.clone();
        let reply = self.run(&sha, &keys, &[name.into()], now);
        (reply[0], reply[1] == 1)
    }

    fn read(&mut self, now: u64, clients: &[String]) -> (u64, Vec<(String, Told)>) {
        let sha = self.read.clone();
        let reply = self.run(&sha, clients, &[], now);
        assert_eq!(reply[1], now);
        let bans = reply[2..].chunks_exact(5).map(|ban| {
            let told = (ban[1] as u8, ban[2] as u32, ban[3], ban[4]);
            (clients[ban[0] as usize].clone(), told)
        });
        (reply[0], bans.collect())
    }

    fn query<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut query = redis::cmd(command[0]);
        query.arg(&command[1..]);
        query.query(&mut self.connection).unwrap()
    }
}

/// The contract, written down naively: every offence and every ban since the last lift is kept.
#[derive(Default)]
struct Reference {
    /// Until when, what for.
    bans: Vec<(u64, BanReason)>,
    since: u64,
}

impl Reference {
    fn end(&self) -> u64 {
        self.bans.iter().map(|(until, _)| *until).max().unwrap_or(0)
    }

    fn impose(&mut self, now: u64, reason: BanReason, length: impl Fn(u32) -> Duration) -> Told {
        if self.end() + DAY <= now {
            self.bans.clear();
        }
        let offences = self.strikes() + u32::from(reason != BanReason::Manual);
        if self.end() <= now {
            self.since = now;
        }
        self.bans.push((now + micros(length(offences)), reason));
        self.told(now).unwrap()
    }

    fn strikes(&self) -> u32 {
        let offences = self
            .bans
            .iter()
            .filter(|(_, reason)| *reason != BanReason::Manual);
        offences.count() as u32
    }

    fn told(&self, now: u64) -> Option<Told> {
        let until = self.end();
        let (_, reason) = self.bans.iter().find(|(end, _)| *end == until)?;
        (until > now).then(|| (code(*reason), self.strikes(), self.since, until))
    }
}

#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// What both stores agree on, for the times of memory are those of the wall's clock.
fn of_memory(ban: &Ban) -> (u8, u32, Duration, Duration) {
    let length = ban.until.duration_since(ban.since).unwrap();
    (code(ban.reason), ban.strikes, length, ban.left)
}

fn of_told((reason, strikes, since, until): Told, now: u64) -> (u8, u32, Duration, Duration) {
    let [length, left] = [until - since, until - now].map(Duration::from_micros);
    (reason, strikes, length, left)
}

#[test]
fn both_stores_and_the_reference_ban_alike() {
    const CLIENTS: u32 = 6;
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let hand = Hand::default();
    let memory = MemoryStore::builder().clock(hand.clone()).build().unwrap();
    let mut references: HashMap<u32, Reference> = HashMap::new();
    let mut random = Random(5);
    let seconds = Duration::from_secs;
    let sentences = [(600, 86_400), (1, 2_592_000), (30, 30), (7, 1_000)]
        .map(|(first, longest)| Sentence::new(seconds(first), seconds(longest)).unwrap());
    let names: Vec<_> = (0..CLIENTS).map(|n| client(n).to_string()).collect();
    let (mut now, mut repeats, mut lifts, mut banned) = (EPOCH, 0, 0, 0);
    for step in 0..6_000 {
        let n = random.below(CLIENTS.into()) as u32;
        let reference = references.entry(n).or_default();
        // Many at the same instant, and at the exact edges of bans and of what is remembered of them.
        let end = reference.end();
        match random.below(12) {
            0 if end > now => now = end,
            1 if end > now => now = end - 1,
            2 if end + DAY > now && end > 0 => now = end + DAY - random.below(2),
            3 => now += random.below(40 * 86_400) * SECOND,
            4..7 => now += random.below(1_000 * SECOND),
            _ => {}
        }
        hand.0.store(now, Ordering::Relaxed);
        let roll = random.of(&[0, 1, 77_777, u32::MAX]);
        match random.below(8) {
            0 => {
                let lifted = reference.told(now).is_some();
                references.remove(&n);
                assert_eq!(scripts.lift(now, n), (0, lifted), "Redis, step {step}");
                assert_eq!(memory.lift_now(client(n)), lifted, "memory, step {step}");
                lifts += u32::from(lifted);
            }
            1 => {
                let length = Duration::from_micros(1_000 + random.below(2_000 * SECOND));
                let expected = reference.impose(now, BanReason::Manual, |_| length);
                let told = scripts.impose(now, n, BanReason::Manual, [length].into_iter());
                assert_eq!(told, (0, expected), "Redis, step {step}");
                let ban = memory.impose_for_now(client(n), length);
                assert_eq!(
                    of_memory(&ban),
                    of_told(expected, now),
                    "memory, step {step}"
                );
            }
            2..5 => {
                let kind = random.of(&IncidentKind::ALL);
                let sentence = random.of(&sentences);
                let reason = BanReason::Incident(kind);
                let of = |offence| sentence.length(offence, roll);
                let expected = reference.impose(now, reason, of);
                let told = scripts.impose(now, n, reason, (1..=23).map(of));
                assert_eq!(told, (0, expected), "Redis, step {step}");
                let ban = memory.impose_now(client(n), kind, &sentence, roll);
                assert_eq!(
                    of_memory(&ban),
                    of_told(expected, now),
                    "memory, step {step}"
                );
                repeats += u32::from(expected.1 > 1);
            }
            _ => {
                let expected = reference.told(now);
                let name = &names[n as usize];
                let told = scripts.read(now, std::slice::from_ref(name)).1;
                assert_eq!(
                    told.first().map(|(_, told)| *told),
                    expected,
                    "Redis, step {step}"
                );
                let left = expected.map(|(.., until)| Duration::from_micros(until - now));
                assert_eq!(
                    memory.banned_for_now(client(n)),
                    left,
                    "memory, step {step}"
                );
                banned += u32::from(left.is_some());
            }
        }
        let told = (0..CLIENTS).filter_map(|n| {
            let told = references.get(&n)?.told(now)?;
            Some((told.3, n))
        });
        let mut expected: Vec<_> = told.collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        let listed = memory.list_now(1_000).into_iter();
        let listed: Vec<_> = listed.map(|ban| ban.client).collect();
        let clients: Vec<_> = expected.iter().map(|(_, n)| client(*n)).collect();
        assert_eq!(listed, clients, "memory, step {step}");
        let index: Vec<String> = scripts.query(&["ZREVRANGE", INDEX, "0", "-1"]);
        let listed = if index.is_empty() {
            Vec::new()
        } else {
            scripts.read(now, &index).1
        };
        let mut listed: Vec<_> = listed
            .into_iter()
            .map(|(name, told)| (told.3, name))
            .collect();
        let mut named: Vec<_> = expected
            .into_iter()
            .map(|(until, n)| (until, names[n as usize].clone()))
            .collect();
        listed.sort_unstable();
        named.sort_unstable();
        assert_eq!(listed, named, "Redis, step {step}");
    }
    assert!(
        repeats > 500 && lifts > 50 && banned > 200,
        "{repeats} repeats, {lifts} lifts, {banned} banned"
    );
}

#[test]
fn the_first_nine_bytes_of_a_ban_and_its_expiry_are_what_others_rely_on() {
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let length = Duration::from_secs(600);
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    let now = EPOCH + 1;
    scripts.impose(now, 1, scanning, [length].into_iter());
    let name = client(1).to_string();
    let value: Vec<u8> = scripts.query(&["GET", &name]);
    let until = now + micros(length);
    let expected = [
        &[0x9a, 0x03][..],
        &until.to_be_bytes()[1..],
        &[0, 1, 2],
        &now.to_be_bytes()[1..],
    ];
    assert_eq!(value, expected.concat());
    let expires: u64 = scripts.query(&["PEXPIRETIME", &name]);
    assert_eq!(expires, (until + DAY).div_ceil(1_000));
    let score: u64 = scripts.query(&["ZSCORE", INDEX, &name]);
    assert_eq!(score, until.div_ceil(1_000));
    let expires: u64 = scripts.query(&["PEXPIRETIME", INDEX]);
    assert_eq!(expires, score);
}

#[test]
fn what_is_no_ban_is_none_and_is_replaced_and_counted() {
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let name = client(1).to_string();
    let ban = |scripts: &mut Scripts| {
        let lengths = [Duration::from_secs(600)].into_iter();
        scripts.impose(EPOCH, 1, BanReason::Incident(IncidentKind::Abuse), lengths)
    };
    let (_, told) = ban(&mut scripts);
    let whole: Vec<u8> = scripts.query(&["GET", &name]);
    let mut other = whole.clone();
    other[1] = 2;
    let longer = [&whole[..], b"x"].concat();
    for broken in [&b""[..], b"x", &whole[..9], &whole[..18], &longer, &other] {
        let set = |scripts: &mut Scripts| {
            let mut set = redis::cmd("SET");
            set.arg(&name)
                .arg(broken)
                .exec(&mut scripts.connection)
                .unwrap();
        };
        set(&mut scripts);
        let read = scripts.read(EPOCH, std::slice::from_ref(&name));
        assert_eq!(read, (1, vec![]), "{broken:?}");
        assert_eq!(ban(&mut scripts), (1, told), "{broken:?}");
        set(&mut scripts);
        assert_eq!(scripts.lift(EPOCH, 1), (1, false), "{broken:?}");
        assert_eq!(scripts.query::<u32>(&["EXISTS", &name]), 0);
    }
    for key in [&name, INDEX] {
        let spoil = |scripts: &mut Scripts| {
            scripts.query::<()>(&["DEL", key]);
            scripts.query::<()>(&["LPUSH", key, "x"]);
        };
        spoil(&mut scripts);
        assert_eq!(ban(&mut scripts), (1, told), "{key}");
        spoil(&mut scripts);
        assert_eq!(scripts.lift(EPOCH, 1).0, 1, "{key}");
        assert_eq!(scripts.query::<u32>(&["EXISTS", key]), 0);
    }
}

#[test]
fn the_index_keeps_the_ten_thousand_that_end_last_and_forgets_who_is_free() {
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let ban = |scripts: &mut Scripts, now, n: u32, seconds: u64| {
        let length = [Duration::from_secs(seconds)].into_iter();
        scripts.impose(now, n, BanReason::Manual, length);
    };
    for n in 1..=10_002 {
        ban(&mut scripts, EPOCH, n, u64::from(n) + 10);
    }
    assert_eq!(scripts.query::<u32>(&["ZCARD", INDEX]), 10_000);
    let [first, third] = [1, 3].map(|n| client(n).to_string());
    let last: Vec<String> = scripts.query(&["ZRANGE", INDEX, "0", "0"]);
    assert_eq!(last, [third]);
    // It is not listed, and holds.
    assert_eq!(scripts.read(EPOCH, &[first]).1.len(), 1);
    ban(&mut scripts, EPOCH + 10_000 * SECOND, 20_000, 1);
    let left: Vec<String> = scripts.query(&["ZRANGE", INDEX, "0", "-1"]);
    assert_eq!(left.len(), 13);
    let expires: u64 = scripts.query(&["PEXPIRETIME", INDEX]);
    assert_eq!(expires, EPOCH / 1_000 + 10_012_000);
}

#[test]
fn refuses_arguments_that_it_cannot_read() {
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let mut refused = |sha: &str, keys: usize, arguments: &[&[u8]]| {
        let mut call = redis::cmd("EVALSHA");
        call.arg(sha).arg(keys);
        (0..keys).for_each(|key| {
            call.arg(key);
        });
        call.arg(arguments);
        let error = call.query::<Value>(&mut scripts.connection).unwrap_err();
        error.to_string().contains("wants")
    };
    let (impose, lift, read) = (
        scripts.impose.clone(),
        scripts.lift.clone(),
        scripts.read.clone(),
    );
    let terms = [0; 16];
    for (keys, arguments) in [
        (1, &[&b"c"[..], &terms, b"0", b"0"][..]),
        (2, &[b"c", &terms[..15], b"0", b"0"]),
        (2, &[b"c", &terms[..9], b"0", b"0"]),
    ] {
        assert!(refused(&impose, keys, arguments));
    }
    assert!(refused(&lift, 1, &[b"c", b"0", b"0"]));
    assert!(refused(&read, 0, &[b"0", b"0"]));
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}
