//! What failed logins add up to: the store against real servers.

use std::time::Duration;

use http::StatusCode;
use palisade::client::{Route, Secret};
use palisade::suspicion::store::{FailedRequest, FailureStore, Rule};
use palisade::suspicion::{AccountHash, IncidentKind, Login, LoginAttempt};
use palisade_tests::distance::Distance;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::standing_still;
use tokio::time::Instant;

use super::failures::client;
use super::{fill, patient};

fn all_kinds() -> [Rule; 7] {
    IncidentKind::ALL.map(|kind| Rule::new(kind, kind.default_threshold()))
}

fn secret() -> Secret {
    Secret::from_bytes(b"a secret of the tests")
}

fn login(network: u32, status: u16, login: &Login) -> FailedRequest {
    {
        let mut request = FailedRequest::new(
            client(network),
            StatusCode::from_u16(status).unwrap(),
            Route::from("/login"),
        );
        request.login = Some(LoginAttempt::of(login, client(network), &secret()));
        request
    }
}

/// The kinds of the incidents that a login is.
async fn kinds(store: &impl FailureStore, request: FailedRequest) -> Vec<IncidentKind> {
    let counts = store.count(&all_kinds(), &[request]).await.unwrap();
    counts
        .incidents
        .iter()
        .map(|incident| incident.rule.kind)
        .collect()
}

#[tokio::test]
async fn each_kind_of_logins_fires_once_at_its_threshold_and_not_before() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    for network in 1..=10 {
        let failed = login(network, 200, &Login::failed("ada"));
        let expected: &[IncidentKind] = if network == 4 {
            &[IncidentKind::DistributedStuffing]
        } else {
            &[]
        };
        assert_eq!(kinds(&store, failed).await, expected, "{network}");
    }
    for n in 1..=10 {
        let failed = login(100, 200, &Login::failed(&format!("user {n}")));
        let expected: &[IncidentKind] = if n == 5 {
            &[IncidentKind::PasswordSpraying]
        } else {
            &[]
        };
        assert_eq!(kinds(&store, failed).await, expected, "{n}");
    }
    for (network, account, expected) in [
        (50, "bob", None),
        // Of the account under attack, from anywhere; then not again.
        (50, "ada", Some(IncidentKind::SuccessAfterFailures)),
        (51, "ada", None),
        // From the network that sprays, whatever the account.
        (100, "bob", Some(IncidentKind::SuccessAfterFailures)),
        (100, "bob", None),
    ] {
        let succeeded = login(network, 200, &Login::succeeded(account));
        let found = kinds(&store, succeeded).await;
        assert_eq!(found, expected.as_slice(), "{network} {account}");
    }
    // The trails of the other script make a network suspicious too.
    for _ in 0..5 {
        store
            .count(&all_kinds(), &[login(200, 401, &Login::failed("eve"))])
            .await
            .unwrap();
    }
    let succeeded = login(200, 200, &Login::succeeded("eve"));
    assert_eq!(
        kinds(&store, succeeded).await,
        [IncidentKind::SuccessAfterFailures]
    );
}

#[tokio::test]
async fn every_key_of_a_login_has_a_ttl_and_a_success_of_nobody_suspicious_has_none() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let succeeded = login(0xC000_0201, 200, &Login::succeeded("ada"));
    assert_eq!(kinds(&store, succeeded.clone()).await, []);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
    for n in 0..70 {
        let failed = login(0xC000_0201, 200, &Login::failed(&format!("user {n}")));
        store.count(&all_kinds(), &[failed]).await.unwrap();
    }
    store.count(&all_kinds(), &[succeeded]).await.unwrap();
    let keys = server.cli(&["KEYS", "*"]);
    let mut of_accounts = 0;
    for key in keys.lines() {
        let window = match key {
            // As long as the last of them, rounded up by a sixteenth.
            "palisade:ledger:failures" => {
                assert_ne!(server.cli(&["PTTL", key]), "-1");
                continue;
            }
            "palisade:suspicious:spray:5/300s:192.0.2.1"
            | "palisade:suspicious:spray:5/300s:192.0.2.1:sketch" => 300_000,
            _ => {
                let hash = AccountHash::of("ada", &secret());
                of_accounts +=
                    usize::from(key.starts_with("palisade:suspicious:account:4/3600s:~"));
                let success = format!("palisade:suspicious:success:1/3600s:{hash}");
                assert!(
                    key.contains(":account:4/3600s:~") || key == success,
                    "{key}"
                );
                3_600_000
            }
        };
        let ttl: i64 = server.cli(&["PTTL", key]).parse().unwrap();
        assert!(
            (window - 60_000..=window + 2_000).contains(&ttl),
            "{key}: {ttl} ms"
        );
    }
    assert_eq!((of_accounts, keys.lines().count()), (70, 74));
}

#[tokio::test]
async fn failures_and_logins_travel_in_one_round_trip() {
    let server = RedisServer::start();
    let distance = Distance::before(&server).await;
    let store = palisade::store::redis::RedisStore::builder(distance.url())
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let failed = [login(1, 401, &Login::failed("ada"))];
    // The connection, and the scripts that the server does not know.
    store.count(&all_kinds(), &failed).await.unwrap();
    let counted = distance
        .in_one_round_trip(store.count(&all_kinds(), &failed))
        .await;
    counted.unwrap();
}

#[tokio::test]
async fn two_stores_on_one_server_agree_on_accounts_and_tell_each_incident_once() {
    let server = RedisServer::start();
    let stores = [(); 2].map(|()| patient(&server).build().unwrap());
    let account = AccountHash::of("ada", &secret());
    for store in &stores {
        let state = store.account(&all_kinds(), account).await.unwrap();
        assert_eq!((state.under_attack, state.networks), (false, 0));
    }
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let store = stores[n % 2].clone();
            let failed = login(n as u32, 200, &Login::failed("ada"));
            tokio::spawn(async move { kinds(&store, failed).await })
        })
        .collect();
    let mut found = Vec::new();
    for task in tasks {
        found.extend(task.await.unwrap());
    }
    assert_eq!(found, [IncidentKind::DistributedStuffing]);
    for store in &stores {
        let state = store.account(&all_kinds(), account).await.unwrap();
        assert_eq!(
            (state.under_attack, state.networks, state.estimated),
            (true, 60, false)
        );
        assert!(state.lasting < Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_lost_script_is_sent_again_within_the_call() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    for network in 1..=4 {
        server.cli(&["SCRIPT", "FLUSH"]);
        let failed = login(network, 401, &Login::failed("ada"));
        store.count(&all_kinds(), &[failed]).await.unwrap();
    }
    server.cli(&["SCRIPT", "FLUSH"]);
    let account = AccountHash::of("ada", &secret());
    assert!(
        store
            .account(&all_kinds(), account)
            .await
            .unwrap()
            .under_attack
    );
}

#[tokio::test]
async fn an_account_is_looked_up_in_one_call_that_changes_nothing_and_ends_by_the_deadline() {
    let server = RedisServer::start();
    let deadline = Duration::from_secs(1);
    let store = palisade::store::redis::RedisStore::builder(&server.url())
        .deadline(deadline)
        .build()
        .unwrap();
    let account = AccountHash::of("ada", &secret());
    let state = standing_still(store.account(&all_kinds(), account)).await;
    state.unwrap();
    assert_eq!(server.cli(&["DBSIZE"]), "0");
    server.pause();
    // Goes on to the deadline at once.
    tokio::time::pause();
    let asked = Instant::now();
    for _ in 0..5 {
        store.account(&all_kinds(), account).await.unwrap_err();
    }
    let waited = asked.elapsed();
    assert!(waited < 5 * deadline + deadline / 2, "{waited:?}");
    // A hang is everybody's: the breaker of the requests opens.
    assert!(store.health().is_breaker_open());
    server.resume();
}

#[test]
fn an_account_cannot_be_looked_up_outside_a_runtime_and_nothing_panics() {
    use std::task::{Context, Poll, Waker};

    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let mut state = std::pin::pin!(store.account(&all_kinds(), AccountHash::of("ada", &secret())));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = state.as_mut().poll(&mut context) else {
        panic!("it waits or answers");
    };
    assert_eq!(error.kind(), palisade::rate_limit::StoreErrorKind::Failed);
}

#[tokio::test]
async fn without_room_a_login_of_who_is_new_is_told_as_refused() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let failed = |network, account| login(network, 200, &Login::failed(account));
    let known = store.count(&all_kinds(), &[failed(1, "ada")]).await;
    assert_eq!(known.unwrap().refused, []);
    fill(&server, "failures");
    let asked = [failed(1, "ada"), failed(2, "ben")];
    let refused = store.count(&all_kinds(), &asked).await.unwrap().refused;
    // The trail of the network, and that of the account.
    let kinds = [
        IncidentKind::PasswordSpraying,
        IncidentKind::DistributedStuffing,
    ];
    assert_eq!(refused, kinds.map(|kind| (1, kind)));
}
