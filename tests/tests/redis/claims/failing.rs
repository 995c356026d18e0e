//! A server that is full, or that refuses what sessions need: limits and sessions fail each by itself.

use std::time::Duration;

use palisade::preflight::Found;
use palisade::rate_limit::store::{Store, Way};
use palisade::rate_limit::{PartitionKey, Quota};
use palisade::session::Lifetime;
use palisade::session::store::{Creation, KeepSessions, Proved, SessionStore};
use palisade_tests::clocked::ClockedRedis;

use super::{Coin, Mint, Process, keeping, secret};
use crate::charge;
use crate::sessions::START;
use crate::sessions::redis::store;

const SECOND: u64 = 1_000_000;

async fn create(kept: &dyn KeepSessions, coin: &Coin) {
    let began = kept.begin(&coin.claim.user).await.unwrap();
    let hour = Duration::from_secs(3_600);
    let lifetime = Lifetime {
        idle: hour,
        absolute: hour,
    };
    let creation = Creation::new(coin.claim.clone(), began, lifetime);
    kept.create(&creation).await.unwrap();
}

/// Sessions whose activity is to be noted, on a server with the clock in the test's hands.
async fn due(server: &ClockedRedis, coins: &[&Coin]) {
    let kept = store(&server.url()).keep_sessions(&keeping());
    for coin in coins {
        create(&*kept, coin).await;
    }
    server.set(START + 5 * SECOND);
}

fn full(server: &ClockedRedis) {
    server.server().cli(&["CONFIG", "SET", "maxmemory", "1"]);
}

#[tokio::test]
async fn a_full_server_proves_sessions_and_notes_no_activity() {
    let server = ClockedRedis::start(START);
    let coin = Mint::new().coin("ada").await;
    due(&server, &[&coin]).await;
    full(&server);
    let kept = store(&server.url()).keep_sessions(&keeping());
    let Proved::Lives(session, _) = kept.prove(&coin.claim, true).await.unwrap() else {
        panic!("it lives");
    };
    assert_eq!(session.last_activity, session.created);
    // A full server refuses charges, and the same call proves the session.
    let quota: Quota = "5/1m".parse().unwrap();
    let key = PartitionKey::text("a", &secret());
    let limits =
        store(&server.url()).bind(&[palisade::rate_limit::store::Logs::of("ip", quota.window())]);
    let gate = kept.gate(&coin.claim, true).unwrap();
    let charges = [charge(0, &key, quota)];
    let way = Way {
        gate: None,
        charges: &charges,
    };
    let shown = limits.admit_either_way(&gate, way, way).await.unwrap();
    assert!(
        matches!(shown.session, Ok(Found::Lives { .. })),
        "{shown:?}"
    );
    let error = shown.verdict.unwrap().unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains("maxmemory"), "{said}");
    // Nor does any request fail.
    let process = Process::on(store(&server.url()), false, 1_000);
    let seen = process.send(1, Some(&coin.token)).await;
    assert_eq!(seen.status, 200, "{seen:?}");
    assert!(seen.body.starts_with(r#"Some("ada")"#), "{seen:?}");
}

#[tokio::test]
async fn what_fails_for_one_session_is_no_matter_of_others_and_is_charged_nothing() {
    let server = ClockedRedis::start(START);
    let mint = Mint::new();
    let (ada, grace) = (mint.coin("ada").await, mint.coin("grace").await);
    due(&server, &[&ada]).await;
    // No session needs to be noted.
    let kept = store(&server.url()).keep_sessions(&keeping());
    create(&*kept, &grace).await;
    server
        .server()
        .cli(&["ACL", "SETUSER", "palisade", "-zadd"]);

    let process = Process::on(store(&server.url()), false, 1_000);
    let answers = ["", &ada.token, &grace.token].map(|token| {
        let token = Some(token).filter(|token| !token.is_empty());
        (process.answer)(super::request(1, token, super::Sent::Bearer))
    });
    let tasks = answers.map(tokio::spawn);
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.unwrap());
    }
    assert_eq!(
        seen.iter().map(|it| it.status).collect::<Vec<_>>(),
        [200, 503, 200]
    );
    assert!(seen[2].body.starts_with(r#"Some("grace")"#), "{seen:?}");
    // Who cannot be proved pays once, as the address that it is.
    let next = process.send(1, None).await;
    let left = r#"ratelimit: "ip";r=2;"#;
    assert!(
        next.headers.iter().any(|it| it.starts_with(left)),
        "{next:?}"
    );
}
