//! What failures add up to: the store against real servers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use palisade::client::{Route, Secret};
use palisade::store::memory::MemoryStore;
use palisade::suspicion::store::{FailureStore, Incident, LocalFailureStore, Rule};
use palisade::suspicion::{IncidentKind, Login, LoginAttempt};
use palisade_tests::redis::RedisServer;
use palisade_tests::time::standing_still;

use super::failures::failed;
use super::model::Random;
use super::patient;

fn all_kinds() -> [Rule; 4] {
    IncidentKind::BY_STATUS.map(|kind| Rule::new(kind, kind.default_threshold()))
}

/// Fails until `until`, and tells which failures were incidents of which kind.
async fn incidents(store: &impl FailureStore, status: u16, until: u64) -> Vec<(u64, IncidentKind)> {
    let mut found = Vec::new();
    for n in 1..=until {
        let incidents = store
            .count(&all_kinds(), &[failed(1, status, "/login")])
            .await
            .unwrap()
            .incidents;
        for incident in incidents {
            assert_eq!((incident.request, incident.count), (0, n));
            assert_eq!(incident.routes, [Route::from("/login")]);
            found.push((n, incident.rule.kind));
        }
    }
    found
}

#[tokio::test]
async fn each_kind_fires_once_at_its_threshold_and_not_before() {
    for (status, expected) in [
        (
            401,
            vec![
                (5, IncidentKind::CredentialStuffing),
                (20, IncidentKind::Abuse),
                (20, IncidentKind::CredentialStuffingSlow),
            ],
        ),
        (
            404,
            vec![
                (10, IncidentKind::EndpointScanning),
                (20, IncidentKind::Abuse),
            ],
        ),
        (403, vec![(20, IncidentKind::Abuse)]),
        (429, vec![]),
        (200, vec![]),
    ] {
        let server = RedisServer::start();
        let store = patient(&server).build().unwrap();
        assert_eq!(incidents(&store, status, 60).await, expected);
        if expected.is_empty() {
            assert_eq!(server.cli(&["DBSIZE"]), "0", "{status}");
        }
    }
}

#[tokio::test]
async fn keeps_a_key_with_a_ttl_for_each_kind_and_asks_once_for_all() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let failed = [
        failed(0xC000_0201, 401, "/login"),
        failed(0xC000_0201, 404, "unmatched"),
    ];
    store.count(&all_kinds(), &failed).await.unwrap();
    let calls = |server: &RedisServer| {
        let stats = server.cli(&["INFO", "commandstats"]);
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_evalsha:"));
        line.map(|line| {
            line.split(['=', ','])
                .nth(1)
                .unwrap()
                .parse::<u32>()
                .unwrap()
        })
    };
    let before = calls(&server).unwrap();
    store.count(&all_kinds(), &failed).await.unwrap();
    assert_eq!(calls(&server).unwrap(), before + 1);
    let keys = server.cli(&["KEYS", "*"]);
    let mut keys: Vec<_> = keys.lines().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "palisade:ledger:failures",
            "palisade:suspicious:401-slow:20/7200s:192.0.2.1",
            "palisade:suspicious:401:5/300s:192.0.2.1",
            "palisade:suspicious:404:10/300s:192.0.2.1",
            "palisade:suspicious:4xx:20/300s:192.0.2.1",
        ]
    );
    // The ledger goes with the last of them, at most a sixteenth later.
    let ledger: i64 = server.cli(&["PTTL", keys.remove(0)]).parse().unwrap();
    assert!((7_140_000..=7_652_000).contains(&ledger), "{ledger} ms");
    for (key, window) in keys.into_iter().zip([7_200_000, 300_000, 300_000, 300_000]) {
        let ttl: i64 = server.cli(&["PTTL", key]).parse().unwrap();
        assert!(
            (window - 60_000..=window + 2_000).contains(&ttl),
            "{key}: {ttl} ms"
        );
    }
}

#[tokio::test]
async fn two_stores_on_one_server_tell_one_incident_between_them() {
    let server = RedisServer::start();
    let stores = [(); 2].map(|()| patient(&server).build().unwrap());
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move {
                store
                    .count(&all_kinds(), &[failed(1, 404, "/")])
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut kinds = Vec::new();
    for task in tasks {
        kinds.extend(
            task.await
                .unwrap()
                .incidents
                .into_iter()
                .map(|i| i.rule.kind),
        );
    }
    // The tasks end in no certain order.
    kinds.sort_by_key(|kind| kind.as_str());
    assert_eq!(kinds, [IncidentKind::Abuse, IncidentKind::EndpointScanning]);
}

#[tokio::test]
async fn a_server_that_dies_or_hangs_opens_the_breaker_that_the_limits_share() {
    for hangs in [false, true] {
        let mut server = RedisServer::start();
        let store = palisade::store::redis::RedisStore::builder(&server.url())
            .deadline(Duration::from_secs(1))
            .build()
            .unwrap();
        let failed = [failed(1, 404, "/")];
        let counted = standing_still(store.count(&all_kinds(), &failed)).await;
        counted.unwrap();
        server.fail(hangs);
        // Goes on to the deadline at once.
        tokio::time::pause();
        for _ in 0..5 {
            assert!(!store.health().is_breaker_open());
            store.count(&all_kinds(), &failed).await.unwrap_err();
        }
        assert!(store.health().is_breaker_open());
        let rejected = store.count(&all_kinds(), &failed).await.unwrap_err();
        assert_eq!(
            rejected.kind(),
            palisade::rate_limit::StoreErrorKind::Rejected
        );
        tokio::time::resume();
        server.recover();
        palisade_tests::redis::until_closed(&store.health()).await;
        let counted = standing_still(store.count(&all_kinds(), &failed)).await;
        counted.unwrap();
    }
}

#[tokio::test]
async fn distinct_things_are_counted_alike_by_both_stores_and_by_a_plain_set() {
    let server = RedisServer::start();
    let redis = patient(&server).build().unwrap();
    let memory = MemoryStore::new();
    // Windows so long that nothing leaves one.
    let rules =
        IncidentKind::BY_STATUS.map(|kind| Rule::of_distinct(kind, "6/24h".parse().unwrap()));
    let mut random = Random(9);
    let mut seen: HashMap<_, HashSet<u64>> = HashMap::new();
    let mut told = 0;
    for step in 0..400 {
        let requests: Vec<_> = (0..=random.below(3))
            .map(|_| {
                let status = random.of(&[401, 404, 403]);
                let mut request = failed(random.below(4) as u32, status, "/");
                request.thing = random.below(40);
                request
            })
            .collect();
        let mut expected = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            for kind in IncidentKind::BY_STATUS {
                if request.counts(kind) {
                    let things = seen.entry((kind, request.client)).or_default();
                    let is_new = things.insert(request.thing);
                    if is_new && things.len() == 6 {
                        expected.push((place, kind, 6));
                    }
                }
            }
        }
        let counted = |incidents: Vec<Incident>| {
            let counted = incidents.into_iter();
            counted
                .map(|incident| (incident.request, incident.rule.kind, incident.count))
                .collect::<Vec<_>>()
        };
        let of_redis = counted(redis.count(&rules, &requests).await.unwrap().incidents);
        assert_eq!(of_redis, expected, "Redis, step {step}");
        let of_memory = counted(memory.count_now(&rules, &requests));
        assert_eq!(of_memory, expected, "memory, step {step}");
        told += expected.len();
    }
    // Three kinds of a 401, two of a 404, and all of them together: each once for each client.
    assert_eq!(told, 16);
}

#[tokio::test]
async fn an_episode_of_distinct_credentials_makes_a_login_suspicious_as_any_other() {
    let server = RedisServer::start();
    let redis = patient(&server).build().unwrap();
    let memory = MemoryStore::new();
    let stuffing = Rule::of_distinct(IncidentKind::CredentialStuffing, "3/24h".parse().unwrap());
    let success = IncidentKind::SuccessAfterFailures;
    let rules = [stuffing, Rule::new(success, success.default_threshold())];
    let secret = Secret::from_bytes(b"a secret of the tests");
    for attempts in [2, 3] {
        let mut requests: Vec<_> = (0..attempts)
            .map(|thing| {
                let mut request = failed(attempts, 401, "/login");
                request.thing = thing.into();
                request
            })
            .collect();
        let mut login = failed(attempts, 200, "/login");
        let ada = Login::succeeded(&format!("ada-{attempts}"));
        login.login = Some(LoginAttempt::of(&ada, login.client, &secret));
        requests.push(login);
        let of_redis = redis.count(&rules, &requests).await.unwrap().incidents;
        for incidents in [of_redis, memory.count_now(&rules, &requests)] {
            let kinds: Vec<_> = incidents
                .iter()
                .map(|incident| incident.rule.kind)
                .collect();
            let both = [IncidentKind::CredentialStuffing, success];
            assert_eq!(
                kinds,
                both[..if attempts == 3 { 2 } else { 0 }],
                "{attempts}"
            );
        }
    }
}

#[tokio::test]
async fn two_deployments_with_other_thresholds_or_windows_count_as_if_alone() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let failed = [failed(1, 404, "/")];
    // A shorter window and a lower threshold beside it, of failures and of distinct things.
    for rule in [Rule::new, Rule::of_distinct] {
        let rule = |threshold: &str| {
            let threshold = threshold.parse().unwrap();
            [rule(IncidentKind::EndpointScanning, threshold)]
        };
        for other in ["2/24h", "6/1s"] {
            let mut found = Vec::new();
            for n in 1..=6 {
                let mut failed = failed.clone();
                failed[0].thing = n;
                store.count(&rule(other), &failed).await.unwrap();
                let incidents = store.count(&rule("6/24h"), &failed).await.unwrap();
                found.extend(incidents.incidents.iter().map(|it| (n, it.count)));
            }
            assert_eq!(found, [(6, 6)], "beside {other}");
            server.cli(&["FLUSHALL"]);
        }
    }
}
