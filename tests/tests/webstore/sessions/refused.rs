//! What opens no session, comes from another site or cannot be read: refused by every endpoint on every store, as a problem
//! that no cache keeps, and without an effect.

use http::Method;
use palisade_tests::http::{Client, Reply};
use palisade_tests::time::until;
use palisade_tests::webstore::Webstore;

use super::{CURRENT, NO_SUSPICION, SESSIONS, WIDE, end, forged, log_in, on_both_stores, status};

/// Every call that needs a session; `{id}` is that of one that lives.
const CALLS: [(&str, &str); 8] = [
    ("GET", SESSIONS),
    ("GET", CURRENT),
    ("GET", "/api/v1/users/me/sessions/statistics"),
    ("GET", "/api/v1/users/me/sessions/events"),
    ("DELETE", "/api/v1/users/me/sessions/{id}"),
    ("POST", "/api/v1/users/me/sessions/terminate-all"),
    ("POST", "/api/v1/users/me/sessions/cleanup-expired"),
    ("POST", "/profiles/me/logout"),
];
const TERMINATE_ALL: &str = "/api/v1/users/me/sessions/terminate-all";

/// A problem that says its status, and that nothing keeps.
#[track_caller]
pub(super) fn is_problem(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.header("cache-control"), "no-store");
    let problem = reply.json();
    assert_eq!(problem["status"], status);
    for member in ["title", "detail"] {
        assert!(problem[member].is_string(), "{problem}");
    }
}

async fn call(
    shop: &Client,
    (method, path): (&str, &str),
    id: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = path.replace("{id}", id);
    shop.send(method, &path, headers, "").await
}

fn config(more: &str) -> String {
    format!("{WIDE}{NO_SUSPICION}[sessions]\n{more}")
}

#[tokio::test]
async fn what_opens_no_session_makes_no_call() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (living, id) = log_in(&shop, "ada").await;
        let (other, _) = log_in(&shop, "ada").await;
        let (ended, of_ended) = log_in(&shop, "ada").await;
        end(&shop, &ended, &of_ended).await;
        let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
        let cookie = |token: &str| ("cookie", format!("__Host-session={token}"));
        let two = format!("__Host-session={living}; __Host-session={other}");
        let cases = [
            ("nothing", vec![], false),
            ("an ended bearer", vec![bearer(&ended)], true),
            ("a forged bearer", vec![bearer(&forged(&living))], true),
            ("two bearers", vec![bearer(&living), bearer(&other)], true),
            ("an ended cookie", vec![cookie(&ended)], false),
            ("a forged cookie", vec![cookie(&forged(&living))], false),
            ("two cookies", vec![("cookie", two)], false),
            (
                "two headers of cookies",
                vec![cookie(&living), cookie(&other)],
                false,
            ),
            (
                "the same cookie twice",
                vec![cookie(&living), cookie(&living)],
                false,
            ),
            (
                "a cookie and a bearer",
                vec![cookie(&living), bearer(&living)],
                true,
            ),
            (
                "another's credentials",
                vec![("authorization", "Basic YTpi".to_owned())],
                false,
            ),
            ("a demo token", vec![bearer("user-token-ada")], false),
        ];
        for (what, headers, is_invalid) in cases {
            let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            headers.push(("sec-fetch-site", "same-origin"));
            for it in CALLS {
                let reply = call(&shop, it, &id, &headers).await;
                is_problem(&reply, 401);
                let challenge = reply.header("www-authenticate");
                if is_invalid {
                    assert_eq!(challenge, r#"Bearer error="invalid_token""#, "{what}");
                } else {
                    assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
                }
                let clears = reply.header("set-cookie").contains("Max-Age=0");
                assert_eq!(
                    clears,
                    what.contains("cookie") && !is_invalid,
                    "{what}: {it:?}"
                );
            }
        }
        for token in [&living, &other] {
            assert_eq!(status(&shop, CURRENT, token).await, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_session_makes_no_call() {
    on_both_stores(
        &config("idle = '2s'\ntouch_every = '1s'"),
        async |webstore, _| {
            let shop = webstore.client();
            let (token, id) = log_in(&shop, "ada").await;
            until("it has expired", async || {
                // Asking is an activity: less often than it would expire.
                tokio::time::sleep(std::time::Duration::from_millis(2_200)).await;
                status(&shop, CURRENT, &token).await == 401
            })
            .await;
            let bearer = format!("Bearer {token}");
            for it in CALLS {
                is_problem(
                    &call(&shop, it, &id, &[("authorization", &bearer)]).await,
                    401,
                );
            }
            let (living, _) = log_in(&shop, "ada").await;
            let bearer = format!("Bearer {living}");
            let of_expired = call(&shop, CALLS[4], &id, &[("authorization", &bearer)]).await;
            is_problem(&of_expired, 404);
        },
    )
    .await;
}

/// How a browser tells of the page that sends a request; whether the page is the shop's own.
fn sites(webstore: &Webstore) -> Vec<(Vec<(&'static str, String)>, bool)> {
    let site = |it: &str| ("sec-fetch-site", it.to_owned());
    let origin = |it: &str| ("origin", it.to_owned());
    let own = format!("http://{}", webstore.shop);
    vec![
        (vec![], false),
        (vec![site("cross-site")], false),
        (vec![site("same-site")], false),
        (vec![site("none")], false),
        (vec![origin("null")], false),
        (vec![origin("https://evil.example")], false),
        (vec![origin("http://127.0.0.1:1")], false),
        (vec![origin("http://127.0.0.1")], false),
        (vec![origin(&format!("{own}.evil.example"))], false),
        (vec![site("cross-site"), origin(&own)], false),
        (vec![site("same-site"), origin(&own)], false),
        (vec![site("same-origin"), site("cross-site")], false),
        (vec![origin(&own), origin("https://evil.example")], false),
        (vec![site("same-origin")], true),
        (vec![origin(&own)], true),
        (vec![site("same-origin"), origin(&own)], true),
    ]
}

#[tokio::test]
async fn another_sites_page_changes_nothing_by_the_cookie_in_any_of_its_forms() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (token, id) = log_in(&shop, "ada").await;
        let (other, _) = log_in(&shop, "ada").await;
        let cookie = format!("__Host-session={token}");
        for (said, is_own) in sites(webstore) {
            let mut headers: Vec<_> = said.iter().map(|(n, v)| (*n, v.as_str())).collect();
            headers.push(("cookie", &cookie));
            for it in CALLS {
                let changes = it.0 != "GET";
                if changes && !is_own {
                    let reply = call(&shop, it, &id, &headers).await;
                    is_problem(&reply, 403);
                    assert_eq!(reply.header("set-cookie"), "", "{said:?}: {it:?}");
                } else if !changes && !it.1.ends_with("events") {
                    assert_eq!(call(&shop, it, &id, &headers).await.status, 200);
                }
            }
            if is_own {
                let clean = call(&shop, CALLS[6], &id, &headers).await;
                assert_eq!(clean.status, 200, "{said:?}");
            } else {
                // An upgrade acts too.
                let headers = [&headers[..], &[("upgrade", "websocket")]].concat();
                is_problem(&shop.get(CURRENT, &headers).await, 403);
            }
            // A program's bearer is sent by no browser of itself.
            let bearer = format!("Bearer {other}");
            let headers = [
                &headers[..headers.len() - 1],
                &[("authorization", &*bearer)],
            ]
            .concat();
            assert_eq!(
                call(&shop, CALLS[6], &id, &headers).await.status,
                200,
                "{said:?}"
            );
        }
        for token in [&token, &other] {
            assert_eq!(status(&shop, CURRENT, token).await, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn another_sites_page_logs_nobody_in() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let body = r#"{"user":"ada","password":"palisade"}"#;
        for (said, is_own) in sites(webstore) {
            let headers: Vec<_> = said.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let reply = shop.post("/login", &headers, body).await;
            assert_eq!(reply.header("cache-control"), "no-store");
            if is_own {
                assert_eq!(reply.status, 200, "{said:?}");
                assert!(
                    reply
                        .header("set-cookie")
                        .starts_with("__Host-session=pls_")
                );
            } else if said.is_empty() {
                // A program: it gets a token, and no cookie.
                assert_eq!(reply.status, 200);
                assert_eq!(reply.header("set-cookie"), "");
            } else {
                is_problem(&reply, 403);
                assert_eq!(reply.header("set-cookie"), "", "{said:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn no_path_takes_another_method() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (token, id) = log_in(&shop, "ada").await;
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer)];
        for (taken, path) in CALLS.into_iter().chain([("POST", "/profiles/me/login")]) {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                if method == taken {
                    continue;
                }
                let reply = call(&shop, (method, path), &id, &headers).await;
                is_problem(&reply, 405);
                let allowed = reply.header("allow");
                assert!(
                    allowed.split([',', ' ']).any(|it| it == taken),
                    "{path}: {allowed}"
                );
            }
        }
        assert_eq!(status(&shop, CURRENT, &token).await, 200);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_changes_nothing() {
    on_both_stores(&config(""), async |webstore, _| {
        let shop = webstore.client();
        let (token, _) = log_in(&shop, "ada").await;
        let (other, _) = log_in(&shop, "ada").await;
        let bearer = format!("Bearer {token}");
        let json = Some("application/json");
        let huge = format!(r#"{{"reason":"{}"}}"#, "x".repeat(5_000));
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(65));
        for path in [
            TERMINATE_ALL,
            "/api/v1/users/me/sessions/cleanup-expired",
            "/profiles/me/logout",
        ] {
            for (kind, body, wanted) in [
                (Some("text/plain"), "{}", 415),
                (Some("application/x-www-form-urlencoded"), "scope=all", 415),
                (Some("application/jsonx"), "{}", 415),
                (None, "{}", 415),
                (json, &*huge, 413),
                (json, &*long, 400),
                (json, "{", 400),
                (json, "[]", 400),
                (json, "null", 400),
                (json, r#""all""#, 400),
                (json, r#"{"unheard_of":1}"#, 400),
                (json, r#"{"reason":1}"#, 400),
                (json, r#"{"keep_current":"no"}"#, 400),
                (json, r#"{"scope":"others"}"#, 400),
            ] {
                let mut headers = vec![("authorization", &*bearer)];
                headers.extend(kind.map(|kind| ("content-type", kind)));
                let reply = shop.send(Method::POST, path, &headers, body).await;
                is_problem(&reply, wanted);
            }
        }
        for token in [&token, &other] {
            assert_eq!(status(&shop, CURRENT, token).await, 200);
        }
    })
    .await;
}
