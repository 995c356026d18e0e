//! The page shows the sessions that live, what is done to them, and what is tried with tokens.

use http::Method;
use palisade_tests::browser::Browser;
use palisade_tests::webstore::Webstore;
use serde_json::json;

use super::contrast::assert_readable;
use super::{SOON, config, live, picture};

/// Waits until the panel's rows say so, each as `name=total`.
async fn until_rows(browser: &Browser, rows: &[&str]) {
    let said = format!(
        "const found = [...document.querySelectorAll('#sessions tbody tr')]
            .map((row) => `${{row.querySelector('.name').textContent}}=${{row.querySelector('.total').textContent}}`);
         return {}.every((row) => found.includes(row))",
        json!(rows)
    );
    browser.until(&rows.join(", "), SOON, &said).await;
}

#[tokio::test]
async fn logins_ends_and_forged_tokens_are_counted_and_what_lives_is_said() {
    let webstore = Webstore::start(None, &(config() + "[sessions]\n"));
    let browser = live(&webstore).await;
    until_rows(&browser, &["Created=0", "Ended=0", "Forged tokens=0"]).await;
    let said = "return document.getElementById('sessions-foot').textContent";
    assert_eq!(browser.run(said).await, "No security event since start.");

    let shop = webstore.client();
    let mut tokens = Vec::new();
    for user in ["ada", "ada", "bob"] {
        let body = format!(r#"{{"user":"{user}","password":"palisade"}}"#);
        let reply = shop.post("/login", &[], &body).await;
        assert_eq!(reply.status, 200);
        let answer = reply.json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        tokens.push((format!("Bearer {}", text("token")), text("session_id")));
    }
    let (bearer, id) = &tokens[0];
    let own = [("authorization", bearer.as_str())];
    let path = format!("/api/v1/users/me/sessions/{id}");
    assert_eq!(shop.send(Method::DELETE, &path, &own, "").await.status, 204);
    assert_eq!(shop.get("/us/products", &own).await.status, 401);
    // Another service made it, or nobody.
    let forged = [(
        "authorization",
        "Bearer pls_YWRh.AAAAAAAAAAAAAAAAAAAAAA.AAAA",
    )];
    assert_eq!(shop.get("/us/products", &forged).await.status, 401);
    until_rows(
        &browser,
        &[
            "Created=3",
            "Ended=1",
            "Ended or expired tokens=1",
            "Forged tokens=1",
        ],
    )
    .await;
    let live = "return document.getElementById('sessions-sub').textContent === '2 sessions live'";
    browser.until("the count has come", SOON, live).await;
    // No limit refused them.
    let limited = "return document.querySelectorAll('#limited-list tr').length";
    assert_eq!(browser.run(limited).await, json!(0));
    assert_readable(&browser).await;
    for width in [400, 1600] {
        browser.resize(width, 1200).await;
        let fits = "return document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.run(fits).await, json!(true), "at {width} px");
        browser
            .save_picture(&picture(&format!("sessions-{width}")))
            .await;
    }
}

#[tokio::test]
async fn without_sessions_the_page_has_no_panel_of_them() {
    let webstore = Webstore::start(None, &config());
    let browser = live(&webstore).await;
    let none = "return document.getElementById('sessions') === null";
    assert_eq!(browser.run(none).await, json!(true));
}
