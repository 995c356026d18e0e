//! Sessions over two processes and one Redis, which dies and comes back.

use http::Method;
use palisade_tests::SOON;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use serde_json::Value;

use super::{CURRENT, log_in, start, status};

#[tokio::test]
async fn what_one_process_ends_another_refuses_and_all_of_a_users_end_together() {
    let redis = RedisServer::start();
    let (one, other) = (start(&redis, ""), start(&redis, ""));
    let (one, other) = (one.client(), other.client());
    let (laptop, id) = log_in(&one, "ada").await;
    let (phone, _) = log_in(&other, "ada").await;
    let (bobs, _) = log_in(&one, "bob").await;
    for shop in [&one, &other] {
        for token in [&laptop, &phone, &bobs] {
            assert_eq!(status(shop, CURRENT, token).await, 200);
        }
    }
    let bearer = format!("Bearer {laptop}");
    let headers = [("authorization", &*bearer)];
    let path = format!("/api/v1/users/me/sessions/{id}");
    let ended = one.send(Method::DELETE, &path, &headers, "").await;
    assert_eq!(ended.status, 204);
    assert_eq!(status(&one, CURRENT, &laptop).await, 401);
    until("the other process refuses it", async || {
        status(&other, CURRENT, &laptop).await == 401
    })
    .await;
    assert_eq!(status(&other, CURRENT, &phone).await, 200);

    let bearer = format!("Bearer {phone}");
    let headers = [("authorization", &*bearer)];
    let path = "/api/v1/users/me/sessions/terminate-all";
    let ended = other
        .post(path, &headers, r#"{"keep_current":false}"#)
        .await;
    assert_eq!(ended.json()["terminated"], Value::from(1));
    assert_eq!(status(&other, CURRENT, &phone).await, 401);
    until("the first process refuses it", async || {
        status(&one, CURRENT, &phone).await == 401
    })
    .await;
    assert_eq!(status(&one, CURRENT, &bobs).await, 200);
}

#[tokio::test]
async fn without_redis_a_known_session_goes_on_and_no_other_is_let_in_nor_lost() {
    let mut redis = RedisServer::start();
    let webstore = start(&redis, "known_for = '1h'");
    let shop = webstore.client();
    let (known, _) = log_in(&shop, "ada").await;
    let (unknown, _) = log_in(&shop, "bob").await;
    assert_eq!(status(&shop, CURRENT, &known).await, 200);
    redis.kill();
    until("a session that is not known is refused", async || {
        status(&shop, "/us/products", &unknown).await == 503
    })
    .await;
    assert_eq!(status(&shop, "/us/products", &known).await, 200);
    assert_eq!(status(&shop, "/us/products", "pls_a.b.c").await, 401);
    let body = r#"{"user":"eve","password":"palisade"}"#;
    assert_eq!(shop.post("/login", &[], body).await.status, 503);
    // Whoever guesses passwords is told so, and counted, as ever.
    let guess = r#"{"user":"eve","password":"guess"}"#;
    assert_eq!(shop.post("/login", &[], guess).await.status, 401);
    redis.restart();
    webstore.until_breaker_closes().await;
    // It came back empty: it knows nobody, and no session comes back.
    until("the lost session is refused", async || {
        status(&shop, CURRENT, &known).await == 401
    })
    .await;
    assert_eq!(status(&shop, CURRENT, &unknown).await, 401);
    let again = log_in(&shop, "ada").await.0;
    assert_eq!(status(&shop, CURRENT, &again).await, 200);
    let told = |lines: &[Value]| !lines.is_empty();
    webstore.log_until("sessions_fallback", SOON, told).await;
}

/// Whoever guesses tokens is found as one who guesses passwords is; a program with an old token is not.
#[tokio::test]
async fn guesses_at_tokens_are_credential_stuffing_and_an_ended_token_is_not() {
    let redis = RedisServer::start();
    let webstore = start(&redis, "");
    let shop = webstore.client();
    let (token, id) = log_in(&shop, "ada").await;
    let bearer = format!("Bearer {token}");
    let path = format!("/api/v1/users/me/sessions/{id}");
    let headers = [("authorization", &*bearer)];
    assert_eq!(
        shop.send(Method::DELETE, &path, &headers, "").await.status,
        204
    );
    for _ in 0..50 {
        assert_eq!(status(&shop, CURRENT, &token).await, 401);
    }
    let incidents = async || {
        let kind = [("type", "credential_stuffing")];
        let scrape = webstore.scrape().await;
        scrape.sum("webstore_security_suspicious_activity_total", &kind)
    };
    let before = webstore.scrape().await;
    let counted = before.sum("webstore_security_failures_total", &[]);
    assert_eq!(incidents().await, 0.0);
    for n in 0..5 {
        let forged = format!("{token}{n}");
        assert_eq!(status(&shop, CURRENT, &forged).await, 401);
    }
    until("the guesses are an incident", async || {
        incidents().await == 1.0
    })
    .await;
    let after = webstore.scrape().await;
    let now_counted = after.sum("webstore_security_failures_total", &[]);
    assert_eq!(now_counted - counted, 5.0);
}
