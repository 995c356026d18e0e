//! What one process has ended, another refuses within a second; where Redis dies right after, within `known_for`.

use std::time::{Duration, Instant};

use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;

use super::{CURRENT, PRODUCTS, end, log_in, start, status};

/// Of the contract.
const WITHIN: Duration = Duration::from_secs(1);

/// For how long another process lets a session in after the answer to its end. It is asked all the time, as by a thief.
async fn refused_after(one: &Client, other: &Client, user: &str) -> Duration {
    let (token, id) = log_in(one, user).await;
    assert_eq!(status(other, PRODUCTS, &token).await, 200);
    end(one, &token, &id).await;
    let ended = Instant::now();
    let mut last = Duration::ZERO;
    loop {
        // What is let in was let in when it was asked, at the latest when it was answered.
        let asked = ended.elapsed();
        match status(other, PRODUCTS, &token).await {
            200 => last = asked,
            401 => return last,
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// `SESSION_TRIALS=1000 cargo test … ended_elsewhere -- --nocapture` measures more.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_holds_in_another_process_within_a_second() {
    let trials = std::env::var("SESSION_TRIALS").map_or(100, |it| it.parse().unwrap());
    let redis = RedisServer::start();
    let (one, other) = (start(&redis, ""), start(&redis, ""));
    // Few at a time, so that the machine does not wait for itself.
    let workers = (0..10).map(|worker| {
        let (one, other) = (one.client(), other.client());
        tokio::spawn(async move {
            let mut took = vec![];
            for trial in (worker..trials).step_by(10) {
                took.push(refused_after(&one, &other, &format!("ada{trial}")).await);
            }
            took
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut took = vec![];
    for worker in workers {
        took.extend(worker.await.unwrap());
    }
    took.sort();
    let (worst, median) = (took[took.len() - 1], took[took.len() / 2]);
    println!(
        "{trials} trials: let in for {median:?} in the median and {worst:?} at worst after the end"
    );
    assert_eq!(took.len(), trials);
    assert!(worst <= WITHIN, "{worst:?}");
    // They would have been known for longer.
    assert!(
        median > Duration::ZERO,
        "none was let in by what the process knew"
    );
}

/// Nothing tells the other process of the end any more: whoever has the token keeps it for `known_for`.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_an_end_holds_in_another_process_within_known_for() {
    const KNOWN_FOR: Duration = Duration::from_secs(3);
    let mut redis = RedisServer::start();
    let config = "known_for = '3s'";
    let (one, other) = (start(&redis, config), start(&redis, config));
    let (here, elsewhere) = (one.client(), other.client());
    let (token, id) = log_in(&here, "ada").await;
    let (living, _) = log_in(&here, "bob").await;
    assert_eq!(status(&elsewhere, PRODUCTS, &living).await, 200);
    assert_eq!(status(&elsewhere, PRODUCTS, &token).await, 200);
    end(&here, &token, &id).await;
    redis.kill();
    let died = Instant::now();
    assert_ne!(status(&here, PRODUCTS, &token).await, 200);
    until("it is refused", async || {
        let asked = died.elapsed();
        let lives = status(&elsewhere, PRODUCTS, &token).await == 200;
        if lives {
            assert!(asked <= KNOWN_FOR, "let in after {asked:?}");
        }
        !lives
    })
    .await;
    let took = died.elapsed();
    println!("refused {took:?} after the death of Redis, with `known_for` of {KNOWN_FOR:?}");
    // Also when somebody's is known no more.
    until("nobody is known any more", async || {
        status(&elsewhere, PRODUCTS, &living).await == 503
    })
    .await;
    redis.restart();
    for webstore in [&one, &other] {
        webstore.until_breaker_closes().await;
    }
    for shop in [&here, &elsewhere] {
        until("it is no session", async || {
            status(shop, CURRENT, &token).await == 401
        })
        .await;
    }
}

/// No list knows it, and it dies by the epoch all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_no_index_knows_ends_with_all_of_its_user() {
    let redis = RedisServer::start();
    let (one, other) = (start(&redis, ""), start(&redis, ""));
    let (one, other) = (one.client(), other.client());
    let (lost, _) = log_in(&one, "ada").await;
    let (bobs, _) = log_in(&one, "bob").await;
    assert_eq!(redis.cli(&["DEL", "palisade:sessions:{ada}"]), "1");
    // Filed anew by this login, which knows but itself.
    let (token, _) = log_in(&one, "ada").await;
    assert_eq!(redis.cli(&["ZCARD", "palisade:sessions:{ada}"]), "1");
    assert_eq!(status(&other, CURRENT, &lost).await, 200);
    assert_eq!(redis.cli(&["ZCARD", "palisade:sessions:{ada}"]), "1");
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    let path = "/api/v1/users/me/sessions/terminate-all";
    assert_eq!(one.post(path, &headers, "").await.status, 200);
    for shop in [&one, &other] {
        until("it has ended", async || {
            status(shop, CURRENT, &lost).await == 401
        })
        .await;
        assert_eq!(status(shop, CURRENT, &token).await, 200);
        assert_eq!(status(shop, CURRENT, &bobs).await, 200);
    }
}
