use std::time::{Duration, SystemTime};

use super::*;
use crate::model::{Reason, Rejected};

#[tokio::test]
async fn a_list_has_the_callers_own_sessions_and_every_name_of_the_contract() {
    let shop = Shop::new(SessionsConfig::default());
    let begun = shop.bench.sessions.begin(&user("ada")).await.unwrap();
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
    let new = NewSession::new()
        .tenant("acme")
        .unwrap()
        .method("password")
        .unwrap();
    let new = new.user_agent(Some(&agent.parse().unwrap()));
    let ada = shop.bench.sessions.create(begun, new).await.unwrap();
    shop.bench.clock.advance(Duration::from_secs(1));
    let other = shop.log_in("ada").await;
    shop.log_in("bob").await;
    let list = shop.value(ask("GET", SESSIONS).bearer(&ada)).await;
    let ids: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["session_id"].clone())
        .collect();
    assert_eq!(
        ids,
        [other.session.id.to_string(), ada.session.id.to_string()]
    );
    let wanted = serde_json::json!({
        "session_id": ada.session.id.to_string(), "tenant_id": "acme", "device_id": null, "session_type": "web",
        "login_method": "password", "created_at": "1970-01-01T00:00:00.000Z",
        "last_activity": "1970-01-01T00:00:00.000Z", "expires_at": "1970-01-01T00:30:00.000Z", "is_active": true,
        "is_current": true, "user_agent": "Firefox on Linux",
        "client_info": {"browser": "Firefox", "os": "Linux", "device": "computer"},
    });
    assert_eq!(list[1], wanted);
    assert_eq!(list[0]["is_current"], false);
    assert_eq!(list[0]["user_agent"], Value::Null);
    let current = shop
        .value(ask("GET", &format!("{SESSIONS}/current")).bearer(&ada))
        .await;
    assert_eq!(current, wanted);
}

#[tokio::test]
async fn a_list_has_at_most_a_hundred() {
    let settings = SessionsConfig {
        max_per_user: 1_000,
        ..SessionsConfig::default()
    };
    let shop = Shop::new(settings);
    for _ in 0..120 {
        shop.log_in("ada").await;
    }
    let ada = shop.log_in("ada").await;
    let list = shop.value(ask("GET", SESSIONS).bearer(&ada)).await;
    assert_eq!(list.as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn asvs_7_5_2_a_user_ends_any_session_of_its_own_and_no_other() {
    let shop = Shop::new(SessionsConfig::default());
    let [ada, phone, bob] = [
        shop.log_in("ada").await,
        shop.log_in("ada").await,
        shop.log_in("bob").await,
    ];
    let end = |id: &str| ask("DELETE", &format!("{SESSIONS}/{id}"));
    let unknown = "9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c11";
    let mut details = HashSet::new();
    for id in [
        &bob.session.id.to_string(),
        unknown,
        "x",
        "9f3c1b0e",
        "..",
        "%2e",
        &"x".repeat(2_000),
    ] {
        let response = shop.answer(end(id).bearer(&ada)).await;
        assert_eq!(response.status(), 404, "{id}");
        details.insert(response.body().clone());
    }
    assert_eq!(details.len(), 1, "nothing tells one from another");
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&bob)).await, 200);

    let id = phone.session.id.to_string().to_uppercase();
    let response = shop.answer(end(&id).bearer(&ada)).await;
    assert_eq!(
        (response.status().as_u16(), response.body().len()),
        (204, 0)
    );
    assert!(cookies(&response).is_empty());
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&phone)).await, 401);
    assert_eq!(shop.status(end(&id).bearer(&ada)).await, 404);

    let own = shop
        .answer(end(&ada.session.id.to_string()).bearer(&ada))
        .await;
    assert_eq!(own.status(), 204);
    assert_eq!(cookies(&own), [CLEARED]);
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&ada)).await, 401);
}

#[tokio::test]
async fn all_end_but_the_requests_own_unless_it_is_to_end_too() {
    let shop = Shop::new(SessionsConfig::default());
    let all = ask("POST", &format!("{SESSIONS}/terminate-all"));
    let ada = shop.log_in("ada").await;
    for body in [
        "",
        "{}",
        r#"{"reason":"user_request"}"#,
        r#"{"keep_current":true,"reason":null}"#,
    ] {
        let other = shop.log_in("ada").await;
        let ended = match body {
            "" => all.clone(),
            body => all.clone().json(body),
        };
        let response = shop.answer(ended.bearer(&ada)).await;
        assert_eq!(response.body(), r#"{"terminated":1}"#);
        assert!(cookies(&response).is_empty());
        assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&other)).await, 401);
        assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&ada)).await, 200);
    }
    shop.log_in("ada").await;
    let response = shop
        .answer(all.json(r#"{"keep_current":false}"#).bearer(&ada))
        .await;
    assert_eq!(response.body(), r#"{"terminated":2}"#);
    assert_eq!(cookies(&response), [CLEARED]);
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&ada)).await, 401);
}

#[tokio::test]
async fn a_logout_ends_the_session_or_all_of_the_user() {
    let shop = Shop::new(SessionsConfig::default());
    let logout = ask("POST", "/profiles/me/logout");
    let [one, two, three] = [
        shop.log_in("ada").await,
        shop.log_in("ada").await,
        shop.log_in("ada").await,
    ];
    let response = shop.answer(logout.clone().bearer(&one)).await;
    assert_eq!(
        (response.status().as_u16(), &**response.body()),
        (200, &br#"{"ended":1}"#[..])
    );
    assert_eq!(cookies(&response), [CLEARED]);
    assert_eq!(shop.status(logout.clone().bearer(&one)).await, 401);
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&two)).await, 200);
    let response = shop
        .answer(logout.json(r#"{"scope":"all"}"#).bearer(&two))
        .await;
    assert_eq!(response.body(), r#"{"ended":2}"#);
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&three)).await, 401);
}

#[tokio::test]
async fn statistics_add_up_and_what_expired_is_removed_for_the_caller_alone() {
    let shop = Shop::new(SessionsConfig::default());
    shop.log_in("ada").await;
    let bob = shop.log_in("bob").await;
    shop.bench.clock.advance(Duration::from_secs(1_800));
    let ended = shop.log_in("ada").await;
    shop.bench
        .sessions
        .end(&user("ada"), ended.session.id)
        .await
        .unwrap();
    let ada = shop.log_in("ada").await;
    let statistics = ask("GET", &format!("{SESSIONS}/statistics"));
    let counts = shop.value(statistics.bearer(&ada)).await;
    let wanted = [
        "total_sessions",
        "active_sessions",
        "expired_sessions",
        "terminated_sessions",
        "recent_sessions_24h",
        "timestamp",
    ];
    assert_eq!(names(&counts), wanted.into());
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(
        wanted[..5].iter().map(|name| of(name)).collect::<Vec<_>>(),
        [3, 1, 1, 1, 3]
    );
    let cleaned = ask("POST", &format!("{SESSIONS}/cleanup-expired"));
    let response = shop.answer(cleaned.clone().bearer(&ada)).await;
    let removed = value(&response);
    assert_eq!(names(&removed), ["removed"].into());
    assert_eq!(shop.value(cleaned.bearer(&ada)).await["removed"], 0);
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&bob)).await, 401);
}

#[tokio::test]
async fn a_body_that_cannot_be_used_is_refused_by_name_and_changes_nothing() {
    let shop = Shop::new(SessionsConfig::default());
    let (ada, other) = (shop.log_in("ada").await, shop.log_in("ada").await);
    let all = || ask("POST", &format!("{SESSIONS}/terminate-all")).bearer(&ada);
    for (body, status, named) in [
        (
            r#"{"keep_curent":false}"#,
            400,
            "unknown field `keep_curent`",
        ),
        (r#"{"keep_current":"no"}"#, 400, "expected a boolean"),
        (
            r#"{"reason":""}"#,
            400,
            "`reason` cannot be used: allowed is 1 to 64 bytes",
        ),
        (r#"{"reason":"a\nb"}"#, 400, "without control characters"),
        (
            r#"{"reason":"a","reason":"b"}"#,
            400,
            "duplicate field `reason`",
        ),
        (r#"["a",false]"#, 400, "allowed is an object"),
        ("null", 400, "allowed is an object"),
        ("{", 400, "EOF"),
        ("{} {}", 400, "trailing characters"),
        (
            &format!("{{\"{}\":1}}", "x".repeat(3_000)),
            400,
            "unknown field",
        ),
        (
            &format!("{{}}{}", " ".repeat(4_096)),
            413,
            "larger than 4096 bytes",
        ),
    ] {
        let response = shop.answer(all().json(body)).await;
        assert_eq!(response.status(), status, "{body}");
        assert!(detail(&response).contains(named), "{}", detail(&response));
        assert!(response.body().len() < 500);
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ] {
        for body in ["", "{}"] {
            let mut asked = all().with("content-type", content_type);
            asked.body = body.to_owned();
            assert_eq!(shop.status(asked).await, 415, "{content_type}");
        }
    }
    let mut untyped = all();
    untyped.body = "{}".to_owned();
    assert_eq!(shop.status(untyped).await, 415);
    let long = all().with("content-length", "4097");
    assert_eq!(shop.status(long).await, 413);
    let scope = ask("POST", "/profiles/me/logout").json(r#"{"scope":"every"}"#);
    let response = shop.answer(scope.bearer(&ada)).await;
    assert!(detail(&response).contains("expected `current` or `all`"));
    let clean = ask("POST", &format!("{SESSIONS}/cleanup-expired")).json(r#"{"user":"bob"}"#);
    assert_eq!(shop.status(clean.bearer(&ada)).await, 400);
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&other)).await, 200);
}

#[tokio::test]
async fn without_a_session_that_lives_every_call_is_401() {
    let shop = Shop::new(SessionsConfig::default());
    let idle = shop.log_in("ada").await;
    shop.bench.clock.advance(Duration::from_secs(1_800));
    let (ended, lives) = (shop.log_in("ada").await, shop.log_in("ada").await);
    shop.bench
        .sessions
        .end(&user("ada"), ended.session.id)
        .await
        .unwrap();
    let same = |asked: Ask| asked.with("sec-fetch-site", "same-origin");
    for asked in calls(&lives.session.id.to_string()) {
        let path = asked.path.clone();
        let anonymous = shop.answer(asked.clone()).await;
        assert_eq!(anonymous.status(), 401, "{path}");
        assert_eq!(anonymous.headers()["www-authenticate"], "Bearer");
        let rejected = anonymous.extensions().get::<Rejected>().unwrap();
        assert_eq!(rejected.reason, Reason::SESSION_REQUIRED);
        // A user whom the service verified otherwise has no session.
        assert_eq!(shop.status(asked.clone().with("x-user", "ada")).await, 401);
        for dead in [&idle, &ended] {
            assert_eq!(shop.status(asked.clone().bearer(dead)).await, 401, "{path}");
            let response = shop.answer(same(asked.clone()).cookie(dead)).await;
            assert_eq!(
                (response.status().as_u16(), cookies(&response)),
                (401, vec![CLEARED.to_owned()])
            );
        }
        let both = same(asked.clone()).cookie(&lives).bearer(&lives);
        assert_eq!(shop.status(both).await, 401, "{path}");
        let two = same(asked.clone()).cookie(&lives).cookie(&lives);
        assert_eq!(shop.status(two).await, 401, "{path}");
        let forged = format!("Bearer {}x", lives.token.expose());
        assert_eq!(shop.status(asked.with("authorization", forged)).await, 401);
    }
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&lives)).await, 200);
}

#[tokio::test]
async fn another_site_does_nothing_with_the_cookie_and_a_page_of_the_service_does() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    let foreign = [
        vec![],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "none")],
        vec![("origin", "null")],
        vec![("origin", "https://evil.example")],
        vec![
            ("origin", "https://shop.example"),
            ("sec-fetch-site", "cross-site"),
        ],
    ];
    for asked in unsafe_calls(&ada.session.id.to_string()) {
        for headers in &foreign {
            let mut asked = asked.clone().cookie(&ada).with("host", "shop.example");
            for (name, value) in headers {
                asked = asked.with(name, *value);
            }
            assert_eq!(shop.status(asked).await, 403, "{headers:?}");
        }
    }
    let own = ask("GET", SESSIONS).cookie(&ada);
    assert_eq!(
        shop.status(own).await,
        200,
        "reading is for the same-origin policy to refuse"
    );
    let logout = ask("POST", "/profiles/me/logout").cookie(&ada);
    let logout = logout
        .with("host", "shop.example")
        .with("origin", "https://shop.example");
    assert_eq!(shop.status(logout).await, 200);
}

#[tokio::test]
async fn another_method_is_405_and_another_path_404() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    let mut all = calls(&ada.session.id.to_string());
    all.push(ask("POST", "/profiles/me/login"));
    for asked in all {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if asked.method == method {
                continue;
            }
            let other = Ask {
                method: method.parse().unwrap(),
                ..asked.clone()
            };
            let response = shop.answer(other.bearer(&ada)).await;
            assert_eq!(response.status(), 405, "{method} {}", asked.path);
            let allowed = if asked.method == "GET" {
                "GET, HEAD"
            } else {
                asked.method.as_str()
            };
            assert_eq!(response.headers()["allow"], allowed);
        }
    }
    assert_eq!(shop.status(ask("GET", "/x").bearer(&ada)).await, 404);
    for name in ["", "/current", "/statistics", "/events"] {
        let head = shop
            .answer(ask("HEAD", &format!("{SESSIONS}{name}")).bearer(&ada))
            .await;
        assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    }
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&ada)).await, 200);
}

#[tokio::test]
async fn while_the_store_fails_nothing_is_told_or_ended() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    // The process knows the session from here on.
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&ada)).await, 200);
    shop.bench.fail();
    for asked in calls(&ada.session.id.to_string()) {
        let path = asked.path.clone();
        let response = shop.answer(asked.bearer(&ada)).await;
        if path.ends_with("/current") {
            assert_eq!(response.status(), 200);
        } else {
            assert_eq!(response.status(), 503, "{path}");
            assert!(response.headers().contains_key("retry-after"));
            assert!(
                value(&response)["type"]
                    .as_str()
                    .unwrap()
                    .ends_with("#temporary-reduced-capacity")
            );
        }
    }
}

#[tokio::test]
async fn an_old_login_ends_its_own_session_and_no_others() {
    let mut shop = Shop::new(SessionsConfig::default());
    shop.api = shop.api.reauth_within(Duration::from_secs(300));
    let since_1970 = |age: u64| {
        let then = SystemTime::now() - Duration::from_secs(age);
        then.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_micros() as u64
    };
    shop.bench.clock.set(since_1970(600));
    let (old, other) = (shop.log_in("ada").await, shop.log_in("ada").await);
    shop.bench.clock.set(since_1970(0));
    let new = shop.log_in("ada").await;
    let end = |issued: &Issued| ask("DELETE", &format!("{SESSIONS}/{}", issued.session.id));
    let all = ask("POST", &format!("{SESSIONS}/terminate-all"));
    for asked in [all, end(&other), ask("DELETE", &format!("{SESSIONS}/x"))] {
        let response = shop.answer(asked.bearer(&old)).await;
        assert_eq!(response.status(), 401);
        assert_eq!(
            value(&response)["type"],
            "tag:palisade,2026:reauthentication-required"
        );
    }
    assert_eq!(shop.status(end(&other).bearer(&new)).await, 204);
    assert_eq!(shop.status(end(&old).bearer(&old)).await, 204);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_router_has_the_paths_and_leaves_their_templates() {
    use axum::extract::MatchedPath;
    use axum::middleware::{Next, from_fn};

    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    let template = async |path: MatchedPath, request: axum::extract::Request, next: Next| {
        let mut response = next.run(request).await;
        let path = path.as_str().parse().unwrap();
        response.headers_mut().insert("x-route", path);
        response
    };
    let router: axum::Router = shop.api.clone().at("/elsewhere").router();
    let router = router.route_layer(from_fn(template));
    let app = axum::Router::new()
        .nest("/shop", router)
        .layer(shop.bench.layer.clone());
    for asked in calls(&ada.session.id.to_string()) {
        let template = match asked.method == Method::DELETE {
            true => format!("{SESSIONS}/{{session_id}}"),
            false => asked.path.clone(),
        };
        let asked = Ask {
            path: format!("/shop{}", asked.path),
            ..asked
        };
        // Without a session, so that no call changes anything.
        let response = app
            .clone()
            .oneshot(asked.request().map(axum::body::Body::from))
            .await
            .unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["x-route"], format!("/shop{template}"));
    }
    // No route is another's call, or what is said of that one's route would not hold.
    let other = shop.log_in("ada").await;
    for (method, name, status) in [
        ("POST", "login", 404),
        ("POST", "logout", 404),
        ("DELETE", "login", 404),
        ("POST", "current", 405),
        ("DELETE", &*other.session.id.to_string(), 204),
    ] {
        let asked = ask(method, &format!("/shop{SESSIONS}/{name}")).bearer(&ada);
        let request = asked.request().map(axum::body::Body::from);
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method} {name}");
    }
    for nested in ["/devices", "/devices/current"] {
        let app = axum::Router::<()>::new().nest_service("/devices", shop.api.clone());
        let app = app.layer(shop.bench.layer.clone());
        let request = ask("GET", nested)
            .bearer(&ada)
            .request()
            .map(axum::body::Body::from);
        assert_eq!(
            app.oneshot(request).await.unwrap().status(),
            200,
            "{nested}"
        );
    }
}
