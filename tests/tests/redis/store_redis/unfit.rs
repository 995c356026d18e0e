//! Servers that answer and cannot be used: a node of a Cluster, a replica, a user without a command, a renamed command.

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use palisade::client::Network;
use palisade::rate_limit::store::Verdict;
use palisade::rate_limit::{StoreError, StoreErrorKind};
use palisade::store::redis::RedisStore;
use palisade::suspicion::store::{BanStore, Barred};
use palisade_tests::SOON;
use palisade_tests::redis::{RedisServer, acl, until_closed};
use palisade_tests::time::standing_still;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Request, limits, patient};

const CLUSTER: &[&str] = &["--save", "", "--cluster-enabled", "yes"];

/// A node that has every slot, as a Cluster of one.
fn serve_all_slots(server: &RedisServer) {
    assert_eq!(
        server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]),
        "OK"
    );
    let started = Instant::now();
    while !server
        .cli(&["CLUSTER", "INFO"])
        .contains("cluster_state:ok")
    {
        assert!(started.elapsed() < SOON, "the Cluster never came up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn cause(error: &dyn Error) -> String {
    error.source().map_or_else(String::new, ToString::to_string)
}

async fn ask(store: &RedisStore) -> Result<Verdict, StoreError> {
    Request::of("192.0.2.1", "ada").admit(&limits(store)).await
}

async fn decides(store: &RedisStore) -> bool {
    ask(store).await.unwrap().admitted
}

/// Why a decision fails.
async fn refusal(store: &RedisStore) -> String {
    let error = ask(store).await.expect_err("it was decided");
    assert_eq!(error.kind(), StoreErrorKind::Failed);
    cause(&error)
}

/// Why a probe fails.
async fn probed(store: &RedisStore) -> Option<String> {
    store.check().await.err().map(|error| cause(&error))
}

#[tokio::test]
async fn a_node_of_a_cluster_is_named_and_no_probe_closes_the_breaker_on_it() {
    let server = RedisServer::start_with(&CLUSTER[2..]);
    serve_all_slots(&server);
    let store = patient(&server)
        .breaker(5, Duration::from_millis(10))
        .build()
        .unwrap();
    let found = store.examine().await.unwrap();
    assert!(found.is_cluster() && !found.can_decide());
    assert_eq!(found.problems().count(), 1);
    for _ in 0..5 {
        let refusal = refusal(&store).await;
        assert!(refusal.contains("Redis Cluster"), "{refusal}");
    }
    assert!(store.health().is_breaker_open());
    for _ in 0..5 {
        let probed = probed(&store)
            .await
            .expect("a probe of another question than the requests'");
        assert!(probed.contains("Redis Cluster"), "{probed}");
    }
    assert!(store.health().is_breaker_open());
    // Nor does a call of one key pass, which the node would answer.
    let store = patient(&server).build().unwrap();
    let client = Network::of("192.0.2.1".parse().unwrap(), 64);
    let error = store.banned_for(client, None).await.unwrap_err();
    assert!(cause(&error).contains("Redis Cluster"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_becomes_a_node_of_a_cluster_is_an_outage_until_it_is_none() {
    let mut server = RedisServer::start();
    let store = patient(&server)
        .breaker(5, Duration::from_millis(10))
        .build()
        .unwrap();
    assert!(decides(&store).await);
    server.set_options(CLUSTER);
    server.restart();
    serve_all_slots(&server);
    // The first may meet the end of its connection.
    let _ = ask(&store).await;
    let refusal = refusal(&store).await;
    assert!(refusal.contains("Redis Cluster"), "{refusal}");
    while !store.health().is_breaker_open() {
        let _ = ask(&store).await;
    }
    assert!(probed(&store).await.unwrap().contains("Redis Cluster"));
    server.set_options(&["--save", ""]);
    server.restart();
    until_closed(&store.health()).await;
    assert!(decides(&store).await);
}

#[tokio::test]
async fn the_keys_of_a_probe_lie_in_different_slots() {
    let server = RedisServer::start_with(&CLUSTER[2..]);
    for prefix in ["palisade:", "shop-1:", "x"] {
        let slots = ["a", "b", "c"]
            .map(|name| server.cli(&["CLUSTER", "KEYSLOT", &format!("{prefix}probe:{name}")]));
        let [a, b, c] = &slots;
        assert!(a != b && b != c && a != c, "{slots:?}");
    }
}

/// The port of a proxy that does not say of the server that it is a node of a Cluster.
async fn hidden(server: &RedisServer) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = (Ipv4Addr::LOCALHOST, server.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut takes) = TcpStream::connect(address).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut asks, &mut takes).await });
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = answers.read(&mut buffer).await {
                    let word = buffer[..read].windows(7).position(|it| it == b"cluster");
                    if let Some(at) = word {
                        buffer[at..at + 7].copy_from_slice(b"unknown");
                    }
                    hears.write_all(&buffer[..read]).await.unwrap();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_probe_asks_for_as_many_keys_as_the_requests_where_a_cluster_is_hidden() {
    let server = RedisServer::start_with(&CLUSTER[2..]);
    serve_all_slots(&server);
    let (port, hidden) = (server.port(), hidden(&server).await);
    let url = server.url().replace(&port.to_string(), &hidden.to_string());
    let store = RedisStore::builder(&url)
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let found = store.examine().await.unwrap();
    assert_eq!((&*found.mode, found.unfit), ("unknown", None));
    let refusal = refusal(&store).await;
    assert!(refusal.contains("Redis Cluster"), "{refusal}");
    let probed = probed(&store)
        .await
        .expect("a probe of another question than the requests'");
    assert!(probed.contains("Redis Cluster"), "{probed}");
}

#[tokio::test]
async fn a_replica_is_named() {
    let server = RedisServer::start();
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let store = patient(&server).build().unwrap();
    let found = store.examine().await.unwrap();
    assert_eq!((&*found.role, found.can_decide()), ("replica", false));
    let unfit = found.unfit.unwrap();
    assert!(unfit.contains("read-only replica"), "{unfit}");
    assert_eq!(refusal(&store).await, unfit);
    assert_eq!(probed(&store).await.unwrap(), unfit);
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_under_a_connection_is_named() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    assert!(decides(&store).await);
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let refusal = refusal(&store).await;
    assert!(refusal.contains("read-only replica"), "{refusal}");
}

#[tokio::test]
async fn a_user_without_a_command_is_told_which_at_start_in_a_failure_and_in_a_probe() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    assert!(
        standing_still(store.examine())
            .await
            .unwrap()
            .denied
            .is_empty()
    );
    let needed: Vec<_> = acl()
        .iter()
        .filter_map(|it| it.strip_prefix('+'))
        .map(str::to_owned)
        .collect();
    assert!(needed.len() > 30, "{needed:?}");
    for command in &needed {
        let name = command.to_ascii_uppercase();
        server.cli(&["ACL", "SETUSER", "palisade", &format!("-{command}")]);
        let found = store.examine().await.unwrap();
        let denied: Vec<_> = found.denied.iter().map(|it| it.command).collect();
        assert_eq!(denied, [name.as_str()], "without {name}");
        let problem = found.problems().next().unwrap();
        assert!(problem.contains(&format!("`+{command}`")), "{problem}");
        let probed = probed(&store).await;
        assert_eq!(found.can_decide(), !found.denied[0].decides);
        if found.denied[0].decides {
            // The server knows the script, so that EVAL is not asked for until it has forgotten it.
            let probed = if name == "EVAL" && probed.is_none() {
                server.cli(&["SCRIPT", "FLUSH"]);
                self::probed(&store).await
            } else {
                probed
            };
            let probed = probed.unwrap_or_else(|| panic!("a probe went well without {name}"));
            assert!(probed.contains(&format!("`{name}`")), "{name}: {probed}");
        } else {
            assert_eq!(probed, None, "without {name}");
        }
        server.cli(&["ACL", "SETUSER", "palisade", &format!("+{command}")]);
    }
    // A log that cannot be read is no empty one.
    for (command, name) in [("getrange", "GETRANGE"), ("time", "TIME")] {
        server.cli(&["ACL", "SETUSER", "palisade", &format!("-{command}")]);
        let refusal = refusal(&store).await;
        let named = format!("may not run the command `{name}`");
        assert!(refusal.contains(&named), "{refusal}");
        server.cli(&["ACL", "SETUSER", "palisade", &format!("+{command}")]);
    }
}

#[tokio::test]
async fn an_acl_of_other_keys_is_told_once() {
    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "palisade", "resetkeys", "~elsewhere:*"]);
    let store = patient(&server).build().unwrap();
    let found = store.examine().await.unwrap();
    let problems: Vec<_> = found.problems().collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("~<prefix>*"), "{problems:?}");
    let refusal = refusal(&store).await;
    assert!(refusal.contains("~<prefix>*"), "{refusal}");
    assert!(probed(&store).await.is_some());
}

#[tokio::test]
async fn a_renamed_command_is_named() {
    for renamed in ["GETRANGE", "UNLINK", "APPEND", "ZADD"] {
        let server = RedisServer::start_with(&["--rename-command", renamed, ""]);
        let store = patient(&server).build().unwrap();
        let found = store.examine().await.unwrap();
        let problems: Vec<_> = found.problems().collect();
        let expected = format!("the server does not know the command `{renamed}`");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&expected), "{problems:?}");
        let decides = found.denied[0].decides;
        assert_eq!(decides, renamed != "ZADD");
        let probed = probed(&store).await;
        assert_eq!(probed.is_some(), decides, "{probed:?}");
    }
    let server = RedisServer::start_with(&["--rename-command", "EVALSHA", ""]);
    let store = patient(&server).build().unwrap();
    let refusal = refusal(&store).await;
    assert!(refusal.contains("`EVALSHA`"), "{refusal}");
}

#[tokio::test]
async fn an_examination_tells_what_an_operator_wants_to_know_and_leaves_nothing_behind() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb"]);
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let store = patient(&server).build().unwrap();
    let found = store.examine().await.unwrap();
    assert_eq!(
        (found.eviction, found.memory),
        (None, None),
        "CONFIG is denied"
    );
    let admin = RedisStore::builder(&server.admin_url()).build().unwrap();
    let found = standing_still(admin.examine()).await.unwrap();
    assert_eq!(found.eviction.as_deref(), Some("allkeys-lru"));
    assert_eq!(found.memory, Some(100 << 20));
    assert!(
        found.version.starts_with(|c: char| c.is_ascii_digit()),
        "{}",
        found.version
    );
    assert_eq!(
        (&*found.mode, &*found.role, found.tls),
        ("standalone", "master", false)
    );
    // One machine has one clock.
    assert!(found.clock_ahead.unwrap().abs() < 60_000);
    assert!(found.can_decide() && found.problems().next().is_none());
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn an_examination_leaves_no_key_for_ever_whatever_the_user_may_not_do() {
    for denied in ["-set", "-unlink -del -pexpire -pexpireat"] {
        let server = RedisServer::start();
        let mut rules = vec!["ACL", "SETUSER", "palisade"];
        rules.extend(denied.split(' '));
        server.cli(&rules);
        let store = patient(&server).build().unwrap();
        assert!(!store.examine().await.unwrap().denied.is_empty());
        for key in server
            .cli(&["KEYS", "*"])
            .lines()
            .filter(|key| !key.is_empty())
        {
            let left: i64 = server.cli(&["PTTL", key]).parse().unwrap();
            assert!((1..=60_000).contains(&left), "{key} for {left} ms");
        }
    }
}

#[tokio::test]
async fn single_failures_among_successes_of_another_port_open_no_breaker() {
    let server = RedisServer::start();
    let store = RedisStore::builder(&server.url())
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    let client = Network::of("192.0.2.1".parse().unwrap(), 64);
    for _ in 0..6 {
        assert_eq!(
            standing_still(store.banned_for(client, None))
                .await
                .unwrap(),
            Barred::default()
        );
        server.pause();
        tokio::time::pause();
        let error = store.banned_for(client, None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Timeout);
        tokio::time::resume();
        server.resume();
    }
    assert!(!store.health().is_breaker_open());
}
