//! The webstore's account page: two browsers of one user, and one ends the other's session.

use palisade_tests::browser::Browser;
use palisade_tests::webstore::{PATIENT, Webstore};
use serde_json::{Value, json};

use super::contrast::assert_texts_readable;
use super::{SOON, picture};

const SESSIONS: &str = "[sessions]\ninsecure_cookie = true\n";
const LOGIN: &str = r#"{"user": "ada", "password": "palisade"}"#;
const MINE: &str = "/api/v1/users/me/sessions";
/// As [WebDriver writes them](https://www.w3.org/TR/webdriver2/#keyboard-actions).
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

fn shop() -> Webstore {
    Webstore::start(None, &format!("{PATIENT}{SESSIONS}"))
}

/// The page, where nobody is signed in.
async fn open(webstore: &Webstore) -> Browser {
    let browser = Browser::start().await;
    browser
        .open(&format!("http://{}/account", webstore.shop))
        .await;
    let asks = "return document.activeElement.id === 'user'";
    browser.until("the page asks for a name", SOON, asks).await;
    browser
}

async fn write(browser: &Browser, text: &str) {
    for key in text.chars() {
        browser.press(key).await;
    }
}

/// Signs in as `ada`, without a mouse.
async fn sign_in(browser: &Browser) {
    write(browser, "ada").await;
    browser.press(TAB).await;
    write(browser, "palisade").await;
    browser.press(ENTER).await;
    let is_live = "return document.getElementById('connection-text').textContent === 'Live'
        && document.querySelectorAll('#list tr').length > 0";
    browser.until("the page is live", SOON, is_live).await;
}

async fn lists(browser: &Browser, sessions: usize) {
    let listed = format!("return document.querySelectorAll('#list tr').length === {sessions}");
    let wanted = format!("{sessions} sessions");
    browser.until(&wanted, SOON, &listed).await;
}

async fn text(browser: &Browser, selector: &str) -> Value {
    let text = format!("return document.querySelector({selector:?}).textContent");
    browser.run(&text).await
}

/// What the console said, but for the answer to whether somebody is signed in.
async fn complaints(browser: &Browser) -> Vec<String> {
    let said = browser.console().await.into_iter();
    said.filter(|line| !(line.contains("/current") && line.contains("401")))
        .collect()
}

#[tokio::test]
async fn two_browsers_see_each_other_and_one_ends_the_others_session() {
    let webstore = shop();
    let a = open(&webstore).await;
    write(&a, "ada").await;
    a.press(TAB).await;
    write(&a, "wrong").await;
    a.press(ENTER).await;
    let refused = "return document.getElementById('told').textContent === 'The password is wrong.'";
    a.until("a wrong password is told", SOON, refused).await;
    a.run("document.getElementById('user').value = ''; document.getElementById('user').focus()")
        .await;
    sign_in(&a).await;
    lists(&a, 1).await;
    assert_eq!(text(&a, "#list .name").await, json!("Chrome on Linux"));
    assert_eq!(text(&a, "#who").await, json!("1 session of ada"));
    // What a reload would lose.
    a.run("window.same = true").await;

    // A program's session comes and goes in the list of the browser.
    let client = webstore.client();
    let phone = client.post("/login", &[], LOGIN).await.json();
    lists(&a, 2).await;
    let bearer = format!("Bearer {}", phone["token"].as_str().unwrap());
    let out = [("authorization", bearer.as_str())];
    let left = client.post("/profiles/me/logout", &out, "").await;
    assert_eq!(left.status, 200);
    lists(&a, 1).await;

    let b = open(&webstore).await;
    sign_in(&b).await;
    lists(&a, 2).await;
    lists(&b, 2).await;
    for browser in [&a, &b] {
        let own = "return [...document.querySelectorAll('#list tr')].map((it) => !it.querySelector('.tag').hidden)";
        assert_eq!(
            browser.run(own).await,
            json!([true, false]),
            "its own first"
        );
    }
    for theme in ["light", "dark"] {
        a.prefer(&[("prefers-color-scheme", theme)]).await;
        for width in [400, 1_600] {
            a.resize(width, 900).await;
            let fits = a
                .run("return document.documentElement.scrollWidth <= innerWidth")
                .await;
            assert_eq!(fits, json!(true), "at {width} pixels");
            assert_texts_readable(&a, 15).await;
            a.save_picture(&picture(&format!("account-{theme}-{width}")))
                .await;
        }
    }

    // By keyboard: the button of the other session is reached, and pressed.
    a.run("document.getElementById('main').focus()").await;
    let mut stops = Vec::new();
    while stops.last() != Some(&json!("End the session of Chrome on Linux")) {
        assert!(stops.len() < 20, "no button among {stops:?}");
        a.press(TAB).await;
        stops.push(
            a.run("return document.activeElement.getAttribute('aria-label')")
                .await,
        );
    }
    a.press(ENTER).await;
    lists(&a, 1).await;
    let signed_out = "return !document.getElementById('sign-in').hidden
        && document.getElementById('mine').hidden
        && document.getElementById('told').textContent.startsWith('You were signed out')";
    b.until("the other browser is signed out", SOON, signed_out)
        .await;
    assert_eq!(a.run("return window.same").await, json!(true));
    let current = format!("return fetch('{MINE}/current').then((it) => it.status)");
    assert_eq!(a.run(&current).await, json!(200));
    assert_eq!(b.run(&current).await, json!(401));
    assert_texts_readable(&b, 5).await;
    b.save_picture(&picture("account-signed-out")).await;
    assert_eq!(complaints(&a).await.len(), 1, "the wrong password");
    assert_eq!(complaints(&b).await, Vec::<String>::new());
}

#[tokio::test]
async fn all_others_end_at_once_and_one_signs_out_of_everything() {
    let webstore = shop();
    let client = webstore.client();
    for _ in 0..3 {
        client.post("/login", &[], LOGIN).await;
    }
    let browser = open(&webstore).await;
    sign_in(&browser).await;
    lists(&browser, 4).await;
    browser
        .run("document.getElementById('end-others').click()")
        .await;
    lists(&browser, 1).await;
    assert_eq!(
        text(&browser, "#told").await,
        json!("3 other sessions ended.")
    );
    // A page that is opened again knows whose it is.
    browser
        .open(&format!("http://{}/account", webstore.shop))
        .await;
    lists(&browser, 1).await;
    assert_eq!(text(&browser, "#who").await, json!("1 session of ada"));
    browser
        .run("document.getElementById('sign-out-all').click()")
        .await;
    let out = "return document.getElementById('told').textContent === 'You have signed out everywhere: 1 session.'";
    browser.until("it has signed out", SOON, out).await;
    assert_eq!(complaints(&browser).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_stream_tells_is_shown_as_text() {
    let webstore = shop();
    let browser = Browser::start().await;
    browser.run_first(include_str!("told.js")).await;
    let page = format!("http://{}/account", webstore.shop);
    browser.open(&page).await;
    let asks = "return document.activeElement.id === 'user'";
    browser.until("the page asks for a name", SOON, asks).await;
    write(&browser, "ada").await;
    browser.press(TAB).await;
    write(&browser, "palisade").await;
    browser.press(ENTER).await;
    let asked = "return window.streams.length > 0";
    browser.until("the stream is opened", SOON, asked).await;
    let tell = "
        const image = '<img src=x onerror=alert(1)>';
        tell('created', { session_id: '9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c11', user_agent: image, session_type: image,
          login_method: image, device_id: image, client_info: null, created_at: '2026-11-26T10:00:00.000Z',
          last_activity: '2026-11-26T10:00:00.000Z' });
        tell('alert', { type: 'user_agent_changed', time: '2026-11-26T10:00:01.000Z',
          session_id: '9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c11' });
        tell('alert', { type: image });
        return [...document.querySelectorAll('#alerts-list .tag')].map((it) => it.textContent)";
    let shown = browser.run(tell).await;
    assert_eq!(
        shown,
        json!(["<img src=x onerror=alert(1)>", "user agent changed"])
    );
    assert_eq!(browser.run("return document.images.length").await, json!(0));
    let detail = text(&browser, "#alerts-list li:last-child .event-detail").await;
    assert_eq!(
        detail,
        json!("Of the session of <img src=x onerror=alert(1)>")
    );
    assert_eq!(complaints(&browser).await, Vec::<String>::new());
}
