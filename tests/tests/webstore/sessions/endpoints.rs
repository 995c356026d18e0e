//! Each endpoint over real HTTP, on every store: what it answers, and whose sessions it touches.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use http::Method;
use palisade_tests::http::{Client, Reply};
use palisade_tests::time::until;
use palisade_tests::webstore::Webstore;
use serde_json::{Value, json};

use super::refused::is_problem;
use super::{CURRENT, NO_SUSPICION, SESSIONS, WIDE, end, log_in, on_both_stores, status};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
const STATISTICS: &str = "/api/v1/users/me/sessions/statistics";
const TERMINATE_ALL: &str = "/api/v1/users/me/sessions/terminate-all";
const CLEAN_UP: &str = "/api/v1/users/me/sessions/cleanup-expired";
const LOG_OUT: &str = "/profiles/me/logout";

fn config(more: &str) -> String {
    format!("{WIDE}{NO_SUSPICION}[sessions]\n{more}")
}

async fn call(shop: &Client, method: Method, path: &str, token: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", &*bearer)];
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    shop.send(method, path, &headers, body).await
}

/// The JSON of an answer that is one, and which nothing keeps.
async fn answer(shop: &Client, method: Method, path: &str, token: &str, body: &str) -> Value {
    let reply = call(shop, method, path, token, body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json()
}

#[track_caller]
fn is_rfc_3339(value: &Value) {
    let form = regex::Regex::new(r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$").unwrap();
    assert!(form.is_match(value.as_str().unwrap_or_default()), "{value}");
}

fn members(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// The session has every member of the contract, in its form.
#[track_caller]
fn is_view(view: &Value, id: &str, is_current: bool) {
    let all = [
        "session_id",
        "tenant_id",
        "device_id",
        "session_type",
        "login_method",
        "created_at",
        "last_activity",
        "expires_at",
        "is_active",
        "is_current",
        "user_agent",
        "client_info",
    ];
    assert_eq!(members(view), all.into());
    assert_eq!(view["session_id"], id);
    assert_eq!(view["is_active"], true);
    assert_eq!(view["is_current"], is_current);
    assert_eq!(view["session_type"], "web");
    assert_eq!(view["login_method"], "password");
    for absent in ["tenant_id", "device_id"] {
        assert_eq!(view[absent], Value::Null);
    }
    for time in ["created_at", "last_activity", "expires_at"] {
        is_rfc_3339(&view[time]);
    }
    let time = |name: &str| view[name].as_str().unwrap();
    assert!(time("created_at") <= time("last_activity"));
    assert!(time("last_activity") < time("expires_at"));
    assert_eq!(
        members(&view["client_info"]),
        ["browser", "device", "os"].into()
    );
}

#[tokio::test]
async fn a_user_sees_its_sessions_and_nobody_elses() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let body = r#"{"user":"ada","password":"palisade"}"#;
        let created = shop.post("/login", &[("user-agent", FIREFOX)], body).await;
        assert_eq!(created.header("cache-control"), "no-store");
        let created = created.json();
        assert_eq!(
            members(&created),
            ["expires_at", "session_id", "token"].into()
        );
        is_rfc_3339(&created["expires_at"]);
        let (laptop, of_laptop) = (
            created["token"].as_str().unwrap(),
            created["session_id"].as_str().unwrap(),
        );
        let (phone, of_phone) = log_in(&shop, "ada").await;
        let (_, of_bob) = log_in(&shop, "bob").await;

        let current = answer(&shop, Method::GET, CURRENT, laptop, "").await;
        is_view(&current, of_laptop, true);
        assert_eq!(current["client_info"]["browser"], "Firefox");
        assert_eq!(current["client_info"]["os"], "Linux");
        let agent = current["user_agent"].as_str().unwrap();
        assert!(agent.len() <= 64 && agent.contains("Firefox") && !agent.contains("Gecko"));
        assert_eq!(created["expires_at"], current["expires_at"]);
        let current = answer(&shop, Method::GET, CURRENT, &phone, "").await;
        is_view(&current, &of_phone, true);
        assert_eq!(current["user_agent"], Value::Null);
        let info = json!({"browser": null, "os": null, "device": null});
        assert_eq!(current["client_info"], info);

        let listed = answer(&shop, Method::GET, SESSIONS, laptop, "").await;
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), 2);
        // The newest activity comes first.
        is_view(&listed[0], &of_phone, false);
        is_view(&listed[1], of_laptop, true);
        assert!(listed.iter().all(|it| it["session_id"] != *of_bob));
    })
    .await;
}

#[tokio::test]
async fn a_user_ends_its_own_sessions_and_other_ids_are_all_unknown() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (ada, of_ada) = log_in(&shop, "ada").await;
        let (phone, of_phone) = log_in(&shop, "ada").await;
        let (bob, of_bob) = log_in(&shop, "bob").await;
        let mut told = BTreeSet::new();
        let cut = &of_ada[..35];
        for id in [
            &*of_bob,
            cut,
            &format!("{of_ada}0"),
            "x",
            "0",
            "me",
            "%00",
            "%2e%2e",
            "..%2fcurrent",
            "null",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-4fff-bfff-ffffffffffff",
            &"a".repeat(2_000),
        ] {
            let path = format!("{SESSIONS}/{id}");
            let reply = call(&shop, Method::DELETE, &path, &ada, "").await;
            is_problem(&reply, 404);
            told.insert(reply.body);
        }
        assert_eq!(told.len(), 1, "whether an id is another's shows: {told:?}");
        for token in [&ada, &phone, &bob] {
            assert_eq!(status(&shop, CURRENT, token).await, 200);
        }
        let path = format!("{SESSIONS}/{of_phone}");
        let ended = call(&shop, Method::DELETE, &path, &ada, "").await;
        assert_eq!((ended.status.as_u16(), &*ended.body), (204, ""));
        assert_eq!(ended.header("cache-control"), "no-store");
        assert_eq!(status(&shop, CURRENT, &phone).await, 401);
        is_problem(&call(&shop, Method::DELETE, &path, &ada, "").await, 404);
        assert_eq!(status(&shop, CURRENT, &ada).await, 200);
    })
    .await;
}

#[tokio::test]
async fn all_end_but_the_one_that_is_kept_and_a_logout_ends_one_or_all() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (bob, _) = log_in(&shop, "bob").await;
        let post = async |path: &str, token: &str, body: &str| {
            answer(&shop, Method::POST, path, token, body).await
        };
        for (path, body, others, wanted) in [
            (TERMINATE_ALL, "", 2, json!({"terminated": 2})),
            (
                TERMINATE_ALL,
                r#"{"reason":"lost a phone"}"#,
                1,
                json!({"terminated": 1}),
            ),
            (
                TERMINATE_ALL,
                r#"{"keep_current":true}"#,
                0,
                json!({"terminated": 0}),
            ),
            (
                TERMINATE_ALL,
                r#"{"reason":null,"keep_current":false}"#,
                2,
                json!({"terminated": 3}),
            ),
            (LOG_OUT, "", 0, json!({"ended": 1})),
            (LOG_OUT, r#"{"scope":"current"}"#, 1, json!({"ended": 1})),
            (LOG_OUT, r#"{"scope":"all"}"#, 2, json!({"ended": 4})),
        ] {
            let (ada, _) = log_in(&shop, "ada").await;
            let mut tokens = vec![];
            for _ in 0..others {
                tokens.push(log_in(&shop, "ada").await.0);
            }
            assert_eq!(post(path, &ada, body).await, wanted, "{path} {body}");
            let keeps = path == TERMINATE_ALL && !body.contains("false");
            assert_eq!(
                status(&shop, CURRENT, &ada).await,
                if keeps { 200 } else { 401 }
            );
            let others_live = body != r#"{"scope":"all"}"# && path == LOG_OUT;
            for other in &tokens {
                let wanted = if others_live { 200 } else { 401 };
                assert_eq!(status(&shop, CURRENT, other).await, wanted, "{path} {body}");
            }
            if keeps {
                post(LOG_OUT, &ada, "").await;
            }
        }
        assert_eq!(status(&shop, CURRENT, &bob).await, 200);
        // The shop verifies nobody but at its own login.
        is_problem(&shop.post("/profiles/me/login", &[], "").await, 401);
        is_problem(
            &call(&shop, Method::POST, "/profiles/me/login", &bob, "").await,
            409,
        );
    })
    .await;
}

#[tokio::test]
async fn statistics_add_up_after_a_mix() {
    on_both_stores(
        &config("idle = '2s'\ntouch_every = '1s'"),
        async |webstore, _| {
            let shop = webstore.client();
            let mut expiring = vec![];
            for _ in 0..3 {
                expiring.push(log_in(&shop, "ada").await.0);
            }
            until("they have expired", async || {
                tokio::time::sleep(Duration::from_millis(2_200)).await;
                let mut live = 0;
                for token in &expiring {
                    live += u32::from(status(&shop, CURRENT, token).await == 200);
                }
                live == 0
            })
            .await;
            let (_, of_ended) = log_in(&shop, "ada").await;
            let (ada, _) = log_in(&shop, "ada").await;
            end(&shop, &ada, &of_ended).await;
            let before = answer(&shop, Method::GET, STATISTICS, &ada, "").await;
            let removed = answer(&shop, Method::POST, CLEAN_UP, &ada, "").await;
            assert_eq!(members(&removed), ["removed"].into());
            assert!(removed["removed"].as_u64().unwrap() <= 3, "{removed}");
            let after = answer(&shop, Method::GET, STATISTICS, &ada, "{}").await;
            for it in [&before, &after] {
                let all = [
                    "total_sessions",
                    "active_sessions",
                    "expired_sessions",
                    "terminated_sessions",
                    "recent_sessions_24h",
                    "timestamp",
                ];
                assert_eq!(members(it), all.into());
                is_rfc_3339(&it["timestamp"]);
                let number = |name: &str| it[name].as_u64().unwrap();
                let [active, expired, ended] =
                    ["active_sessions", "expired_sessions", "terminated_sessions"].map(number);
                assert_eq!((active, expired, ended), (1, 3, 1), "{it}");
                assert_eq!(number("total_sessions"), active + expired + ended);
                assert_eq!(number("recent_sessions_24h"), 5);
            }
        },
    )
    .await;
}

const OPERATOR: &str = "the operators' token, which is long";

#[tokio::test]
async fn operators_need_their_token_and_are_not_there_without_one() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{OPERATOR}").unwrap();
    let config_with = config(&format!(
        "operator_token_file = '{}'",
        file.path().display()
    ));
    on_both_stores(&config_with, async |webstore, _| {
        let (shop, admin) = (webstore.client(), Client::new(&webstore.admin));
        let (ada, of_ada) = log_in(&shop, "ada").await;
        let (phone, _) = log_in(&shop, "ada").await;
        let (bob, of_bob) = log_in(&shop, "bob").await;
        let one = format!("/sessions/ada/{of_ada}");
        let calls = [
            (Method::GET, "/sessions?user=ada"),
            (Method::DELETE, &*one),
            (Method::POST, "/sessions/ada/terminate-all"),
        ];
        let upper = OPERATOR.to_uppercase();
        let cut = &OPERATOR[..OPERATOR.len() - 1];
        for token in ["", "x", &upper, cut, &ada] {
            for (method, path) in calls.clone() {
                let reply = call(&admin, method, path, token, "").await;
                is_problem(&reply, 401);
                assert_eq!(reply.header("www-authenticate"), "Bearer");
            }
        }
        for (method, path) in calls.clone() {
            is_problem(&admin.send(method.clone(), path, &[], "").await, 401);
            // Users find no such calls.
            assert_ne!(call(&shop, method, path, OPERATOR, "").await.status, 200);
        }
        for token in [&ada, &phone, &bob] {
            assert_eq!(status(&shop, CURRENT, token).await, 200);
        }
        let listed = answer(&admin, Method::GET, "/sessions?user=ada", OPERATOR, "").await;
        assert_eq!(listed.as_array().unwrap().len(), 2);
        is_view(&listed[1], &of_ada, false);
        for (method, path, wanted) in [
            (Method::DELETE, &*format!("/sessions/ada/{of_bob}"), 404),
            (Method::DELETE, "/sessions/ada/x", 404),
            (Method::GET, "/sessions", 400),
            (Method::GET, "/sessions?user=", 400),
            (Method::GET, "/sessions?user=ada&user=bob", 400),
            (Method::PUT, "/sessions?user=ada", 405),
            (Method::GET, &one, 405),
            (Method::GET, "/sessions/ada/terminate-all", 405),
            (Method::GET, "/sessions/ada", 404),
        ] {
            is_problem(&call(&admin, method, path, OPERATOR, "").await, wanted);
        }
        let ended = call(&admin, Method::DELETE, &one, OPERATOR, "").await;
        assert_eq!(ended.status, 204);
        assert_eq!(status(&shop, CURRENT, &ada).await, 401);
        let body = r#"{"reason":"stolen"}"#;
        let all = calls[2].1;
        let ended = answer(&admin, Method::POST, all, OPERATOR, body).await;
        assert_eq!(ended, json!({"terminated": 1}));
        assert_eq!(status(&shop, CURRENT, &phone).await, 401);
        assert_eq!(status(&shop, CURRENT, &bob).await, 200);
    })
    .await;
    let without = Webstore::start(None, &config(""));
    let admin = Client::new(&without.admin);
    let (_, id) = log_in(&without.client(), "ada").await;
    let one = format!("/sessions/ada/{id}");
    for (method, path) in [
        (Method::GET, "/sessions?user=ada"),
        (Method::DELETE, &*one),
        (Method::POST, "/sessions/ada/terminate-all"),
    ] {
        for token in ["", OPERATOR] {
            let reply = call(&admin, method.clone(), path, token, "").await;
            assert_eq!(reply.status, 404, "{path}");
        }
    }
}
