//! Bans: the scripts with the clock in the test's hands, and the store against real servers.

mod clock;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use palisade::client::{Network, Secret, UserId};
use palisade::store::memory::{Clock, MemoryStore};
use palisade::suspicion::store::{Evidence, LocalBanStore};
use palisade::suspicion::{Ban, BanReason, IncidentKind, Sentence, Subject, Threshold};
use palisade_tests::redis::RedisServer;
use redis::{Connection, Value};

use super::model::Random;
use super::script::EPOCH;

const IMPOSE: &str = concat!(
    include_str!("../../../../middleware/src/store/redis/lua/refused.lua"),
    include_str!("../../../../middleware/src/store/redis/lua/value.lua"),
    include_str!("../../../../middleware/src/store/redis/lua/impose_ban.lua")
);
const LIFT: &str = concat!(
    include_str!("../../../../middleware/src/store/redis/lua/refused.lua"),
    include_str!("../../../../middleware/src/store/redis/lua/value.lua"),
    include_str!("../../../../middleware/src/store/redis/lua/lift_ban.lua")
);
const READ: &str = concat!(
    include_str!("../../../../middleware/src/store/redis/lua/refused.lua"),
    include_str!("../../../../middleware/src/store/redis/lua/value.lua"),
    include_str!("../../../../middleware/src/store/redis/lua/read_bans.lua")
);
const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;
const INDEX: &str = "bans";

pub(crate) fn client(n: u32) -> Network {
    Network::of(Ipv4Addr::from_bits(n).into(), 64)
}

/// Every second one is a user, whose id reads as an address.
fn subject(n: u32) -> Subject {
    match n % 2 {
        0 => client(n).into(),
        _ => UserId::new(&client(n).to_string(), &Secret::from_bytes(b"test")).into(),
    }
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
        BanReason::Incident(IncidentKind::PasswordSpraying) => 5,
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

    /// Counts evidence, or bans by hand where the threshold is 0.
    fn convict(
        &mut self,
        now: u64,
        evidence: &[Piece],
        lengths: impl Iterator<Item = Duration>,
    ) -> (u64, Vec<(usize, Told)>) {
        let (mut keys, mut plan, mut names) = (vec![INDEX.to_owned()], Vec::new(), Vec::new());
        for piece in evidence {
            let name = subject(piece.n).to_string();
            keys.push(name.clone());
            if piece.threshold > 0 {
                keys.push(trail(piece.n, piece.reason));
            }
            plan.push(code(piece.reason));
            plan.extend(piece.threshold.to_be_bytes());
            plan.extend(&piece.window.to_be_bytes()[3..]);
            plan.extend(piece.thing.to_be_bytes());
            names.push(name.into_bytes());
        }
        let mut terms = Vec::new();
        for number in [DAY].into_iter().chain(lengths.map(micros)) {
            terms.extend(&number.to_be_bytes()[1..]);
        }
        let arguments = [vec![terms, plan], names].concat();
        let sha = self.impose.clone();
        let reply = self.run(&sha, &keys, &arguments, now);
        assert_eq!(reply[1], now);
        let bans = reply[2..].chunks_exact(5).map(|ban| {
            let told = (ban[1] as u8, ban[2] as u32, ban[3], ban[4]);
            (ban[0] as usize, told)
        });
        (reply[0], bans.collect())
    }

    /// Imposes one ban, at once.
    fn impose(&mut self, now: u64, n: u32, reason: BanReason, length: Duration) -> (u64, Told) {
        let threshold = u16::from(reason != BanReason::Manual);
        let piece = Piece {
            n,
            reason,
            threshold,
            window: SECOND,
            thing: 0,
        };
        let (broken, told) = self.convict(now, &[piece], [length].into_iter());
        (broken, told[0].1)
    }

    fn lift(&mut self, now: u64, n: u32) -> (u64, bool) {
        let name = subject(n).to_string();
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

/// A failure that counts towards a ban, or a ban by hand.
#[derive(Debug, Clone, Copy)]
struct Piece {
    n: u32,
    reason: BanReason,
    threshold: u16,
    window: u64,
    thing: u64,
}

/// Where Redis keeps what a client failed at.
fn trail(n: u32, reason: BanReason) -> String {
    format!("{reason}:{}", subject(n))
}

/// The contract, written down naively: every offence, every ban and all evidence since the last lift is kept.
#[derive(Default)]
struct Reference {
    /// Until when, what for.
    bans: Vec<(u64, BanReason)>,
    since: u64,
    evidence: Vec<(u64, BanReason, u64)>,
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

    fn convict(
        &mut self,
        now: u64,
        piece: &Piece,
        length: impl Fn(u32) -> Duration,
    ) -> Option<Told> {
        if self.end() > now {
            return None;
        }
        self.evidence.push((now, piece.reason, piece.thing));
        let counts = self.evidence.iter().filter(|(at, reason, _)| {
            *reason == piece.reason && now - at < piece.window && *at >= self.end()
        });
        let things: HashSet<u64> = counts.map(|(.., thing)| *thing).collect();
        let is_offence = things.len() >= piece.threshold.into();
        is_offence.then(|| self.impose(now, piece.reason, length))
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

/// The kinds that are their client's doing.
const KINDS: [IncidentKind; 5] = [
    IncidentKind::CredentialStuffing,
    IncidentKind::EndpointScanning,
    IncidentKind::Abuse,
    IncidentKind::CredentialStuffingSlow,
    IncidentKind::PasswordSpraying,
];

/// Their thresholds and windows, in seconds, by their places.
const WATCHES: [(u16, u64); 5] = [(1, 1), (2, 40), (3, 900), (5, 86_400), (4, 5_000)];

fn evidence(piece: &Piece) -> Evidence {
    let BanReason::Incident(kind) = piece.reason else {
        panic!("a ban by hand")
    };
    let window = Duration::from_micros(piece.window);
    Evidence {
        subject: subject(piece.n),
        kind,
        threshold: Threshold::new(piece.threshold.into(), window).unwrap(),
        thing: piece.thing,
    }
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
    let names: Vec<_> = (0..CLIENTS).map(|n| subject(n).to_string()).collect();
    let (mut now, mut repeats, mut convicted, mut lifts, mut banned) = (EPOCH, 0, 0, 0, 0);
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
                // What came in the same microsecond may count on.
                now += 1;
                hand.0.store(now, Ordering::Relaxed);
                let lifted = reference.told(now).is_some();
                references.remove(&n);
                assert_eq!(scripts.lift(now, n), (0, lifted), "Redis, step {step}");
                assert_eq!(memory.lift_now(&subject(n)), lifted, "memory, step {step}");
                lifts += u32::from(lifted);
            }
            1 => {
                let length = Duration::from_micros(1_000 + random.below(2_000 * SECOND));
                let expected = reference.impose(now, BanReason::Manual, |_| length);
                let told = scripts.impose(now, n, BanReason::Manual, length);
                assert_eq!(told, (0, expected), "Redis, step {step}");
                let ban = memory.impose_for_now(&subject(n), length);
                assert_eq!(
                    of_memory(&ban),
                    of_told(expected, now),
                    "memory, step {step}"
                );
            }
            2..6 => {
                let sentence = random.of(&sentences);
                let of = |offence| sentence.length(offence, roll);
                // Of one call, and of several clients.
                let pieces: Vec<_> = (0..=random.below(6))
                    .map(|_| {
                        let kind = random.of(&KINDS);
                        let (threshold, seconds) = WATCHES[kind as usize];
                        Piece {
                            n: if random.below(3) > 0 {
                                n
                            } else {
                                random.below(CLIENTS.into()) as u32
                            },
                            reason: BanReason::Incident(kind),
                            threshold,
                            window: seconds * SECOND,
                            thing: random.below(7),
                        }
                    })
                    .collect();
                let mut expected = Vec::new();
                for (place, piece) in pieces.iter().enumerate() {
                    let reference = references.entry(piece.n).or_default();
                    let told = reference.convict(now, piece, of);
                    expected.extend(told.map(|told| (place, told)));
                }
                let told = scripts.convict(now, &pieces, (1..=23).map(of));
                assert_eq!(
                    told,
                    (0, expected.clone()),
                    "Redis, step {step}: {pieces:?}"
                );
                let evidence: Vec<_> = pieces.iter().map(evidence).collect();
                let bans = memory.convict_now(&evidence, &sentence, roll);
                let bans: Vec<_> = bans.iter().map(of_memory).collect();
                let of_expected = expected.iter().map(|(_, told)| of_told(*told, now));
                assert_eq!(bans, of_expected.collect::<Vec<_>>(), "memory, step {step}");
                convicted += expected.len();
                repeats += expected.iter().filter(|(_, told)| told.1 > 1).count();
                for piece in &pieces {
                    let held: u64 = scripts.query(&["ZCARD", &trail(piece.n, piece.reason)]);
                    assert!(held < 7, "{held}");
                }
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
                    memory.banned_for_now(&subject(n)),
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
        expected.sort_by_key(|(until, n)| std::cmp::Reverse((*until, subject(*n))));
        let listed = memory.list_now(1_000).into_iter();
        let listed: Vec<_> = listed.map(|ban| ban.subject).collect();
        let clients: Vec<_> = expected.iter().map(|(_, n)| subject(*n)).collect();
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
        repeats > 300 && convicted > 500 && lifts > 50 && banned > 150,
        "{repeats} repeats of {convicted}, {lifts} lifts, {banned} banned"
    );
}

#[test]
fn the_first_nine_bytes_of_a_ban_and_its_expiry_are_what_others_rely_on() {
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let length = Duration::from_secs(600);
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    let now = EPOCH + 1;
    scripts.impose(now, 1, scanning, length);
    let name = subject(1).to_string();
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
    let name = subject(1).to_string();
    let ban = |scripts: &mut Scripts| {
        let length = Duration::from_secs(600);
        scripts.impose(EPOCH, 1, BanReason::Incident(IncidentKind::Abuse), length)
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
        // What is empty is read as what is not there.
        let count = u64::from(!broken.is_empty());
        assert_eq!(read, (count, vec![]), "{broken:?}");
        assert_eq!(ban(&mut scripts), (count, told), "{broken:?}");
        set(&mut scripts);
        assert_eq!(scripts.lift(EPOCH, 1), (count, false), "{broken:?}");
        assert_eq!(
            scripts.read(EPOCH, std::slice::from_ref(&name)),
            (0, vec![])
        );
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
        assert_eq!(
            scripts.read(EPOCH, std::slice::from_ref(&name)),
            (0, vec![])
        );
        assert_eq!(scripts.query::<u32>(&["EXISTS", INDEX]), 0);
    }
}

#[test]
fn the_index_keeps_the_ten_thousand_that_end_last_and_forgets_who_is_free() {
    let server = RedisServer::start();
    let mut scripts = Scripts::on(&server);
    let ban = |scripts: &mut Scripts, now, n: u32, seconds: u64| {
        let length = Duration::from_secs(seconds);
        scripts.impose(now, n, BanReason::Manual, length);
    };
    for n in 1..=10_002 {
        ban(&mut scripts, EPOCH, n, u64::from(n) + 10);
    }
    assert_eq!(scripts.query::<u32>(&["ZCARD", INDEX]), 10_000);
    let [first, third] = [1, 3].map(|n| subject(n).to_string());
    let last: Vec<String> = scripts.query(&["ZRANGE", INDEX, "0", "0"]);
    assert_eq!(last, [third]);
    // It is not listed, and holds.
    assert_eq!(scripts.read(EPOCH, &[first]).1.len(), 1);
    // No call is held up by all of them at once.
    for left in [8_001, 6_001, 4_001, 2_001, 13] {
        ban(&mut scripts, EPOCH + 10_000 * SECOND, 20_000, 1);
        assert_eq!(scripts.query::<usize>(&["ZCARD", INDEX]), left);
    }
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
    let (terms, piece) = ([0; 14], [0; 16]);
    let counted = [&[1, 0, 5][..], &[0; 13]].concat();
    for (keys, arguments) in [
        (1, &[&terms[..], &piece, b"c", b"0", b"0"][..]),
        (2, &[&terms[..13], &piece, b"c", b"0", b"0"]),
        (2, &[&terms[..7], &piece, b"c", b"0", b"0"]),
        (2, &[&terms, &piece[..15], b"c", b"0", b"0"]),
        (2, &[&terms, b"", b"c", b"0", b"0"]),
        // A piece that is counted has a trail.
        (2, &[&terms, &counted, b"c", b"0", b"0"]),
        (3, &[&terms, &piece, b"c", b"0", b"0"]),
    ] {
        assert!(refused(&impose, keys, arguments));
    }
    assert!(refused(&lift, 1, &[b"c", b"0", b"0"]));
    assert!(refused(&read, 0, &[b"0", b"0"]));
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}
