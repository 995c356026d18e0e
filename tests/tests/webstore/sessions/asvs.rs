//! The rows of OWASP's Application Security Verification Standard 5.0 that sessions are to meet, by their numbers.
//!
//! Of 16.3.1 the access log shows that each login and its outcome is told; whose it was is not in it, since a log of requests
//! names nobody.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use http::Method;
use palisade::session::store::Renewal;
use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::{PATIENT, Webstore};
use serde_json::Value;

use super::{
    CURRENT, NO_SUSPICION, SESSIONS, WIDE, claim, elsewhere, end, log_in, on_both_stores, start,
    status, stream,
};

fn config(more: &str) -> String {
    format!("{WIDE}{NO_SUSPICION}[sessions]\n{more}")
}

/// Waits longer than sessions of `idle = '2s'` may be idle, and tells whether this one lives.
async fn lives_after_a_pause(shop: &Client, token: &str) -> bool {
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    status(shop, CURRENT, token).await == 200
}

/// Tokens that stand for a session are each drawn anew, from more than 128 bits of chance.
#[tokio::test]
async fn v7_2_3_tokens_are_unique_and_random() {
    on_both_stores(&config("max_per_user = 1000"), async |webstore, _| {
        let shop = webstore.client();
        let mut proofs = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut ones = 0;
        for _ in 0..200 {
            let (token, id) = log_in(&shop, "ada").await;
            let proof = *claim(&token).proof.as_bytes();
            let secret = token.rsplit('.').next().unwrap();
            // 32 bytes of chance and 16 that follow from them.
            assert_eq!(secret.len(), 64);
            ones += super::bytes(secret)[..32]
                .iter()
                .map(|it| it.count_ones())
                .sum::<u32>();
            assert!(proofs.insert(proof) && ids.insert(id));
        }
        // Of 51,200 coins; a chance of less than one in a billion to be so far off.
        assert!((24_800..26_400).contains(&ones), "{ones}");
    })
    .await;
}

/// Whoever logs in, also again, gets another token, and the one that it came with is worth nothing.
#[tokio::test]
async fn v7_2_4_a_login_makes_a_new_token_and_ends_the_one_before() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (before, _) = log_in(&shop, "ada").await;
        let body = r#"{"user":"ada","password":"palisade"}"#;
        let cookie = format!("__Host-session={before}");
        let page = [("cookie", &*cookie), ("sec-fetch-site", "same-origin")];
        let again = shop.post("/login", &page, body).await;
        assert_eq!(again.status, 200);
        let after = again.json()["token"].as_str().unwrap().to_owned();
        assert_ne!(before, after);
        assert!(again.header("set-cookie").contains(&after));
        assert_eq!(status(&shop, CURRENT, &before).await, 401);
        assert_eq!(status(&shop, CURRENT, &after).await, 200);
        // A failed one ends nothing.
        let cookie = format!("__Host-session={after}");
        let page = [("cookie", &*cookie), ("sec-fetch-site", "same-origin")];
        let wrong = r#"{"user":"ada","password":"wrong"}"#;
        assert_eq!(shop.post("/login", &page, wrong).await.status, 401);
        assert_eq!(status(&shop, CURRENT, &after).await, 200);
    })
    .await;
}

/// A session that nobody uses ends.
#[tokio::test]
async fn v7_3_1_a_session_ends_by_inactivity() {
    let config = config("idle = '2s'\ntouch_every = '1s'\nabsolute = '1h'");
    on_both_stores(&config, async |webstore, _| {
        let shop = webstore.client();
        let (token, _) = log_in(&shop, "ada").await;
        assert_eq!(status(&shop, CURRENT, &token).await, 200);
        assert!(!lives_after_a_pause(&shop, &token).await);
    })
    .await;
}

/// A session that is used all the time ends all the same.
#[tokio::test]
async fn v7_3_2_a_session_ends_at_its_age() {
    let config = config("idle = '3s'\ntouch_every = '1s'\nabsolute = '3s'");
    on_both_stores(&config, async |webstore, _| {
        let shop = webstore.client();
        let (token, _) = log_in(&shop, "ada").await;
        let began = std::time::Instant::now();
        until("it has ended", async || {
            status(&shop, CURRENT, &token).await == 401
        })
        .await;
        assert!(
            began.elapsed() > Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    })
    .await;
}

/// Once an account is closed, its sessions are over everywhere.
#[tokio::test]
async fn v7_4_2_all_sessions_of_a_closed_account_end() {
    let redis = RedisServer::start();
    let (one, other) = (start(&redis, ""), start(&redis, ""));
    let shops = [one.client(), other.client()];
    let mut tokens = vec![];
    for shop in &shops {
        tokens.push(log_in(shop, "ada").await.0);
    }
    let (bobs, _) = log_in(&shops[0], "bob").await;
    let handle = elsewhere(&redis);
    let ada = handle.user("ada");
    assert_eq!(handle.end_all(&ada, None).await.unwrap(), 2);
    for shop in &shops {
        for token in &tokens {
            until("it has ended", async || {
                status(shop, CURRENT, token).await == 401
            })
            .await;
        }
        assert_eq!(status(shop, CURRENT, &bobs).await, 200);
    }
}

/// After a change of a factor the user may end all other sessions; the one that is kept gets another token.
#[tokio::test]
async fn v7_4_3_other_sessions_end_with_a_change_of_a_factor() {
    let redis = RedisServer::start();
    let webstore = start(&redis, "");
    let shop = webstore.client();
    let (kept, _) = log_in(&shop, "ada").await;
    let (other, _) = log_in(&shop, "ada").await;
    let (bobs, _) = log_in(&shop, "bob").await;
    let handle = elsewhere(&redis);
    let ada = handle.user("ada");
    let begun = handle.begin(&ada).await.unwrap();
    let keep = claim(&kept);
    let renewal = Renewal::default();
    let changed = handle.factor_changed(&ada, Some(&keep), &renewal);
    let changed = changed.await.unwrap();
    assert_eq!(changed.ended, 1);
    let renewed = changed.kept.unwrap();
    for token in [&kept, &other] {
        until("it opens nothing", async || {
            status(&shop, CURRENT, token).await == 401
        })
        .await;
    }
    assert_eq!(status(&shop, CURRENT, renewed.token.expose()).await, 200);
    assert_eq!(status(&shop, CURRENT, &bobs).await, 200);
    // A login with the old factor that had begun creates none.
    assert!(
        handle
            .create(begun, palisade::session::NewSession::new())
            .await
            .is_err()
    );
}

/// Operators end the sessions of any user.
#[tokio::test]
async fn v7_4_5_operators_end_the_sessions_of_a_user() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "a token that the operators have").unwrap();
    let config = config(&format!(
        "operator_token_file = '{}'",
        file.path().display()
    ));
    on_both_stores(&config, async |webstore, _| {
        let (shop, admin) = (webstore.client(), Client::new(&webstore.admin));
        let (ada, _) = log_in(&shop, "ada").await;
        let (phone, of_phone) = log_in(&shop, "ada").await;
        let headers = [("authorization", "Bearer a token that the operators have")];
        let one = format!("/sessions/ada/{of_phone}");
        assert_eq!(
            admin.send(Method::DELETE, &one, &headers, "").await.status,
            204
        );
        assert_eq!(status(&shop, CURRENT, &phone).await, 401);
        assert_eq!(status(&shop, CURRENT, &ada).await, 200);
        let all = admin
            .post("/sessions/ada/terminate-all", &headers, "")
            .await;
        assert_eq!(all.body, r#"{"terminated":1}"#);
        assert_eq!(status(&shop, CURRENT, &ada).await, 401);
    })
    .await;
}

/// Users see their sessions, and end any or all of them. That a login must be recent is `SessionsApi::reauth_within`, which
/// the shop does not set and the library's own tests hold.
#[tokio::test]
async fn v7_5_2_users_see_and_end_their_sessions() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (ada, _) = log_in(&shop, "ada").await;
        let (phone, of_phone) = log_in(&shop, "ada").await;
        let (tablet, _) = log_in(&shop, "ada").await;
        let bearer = format!("Bearer {ada}");
        let headers = [("authorization", &*bearer)];
        let seen = async || {
            let listed = shop.get(SESSIONS, &headers).await.json();
            listed.as_array().unwrap().len()
        };
        assert_eq!(seen().await, 3);
        end(&shop, &ada, &of_phone).await;
        assert_eq!(
            (seen().await, status(&shop, CURRENT, &phone).await),
            (2, 401)
        );
        let path = format!("{SESSIONS}/terminate-all");
        assert_eq!(shop.post(&path, &headers, "").await.status, 200);
        assert_eq!(
            (seen().await, status(&shop, CURRENT, &tablet).await),
            (1, 401)
        );
    })
    .await;
}

/// Users are told of a login that succeeds after several that failed.
#[tokio::test]
async fn v6_3_5_users_hear_of_suspicious_logins() {
    let config = format!("{WIDE}[sessions]\n[suspicion]\nsuccess_after_failures = 'on'\n");
    on_both_stores(&config, async |webstore, _| {
        let shop = webstore.client();
        let (watching, _) = log_in(&shop, "ada").await;
        let (mut own, _) = stream::open(webstore, &watching).await;
        let wrong = r#"{"user":"ada","password":"wrong"}"#;
        for _ in 0..5 {
            assert_eq!(shop.post("/login", &[], wrong).await.status, 401);
        }
        until("the failures are an incident", async || {
            let kind = [("type", "credential_stuffing")];
            let scrape = webstore.scrape().await;
            scrape.sum("webstore_security_suspicious_activity_total", &kind) == 1.0
        })
        .await;
        log_in(&shop, "ada").await;
        stream::read_until(&mut own, r#""type":"success_after_failures""#).await;
    })
    .await;
}

/// Each login is logged, whether it succeeds or fails, and each session that it makes is counted.
#[tokio::test]
async fn v16_3_1_logins_are_logged_whatever_comes_of_them() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{WIDE}{NO_SUSPICION}[log]\naccess = 1000\n[sessions]\n");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let shop = webstore.client();
    for _ in 0..3 {
        log_in(&shop, "ada").await;
    }
    for _ in 0..4 {
        let wrong = r#"{"user":"ada","password":"wrong"}"#;
        assert_eq!(shop.post("/login", &[], wrong).await.status, 401);
    }
    let logins = |lines: &[Value], status: u16| {
        let is_one = |line: &&Value| {
            line["event"] == "access" && line["route"] == "/login" && line["status"] == status
        };
        let lines = lines.iter().filter(is_one);
        lines
            .map(|line| line["represents"].as_u64().unwrap())
            .sum::<u64>()
    };
    webstore
        .log_until("each login", SOON, |lines| {
            logins(lines, 200) == 3 && logins(lines, 401) == 4
        })
        .await;
    let created = [("operation", "create"), ("outcome", "done")];
    let scrape = webstore.scrape().await;
    assert_eq!(
        scrape.sum("webstore_session_operations_total", &created),
        3.0
    );
}
