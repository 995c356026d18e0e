//! What analytics may take of a server: limits and bans have the rest.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use palisade::client::{Network, Route, Secret};
use palisade::funnel::store::{Journeys, Progress, Reach, VisitStore, Visitor};
use palisade::rate_limit::store::{Logs, Store};
use palisade::store::Analytics;
use palisade::store::redis::RedisStore;
use palisade::suspicion::IncidentKind;
use palisade::suspicion::store::{FailedRequest, FailureStore, Rule};
use palisade_tests::redis::RedisServer;
use tokio::task::JoinSet;

use super::{patient, quota};
use crate::charge;

/// The most reaches, and the most failed requests, that a call may carry.
const REACHES: u32 = 160;
const FAILURES: u32 = 32;
const HOUR: Duration = Duration::from_secs(3_600);

fn one_day() -> Journeys {
    Journeys::of(["browse", "buy"], Duration::from_secs(86_400))
}

/// The networks of an attacker: a fresh /64 each.
fn fresh(n: u32) -> Network {
    let address = 0x2001_0db8_u128 << 96 | u128::from(n) << 64 | 1;
    Network::of(IpAddr::V6(Ipv6Addr::from_bits(address)), 64)
}

fn honest(n: u32) -> Network {
    Network::of([10, 0, (n >> 8) as u8, n as u8].into(), 64)
}

fn visit(n: u32) -> Reach {
    Reach {
        visitor: Visitor::anonymous(fresh(n), &Secret::from_bytes(b"a secret of the tests")),
        stage: 0,
        age: Duration::ZERO,
    }
}

fn missed(n: u32) -> FailedRequest {
    FailedRequest::new(fresh(n), StatusCode::UNAUTHORIZED, Route::from("/login"))
}

fn rules() -> [Rule; 4] {
    IncidentKind::BY_STATUS.map(|kind| Rule::new(kind, kind.default_threshold()))
}

/// How many of the clients are admitted once more, under one request in an hour; and how many calls fail.
async fn admitted(store: &RedisStore, clients: impl Iterator<Item = Network>) -> [usize; 2] {
    let limits = store.bind(&[Logs::of("ip", HOUR)]);
    let (mut admitted, mut failed) = (0, 0);
    let clients: Vec<_> = clients
        .map(palisade::rate_limit::PartitionKey::from)
        .collect();
    for clients in clients.chunks(500) {
        let mut asked = JoinSet::new();
        for key in clients {
            let (limits, key) = (Arc::clone(&limits), key.clone());
            asked.spawn(async move {
                let charge = charge(0, &key, quota(1, HOUR.as_secs()));
                limits.admit(&[charge]).await
            });
        }
        for verdict in asked.join_all().await {
            match verdict {
                Ok(verdict) => admitted += usize::from(verdict.admitted),
                Err(_) => failed += 1,
            }
        }
    }
    [admitted, failed]
}

/// 60,000 fresh networks come once, 10,000 guess a password, and 10,000 have a limit of their own.
async fn flood(store: &RedisStore) {
    for call in 0..60_000 / REACHES {
        let reaches: Vec<_> = (call * REACHES..(call + 1) * REACHES).map(visit).collect();
        // Without a budget a full server that evicts nothing refuses it.
        let _ = store.reach(one_day(), &reaches).await;
    }
    for call in 0..10_000 / FAILURES {
        let failed: Vec<_> = (call * FAILURES..(call + 1) * FAILURES)
            .map(missed)
            .collect();
        let _ = store.count(&rules(), &failed).await;
    }
    admitted(store, (0..10_000).map(fresh)).await;
}

/// How many of 12,000 honest clients are let in beyond their limit after a flood, and how many calls fail.
async fn lifted(policy: &str, memory: &str) -> (RedisStore, [usize; 2]) {
    const HONEST: u32 = 12_000;
    let server = RedisServer::start_with(&["--maxmemory", "16mb", "--maxmemory-policy", policy]);
    let store = patient(&server)
        .analytics_memory(memory.parse().unwrap())
        .build()
        .unwrap();
    let first = admitted(&store, (0..HONEST).map(honest)).await;
    assert_eq!(first, [HONEST as usize, 0], "{policy}");
    flood(&store).await;
    let again = admitted(&store, (0..HONEST).map(honest)).await;
    let [memory_used, evicted] =
        [("memory", "used_memory:"), ("stats", "evicted_keys:")].map(|(section, field)| {
            let info = server.cli(&["INFO", section]);
            let line = info.lines().find(|line| line.starts_with(field));
            line.unwrap_or_default().trim().to_owned()
        });
    println!("{policy}, {memory}: {again:?} lifted and failed, {memory_used}, {evicted}");
    (store, again)
}

#[tokio::test]
async fn no_flood_of_fresh_networks_lifts_the_limit_of_an_honest_client() {
    for policy in ["noeviction", "volatile-ttl", "allkeys-lru"] {
        let (store, again) = lifted(policy, "50%").await;
        assert_eq!(again, [0, 0], "{policy}");
        let health = store.health();
        assert!(
            health.over_budget(Analytics::Visitors) > 40_000,
            "{policy}: {health:?}"
        );
        assert!(
            health.over_budget(Analytics::Failures) > 9_000,
            "{policy}: {health:?}"
        );
    }
}

#[tokio::test]
async fn without_a_budget_the_same_flood_lifts_limits_or_stops_the_server() {
    for policy in ["noeviction", "volatile-ttl"] {
        let (_, [lifted, failed]) = lifted(policy, "1024gb").await;
        assert!(lifted + failed > 1_000, "{policy}: {lifted} {failed}");
    }
}

/// Fills the ledger of a kind for an hour.
pub(crate) fn fill(server: &RedisServer, kind: &str) {
    let mut connection = redis::Client::open(server.admin_url())
        .unwrap()
        .get_connection()
        .unwrap();
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
    let ends = (seconds + HOUR.as_secs()) * 1_000;
    let bytes = (1_u64 << 40) - 1;
    let ledger = [
        &[0x9a, 0x06][..],
        &ends.to_be_bytes()[2..],
        &bytes.to_be_bytes()[3..],
    ]
    .concat();
    let () = redis::cmd("SET")
        .arg(format!("palisade:ledger:{kind}"))
        .arg(ledger)
        .query(&mut connection)
        .unwrap();
}

#[tokio::test]
async fn without_room_who_is_known_goes_on_and_who_is_new_is_told_as_refused() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let known = store.reach(one_day(), &[visit(1)]).await.unwrap();
    assert_eq!(known[0].counted(), 1);
    let counted = store.count(&rules(), &[missed(1)]).await.unwrap();
    assert_eq!(counted, Default::default());
    for kind in ["visitors", "failures"] {
        fill(&server, kind);
    }
    let second = |n| Reach {
        stage: 1,
        ..visit(n)
    };
    let progress = store
        .reach(one_day(), &[second(1), visit(2), second(2)])
        .await
        .unwrap();
    assert_eq!((progress[0].counted(), progress[0].refused), (2, false));
    let refused = Progress {
        refused: true,
        ..Progress::default()
    };
    assert_eq!(progress[1..], [refused.clone(), refused]);

    let failed: Vec<_> = (0..5).map(|n| missed(n / 4 + 1)).collect();
    let counts = store.count(&rules(), &failed).await.unwrap();
    let incident = counts.incidents.first().expect("five of a known client");
    assert_eq!((incident.request, incident.count), (3, 5));
    let kinds = IncidentKind::BY_STATUS.into_iter();
    let kinds = kinds.filter(|kind| kind.counts(StatusCode::UNAUTHORIZED));
    assert_eq!(
        counts.refused,
        kinds.map(|kind| (4, kind)).collect::<Vec<_>>()
    );
    let health = store.health();
    assert_eq!(
        Analytics::ALL.map(|kind| health.over_budget(kind)),
        [2, 3, 0]
    );
}

/// The bytes that a ledger holds.
fn held(connection: &mut redis::Connection, ledger: &str) -> u64 {
    let value: Vec<u8> = redis::cmd("GET").arg(ledger).query(connection).unwrap();
    let entries = value[2..].chunks(11);
    entries
        .map(|entry| {
            entry[6..]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        })
        .sum()
}

#[tokio::test]
async fn a_ledger_holds_what_its_keys_take() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let mut connection = redis::Client::open(server.admin_url())
        .unwrap()
        .get_connection()
        .unwrap();
    let used = || {
        let info = server.cli(&["INFO", "memory"]);
        let line = info.lines().find_map(|it| it.strip_prefix("used_memory:"));
        line.unwrap().trim().parse::<f64>().unwrap()
    };
    // Scripts, and room in the tables of keys.
    store.reach(one_day(), &[visit(0)]).await.unwrap();
    store.count(&rules(), &[missed(0)]).await.unwrap();
    let before = used();
    for call in 0..50_000 / REACHES {
        let reaches: Vec<_> = (call * REACHES..(call + 1) * REACHES).map(visit).collect();
        store.reach(one_day(), &reaches).await.unwrap();
    }
    let taken = used() - before;
    let ledger = held(&mut connection, "palisade:ledger:visitors") as f64;
    println!(
        "visitors: {taken} used, {ledger} in the ledger, {} each",
        taken / 50_000.0
    );
    assert!((0.9..1.4).contains(&(ledger / taken)), "{ledger} {taken}");

    let before = used();
    for call in 0..20_000 / FAILURES {
        let failed: Vec<_> = (call * FAILURES..(call + 1) * FAILURES)
            .map(missed)
            .collect();
        store.count(&rules(), &failed).await.unwrap();
    }
    let taken = used() - before;
    let ledger = held(&mut connection, "palisade:ledger:failures") as f64;
    println!(
        "failures: {taken} used, {ledger} in the ledger, {} each",
        taken / 60_000.0
    );
    // With what counts towards bans, which are off.
    assert!((1.2..2.2).contains(&(ledger / taken)), "{ledger} {taken}");
}
