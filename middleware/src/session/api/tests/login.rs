use std::time::Duration;

use super::*;
use crate::model::Rejected;
use crate::session::OnMax;

fn login() -> Ask {
    ask("POST", "/profiles/me/login")
}

fn as_ada() -> Ask {
    login().with("x-user", "ada")
}

fn same(ask: Ask) -> Ask {
    ask.with("sec-fetch-site", "same-origin")
}

#[tokio::test]
async fn a_user_whom_the_service_verified_has_a_token_a_session_and_a_cookie() {
    let shop = Shop::new(SessionsConfig::default());
    let agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1";
    let body = r#"{"remember":true,"session_type":"mobile","device_id":"d1"}"#;
    let asked = same(as_ada()).with("user-agent", agent).json(body);
    let response = shop.answer(asked).await;
    assert_eq!(response.status(), 201);
    let answer = value(&response);
    assert_eq!(names(&answer), ["token", "session"].into());
    let session = &answer["session"];
    assert_eq!(session["session_type"], "mobile");
    assert_eq!(session["device_id"], "d1");
    assert_eq!(session["is_current"], true);
    assert_eq!(session["client_info"]["device"], "phone");
    assert_eq!(session["expires_at"], "1970-01-15T00:00:00.000Z");
    let token = answer["token"].as_str().unwrap();
    let cookie =
        format!("__Host-session={token}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=7776000");
    assert_eq!(cookies(&response), [cookie]);
    let current = ask("GET", &format!("{SESSIONS}/current"));
    let current = shop
        .value(current.with("cookie", format!("__Host-session={token}")))
        .await;
    assert_eq!(current["session_id"], session["session_id"]);
}

#[tokio::test]
async fn the_cookie_is_set_for_a_page_of_the_service_alone() {
    let shop = Shop::new(SessionsConfig::default());
    let host = || as_ada().with("host", "shop.example");
    for asked in [same(host()), host().with("origin", "https://shop.example")] {
        let response = shop.answer(asked).await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response).len()),
            (201, 1)
        );
    }
    let program = shop.answer(host()).await;
    assert_eq!(
        (program.status().as_u16(), cookies(&program).len()),
        (201, 0)
    );
    for headers in [
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "none")],
        vec![
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ],
        vec![("origin", "null")],
        vec![("origin", "https://evil.example")],
        vec![
            ("origin", "https://shop.example"),
            ("sec-fetch-site", "cross-site"),
        ],
    ] {
        let mut asked = host();
        for (name, value) in &headers {
            asked = asked.with(name, *value);
        }
        let response = shop.answer(asked).await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response).len()),
            (403, 0),
            "{headers:?}"
        );
    }
    // A form's type, from a browser that says nothing of where it comes from.
    assert_eq!(
        shop.status(host().with("content-type", "text/plain")).await,
        415
    );
    assert_eq!(
        shop.bench.sessions.list(&user("ada")).await.unwrap().len(),
        3
    );

    let bearer = Shop::new(SessionsConfig {
        cookie: false,
        ..SessionsConfig::default()
    });
    let response = bearer
        .answer(as_ada().with("origin", "https://app.example"))
        .await;
    assert_eq!(
        (response.status().as_u16(), cookies(&response).len()),
        (201, 0)
    );
}

#[tokio::test]
async fn nobody_logs_in_without_a_user_and_that_counts_as_a_failure() {
    let shop = Shop::new(SessionsConfig::default());
    let response = shop.answer(login()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert!(response.extensions().get::<Rejected>().is_none());
}

#[tokio::test]
async fn a_session_makes_no_other_unless_the_service_says_who_logs_in() {
    let shop = Shop::new(SessionsConfig::default());
    let ada = shop.log_in("ada").await;
    for asked in [
        login().bearer(&ada),
        as_ada().bearer(&ada),
        same(login()).cookie(&ada),
    ] {
        assert_eq!(shop.status(asked).await, 409);
    }
    assert_eq!(
        shop.bench.sessions.list(&user("ada")).await.unwrap().len(),
        1
    );
    let mut request = same(login()).cookie(&ada).request();
    let begun = shop.bench.sessions.begin(&user("bob")).await.unwrap();
    request.extensions_mut().insert(begun);
    request
        .extensions_mut()
        .insert(NewSession::new().tenant("acme").unwrap());
    let response = shop.answer_to(request).await;
    assert_eq!(response.status(), 201);
    assert_eq!(value(&response)["session"]["tenant_id"], "acme");
    assert_eq!(
        shop.bench.sessions.list(&user("bob")).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_repeat_with_the_same_key_has_the_same_answer_until_the_session_ends() {
    let shop = Shop::new(SessionsConfig::default());
    let keyed = |key: &str| same(as_ada()).with("idempotency-key", key);
    let first = shop.answer(keyed("k-1")).await;
    let second = shop.answer(keyed("k-1")).await;
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (201, 200)
    );
    assert_eq!(
        (first.body(), cookies(&first)),
        (second.body(), cookies(&second))
    );
    assert_eq!(shop.status(keyed("k-2")).await, 201);
    let bob = login().with("x-user", "bob").with("idempotency-key", "k-1");
    assert_eq!(shop.status(bob).await, 201);
    let token = value(&first)["token"].as_str().unwrap().to_owned();
    let logout =
        ask("POST", "/profiles/me/logout").with("authorization", format!("Bearer {token}"));
    assert_eq!(shop.status(logout).await, 200);
    assert_eq!(shop.status(keyed("k-1")).await, 409);
    for key in ["", "a b", &"x".repeat(256)] {
        let response = shop.answer(keyed(key)).await;
        assert_eq!(response.status(), 400);
        assert!(detail(&response).contains("`Idempotency-Key`"));
    }
    assert_eq!(
        shop.status(keyed("a").with("idempotency-key", "b")).await,
        400
    );
}

#[tokio::test]
async fn a_login_that_cannot_be_is_409_or_503() {
    let settings = SessionsConfig {
        max_per_user: 1,
        on_max: OnMax::Deny,
        ..SessionsConfig::default()
    };
    let shop = Shop::new(settings);
    shop.bench.clock.advance(Duration::from_secs(60));
    let begun = shop.bench.sessions.begin(&user("ada")).await.unwrap();
    let ada = shop.log_in("ada").await;
    let full = shop.answer(as_ada()).await;
    assert_eq!(full.status(), 409);
    assert!(detail(&full).contains("as many sessions as may live"));
    shop.bench
        .sessions
        .end_all(&ada.session.user, None)
        .await
        .unwrap();
    let mut request = login().request();
    request.extensions_mut().insert(begun);
    let overtaken = shop.answer_to(request).await;
    assert_eq!(overtaken.status(), 409);
    assert!(detail(&overtaken).contains("log in again"));
    let mut request = login().request();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    request
        .extensions_mut()
        .insert(shop.bench.sessions.begun_at(&user("ada"), long_ago));
    assert_eq!(
        shop.answer_to(request).await.status(),
        409,
        "an old token of a provider"
    );
    for (body, named) in [
        (
            r#"{"session_type":"tv"}"#,
            "`session_type` cannot be used: allowed is `web`, `mobile`, `api`",
        ),
        (r#"{"device_id":""}"#, "`device_id` cannot be used"),
        (r#"{"user":"bob"}"#, "unknown field `user`"),
    ] {
        let response = shop.answer(as_ada().json(body)).await;
        assert_eq!(response.status(), 400);
        assert!(detail(&response).contains(named), "{}", detail(&response));
    }
    shop.bench.fail();
    assert_eq!(shop.status(as_ada()).await, 503);
}
