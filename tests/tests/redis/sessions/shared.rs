//! Sessions on a real server with its own clock: two processes at once, what is lost, what is broken, and what is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade::client::Network;
use palisade::session::Text;
use palisade::session::store::{
    Began, Created, Creation, KeepSessions, OnMax, Once, Origin, Proof, Proved, Renewal,
    SessionStore, Statistics,
};
use palisade::store::redis::RedisStore;
use palisade_tests::SOON;
use palisade_tests::redis::RedisServer;
use redis::{Connection, Value};

use super::redis::store;
use super::{HOUR, NO_EPOCH, claim, created, id, keeping, lifetime, proof, user};

const ADA: &str = "palisade:session:{ada}:";
const EPOCH: &str = "palisade:session-epoch:{ada}";
const INDEX: &str = "palisade:sessions:{ada}";
const HOURS: &str = "palisade:session-hours:{ada}";

/// A server and a store on it, whose users may have so many sessions.
struct Kept {
    store: RedisStore,
    kept: Arc<dyn KeepSessions>,
    server: RedisServer,
}

impl Kept {
    fn new(most: u16, on_max: OnMax) -> Self {
        let server = RedisServer::start();
        let store = store(&server.url());
        let kept = store.keep_sessions(&keeping(most, on_max));
        Self {
            store,
            kept,
            server,
        }
    }

    fn admin(&self) -> Connection {
        let client = redis::Client::open(self.server.admin_url()).unwrap();
        client.get_connection().unwrap()
    }

    /// Session `n` of Ada, for hours.
    async fn login(&self, n: u64) {
        created(self.kept.create(&hours("ada", n, NO_EPOCH)).await.unwrap());
    }

    async fn lives(&self, n: u64) -> bool {
        match self.kept.prove(&claim("ada", n, n), true).await.unwrap() {
            Proved::Lives(..) => true,
            Proved::Gone => false,
            other => panic!("{other:?}"),
        }
    }

    async fn statistics(&self) -> Statistics {
        let told = self.kept.statistics(&user("ada")).await.unwrap();
        assert_eq!(told.total, told.active + told.expired + told.terminated);
        told
    }

    fn broken(&self) -> u64 {
        self.store.health().broken_logs()
    }
}

fn hours(name: &str, n: u64, began: Began) -> Creation {
    Creation::new(claim(name, n, n), began, lifetime(HOUR, 2 * HOUR))
}

fn record(n: u64) -> String {
    format!("{ADA}{}", id(n).to_string().replace('-', ""))
}

fn keys(admin: &mut Connection) -> Vec<String> {
    redis::cmd("KEYS").arg("*").query(admin).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_creates_of_two_processes_under_a_cap_of_three_leave_exactly_three() {
    for on_max in [OnMax::EvictOldest, OnMax::Deny] {
        let kept = Kept::new(3, on_max);
        let other = store(&kept.server.url()).keep_sessions(&keeping(3, on_max));
        let creates = (0..50).map(|n| {
            let of = if n % 2 == 0 { &kept.kept } else { &other };
            let of = Arc::clone(of);
            tokio::spawn(async move { of.create(&hours("ada", n, NO_EPOCH)).await.unwrap() })
        });
        let (mut made, mut evicted) = (0, 0);
        for create in creates.collect::<Vec<_>>() {
            match create.await.unwrap() {
                Created::New { evicted: of, .. } => {
                    made += 1;
                    evicted += of.len();
                }
                other => assert_eq!(other, Created::AtMax),
            }
        }
        let denies = on_max == OnMax::Deny;
        assert_eq!((made, evicted), if denies { (3, 0) } else { (50, 47) });
        assert_eq!(other.list(&user("ada")).await.unwrap().len(), 3);
        let told = kept.statistics().await;
        assert_eq!((told.active, told.terminated), (3, evicted as u64));
        assert_eq!(kept.kept.active().await.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_create_that_timed_out_after_it_was_executed_is_one_session_when_it_is_repeated() {
    let patient = Kept::new(9, OnMax::Deny);
    let hurried = RedisStore::builder(&patient.server.url()).deadline(Duration::from_millis(50));
    let hurried = hurried
        .build()
        .unwrap()
        .keep_sessions(&keeping(9, OnMax::Deny));
    let mut new = hours("ada", 1, NO_EPOCH);
    new.once = Some(Once([7; 16]));
    // The server knows the script, and the hurried store is connected.
    created(
        patient
            .kept
            .create(&hours("bob", 2, NO_EPOCH))
            .await
            .unwrap(),
    );
    while hurried.begin(&user("bob")).await.is_err() {}
    patient.server.pause();
    let timed_out = hurried.create(&new).await;
    assert!(timed_out.is_err(), "{timed_out:?}");
    patient.server.resume();
    let ada = user("ada");
    let started = std::time::Instant::now();
    while patient.kept.list(&ada).await.unwrap().is_empty() {
        assert!(started.elapsed() < SOON, "it was never executed");
    }
    // The repeat is another process's, with another id and secret.
    (new.id, new.proof) = (id(3), proof(3));
    let Created::Repeated(session) = patient.kept.create(&new).await.unwrap() else {
        panic!("not repeated");
    };
    assert_eq!(session.id, id(1));
    assert_eq!(patient.kept.list(&ada).await.unwrap(), [session]);
    assert_eq!(patient.statistics().await.total, 1);
}

#[tokio::test]
async fn without_any_one_of_its_keys_nothing_comes_alive_and_nothing_is_counted_below_zero() {
    for lost in ["record", EPOCH, INDEX, HOURS] {
        let kept = Kept::new(9, OnMax::Deny);
        let ada = user("ada");
        for n in 1..=3 {
            kept.login(n).await;
        }
        kept.kept.end(&ada, id(3)).await.unwrap();
        let began = kept.kept.begin(&ada).await.unwrap();
        let record = record(1);
        let key = if lost == "record" { &record } else { lost };
        assert_eq!(kept.server.cli(&["UNLINK", key]), "1");
        let told = kept.statistics().await;
        let of = |told: Statistics| (told.active, told.expired, told.terminated);
        match lost {
            "record" => {
                assert_eq!([kept.lives(1).await, kept.lives(2).await], [false, true]);
                assert_eq!(of(told), (1, 1, 1));
            }
            EPOCH => {
                assert_eq!([kept.lives(1).await, kept.lives(2).await], [false, false]);
                assert_eq!(of(told), (0, 2, 1));
                let late = kept.kept.create(&hours("ada", 4, began)).await.unwrap();
                assert_eq!(late, Created::Overtaken, "its epoch is lost");
                // Another epoch makes none of them live.
                kept.login(5).await;
                assert_eq!([kept.lives(1).await, kept.lives(2).await], [false, false]);
            }
            INDEX => {
                assert_eq!(of(told), (0, 2, 1), "nobody knows of them");
                assert_eq!(kept.kept.list(&ada).await.unwrap(), []);
                // Their own tokens find them, and activity files them.
                tokio::time::sleep(Duration::from_millis(1_001)).await;
                assert_eq!([kept.lives(1).await, kept.lives(2).await], [true, true]);
                assert_eq!(kept.kept.list(&ada).await.unwrap().len(), 2);
                assert_eq!(kept.server.cli(&["UNLINK", INDEX]), "1");
                let ended = kept.kept.end_all(&ada, Some(id(2))).await.unwrap();
                assert_eq!(ended, [], "one that no index knows ends by the epoch");
                assert_eq!([kept.lives(1).await, kept.lives(2).await], [false, true]);
                assert_eq!(kept.kept.list(&ada).await.unwrap().len(), 1);
            }
            _ => {
                assert_eq!(of(told), (2, 0, 0));
                kept.kept.end(&ada, id(2)).await.unwrap();
                assert_eq!(of(kept.statistics().await), (1, 0, 1));
                assert_eq!([kept.lives(1).await, kept.lives(2).await], [true, false]);
            }
        }
        assert!(!kept.lives(3).await, "{lost}");
        let sessions = kept.kept.list(&ada).await.unwrap();
        assert_eq!(
            kept.statistics().await.active,
            sessions.len() as u64,
            "{lost}"
        );
        assert_eq!(kept.broken(), 0, "{lost}");
    }
}

#[tokio::test]
async fn after_a_flush_nobody_is_logged_in_and_no_login_of_before_passes() {
    let kept = Kept::new(9, OnMax::Deny);
    kept.login(1).await;
    let began = kept.kept.begin(&user("ada")).await.unwrap();
    kept.server.cli(&["FLUSHALL"]);
    assert!(!kept.lives(1).await);
    let renewal = Renewal::default();
    let rotated = kept
        .kept
        .rotate(&claim("ada", 1, 1), &proof(2), &renewal)
        .await;
    assert_eq!(rotated.unwrap(), None);
    assert_eq!(kept.kept.end(&user("ada"), id(1)).await.unwrap(), None);
    assert_eq!(kept.kept.list(&user("ada")).await.unwrap(), []);
    assert_eq!(kept.statistics().await, Statistics::default());
    assert_eq!(kept.kept.active().await.unwrap(), 0);
    assert_eq!(
        keys(&mut kept.admin()),
        Vec::<String>::new(),
        "no look makes a key"
    );
    let late = kept.kept.create(&hours("ada", 2, began)).await.unwrap();
    assert_eq!(late, Created::Overtaken);
    kept.login(3).await;
    assert_eq!([kept.lives(1).await, kept.lives(3).await], [false, true]);
}

/// What may be found where a key of ours should be.
const BROKEN: [&[&str]; 5] = [
    &["SET", "KEY", "x"],
    &[
        "SET",
        "KEY",
        "a text that somebody else wrote, as long as any record of a session may be, and longer",
    ],
    &["RPUSH", "KEY", "x"],
    &["HSET", "KEY", "c1", "x"],
    &["ZADD", "KEY", "1", "x"],
];

#[tokio::test]
async fn a_key_that_is_none_of_ours_is_no_session_and_is_dropped_and_counted() {
    let origin = Origin([1; 16]);
    let from = format!("palisade:sessions-from:{}", "01".repeat(16));
    let once = format!("palisade:session-once:{{ada}}:{}", "07".repeat(16));
    let live = format!(
        "palisade:sessions-live:{}",
        &record(1)[record(1).len() - 1..]
    );
    for place in [&record(1), EPOCH, INDEX, HOURS, &from, &once, &live] {
        for broken in BROKEN {
            let kept = Kept::new(9, OnMax::Deny);
            let ada = user("ada");
            let create = async |n| {
                let mut new = hours("ada", n, NO_EPOCH);
                (new.origin, new.once) = (Some(origin), Some(Once([7; 16])));
                kept.kept.create(&new).await.unwrap()
            };
            created(create(1).await);
            kept.server.cli(&["UNLINK", place]);
            let command = broken
                .iter()
                .map(|it| if *it == "KEY" { place } else { *it });
            let command: Vec<_> = command.collect();
            kept.server.cli(&command);
            let what = format!("{place}: {broken:?}");

            kept.kept.begin(&ada).await.unwrap();
            let proved = kept.kept.prove(&claim("ada", 1, 1), true).await.unwrap();
            let is_dead = [&record(1), EPOCH].contains(&place);
            assert_eq!(matches!(proved, Proved::Lives(..)), !is_dead, "{what}");
            kept.kept.list(&ada).await.unwrap();
            kept.statistics().await;
            kept.kept.created_from(origin, Origin::KEPT).await.unwrap();
            kept.kept.active().await.unwrap();
            create(2).await;
            kept.login(3).await;
            assert!(kept.lives(3).await, "{what}");
            let ended = kept.kept.end_all(&ada, Some(id(3))).await.unwrap();
            assert!(ended.iter().all(|session| session.id != id(3)), "{what}");
            assert!(kept.lives(3).await && !kept.lives(1).await, "{what}");
            kept.kept.end(&ada, id(3)).await.unwrap();
            kept.kept.clean(&ada).await.unwrap();
            let told = kept.statistics().await;
            assert_eq!(told.active, 0, "{what}");
            assert!(told.total <= 3, "{what}: {told:?}");
            // A set or a hash in the place of one has members that are none of ours, which go without a count.
            let fits = match broken[0] {
                "ZADD" => [INDEX, &from, &live].contains(&place),
                "HSET" => place == HOURS,
                _ => false,
            };
            assert!(fits || kept.broken() > 0, "{what}: not counted");
        }
    }
}

#[tokio::test]
async fn a_record_that_was_cut_is_no_session() {
    for end in 0..78 {
        let kept = Kept::new(9, OnMax::Deny);
        let mut new = hours("ada", 1, NO_EPOCH);
        new.details.method = Some(Text::new("method", "pw").unwrap());
        created(kept.kept.create(&new).await.unwrap());
        let mut admin = kept.admin();
        let mut get = redis::cmd("GET");
        let whole: Vec<u8> = get.arg(record(1)).query(&mut admin).unwrap();
        assert_eq!(whole.len(), 79);
        let mut set = redis::cmd("SET");
        set.arg(record(1))
            .arg(&whole[..end])
            .exec(&mut admin)
            .unwrap();
        assert!(!kept.lives(1).await, "{end}");
        assert_eq!(kept.kept.list(&user("ada")).await.unwrap(), [], "{end}");
        assert!(end == 0 || kept.broken() > 0, "{end}");
        kept.login(2).await;
    }
}

#[tokio::test]
async fn no_key_and_no_value_holds_a_secret_and_every_key_expires() {
    let kept = Kept::new(9, OnMax::Deny);
    let secret = *b"canary-of-a-secret-of-32-bytes!!";
    let mut new = hours("ada", 1, NO_EPOCH);
    new.proof = Proof::of(&secret);
    new.once = Some(Once([7; 16]));
    new.origin = Some(Origin([1; 16]));
    new.details.user_agent = Some(Text::new("agent", "Firefox on Linux").unwrap());
    created(kept.kept.create(&new).await.unwrap());
    let mut claim = claim("ada", 1, 1);
    claim.proof = new.proof;
    let rotated = kept
        .kept
        .rotate(&claim, &Proof::of(&secret), &Renewal::default());
    assert!(rotated.await.unwrap().is_some());
    kept.kept.end_all(&user("ada"), Some(id(1))).await.unwrap();
    kept.kept.end(&user("ada"), id(1)).await.unwrap();
    created(
        kept.kept
            .create(&hours(
                "ada",
                2,
                kept.kept.begin(&user("ada")).await.unwrap(),
            ))
            .await
            .unwrap(),
    );

    let mut admin = kept.admin();
    let keys = keys(&mut admin);
    assert!(keys.len() >= 7, "{keys:?}");
    let address = Network::of("192.0.2.1".parse().unwrap(), 64).to_string();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut admin).unwrap();
        let all = match &*kind {
            "string" => redis::cmd("GET").arg(&key).query::<Value>(&mut admin),
            "hash" => redis::cmd("HGETALL").arg(&key).query(&mut admin),
            "zset" => redis::cmd("ZRANGE")
                .arg(&key)
                .arg(0)
                .arg(-1)
                .query(&mut admin),
            other => panic!("{key} is a {other}"),
        };
        let told = format!("{key} {:?}", all.unwrap());
        assert!(
            !told.contains("canary") && !told.contains(&address),
            "{told}"
        );
        let expires: i64 = redis::cmd("PTTL").arg(&key).query(&mut admin).unwrap();
        assert!(expires > 0, "{key} stays for ever");
    }
}

/// What Redis says that all keys take, with their names.
fn memory(admin: &mut Connection) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for key in keys(admin) {
        let kind = key.split(':').nth(1).unwrap().to_owned();
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(&key).arg("SAMPLES").arg(0);
        *kinds.entry(kind).or_default() += usage.query::<u64>(admin).unwrap();
    }
    kinds
}

#[tokio::test]
async fn a_typical_session_takes_at_most_500_bytes() {
    const USERS: u64 = 400;
    const EACH: u64 = 10;
    let kept = Kept::new(10, OnMax::Deny);
    for n in 0..USERS * EACH {
        // Ids of all first bytes and all last ones, as a service draws them.
        let name = format!("user-{:04}@example.org", n / EACH);
        let mut new = hours(&name, n, NO_EPOCH);
        new.details.user_agent = Some(Text::new("agent", "Firefox on Linux").unwrap());
        new.details.method = Some(Text::new("method", "password").unwrap());
        let mut origin = [0; 16];
        origin[..8].copy_from_slice(&(n / EACH).to_be_bytes());
        new.origin = Some(Origin(origin));
        created(kept.kept.create(&new).await.unwrap());
    }
    let taken = memory(&mut kept.admin());
    let each = taken.values().sum::<u64>() / (USERS * EACH);
    println!("{each} bytes a session: {taken:?}");
    assert!(each <= 500, "{each}: {taken:?}");
}
