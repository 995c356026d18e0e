//! A ban is lifted from the page, without a mouse.

use palisade_tests::browser::Browser;
use palisade_tests::webstore::Webstore;
use serde_json::json;

use super::contrast::assert_readable;
use super::{SOON, config, get, live, picture, scan};

const SCANNER: &str = "203.0.113.7";
/// As [WebDriver writes them](https://www.w3.org/TR/webdriver2/#keyboard-actions).
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';

/// The label of what has the focus, which must be seen to have it.
async fn focused(browser: &Browser) -> String {
    let focused = "
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return {
          label: element.getAttribute('aria-label') ?? element.innerText,
          seen: element.matches(':focus-visible') && outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
        }";
    let focused = browser.run(focused).await;
    assert_eq!(focused["seen"], json!(true), "{focused}");
    focused["label"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_scanner_is_suspicious_and_banned_and_lifted_by_keyboard_alone() {
    let webstore = Webstore::start(None, &config());
    let browser = live(&webstore).await;
    let client = webstore.client();
    scan(&client, SCANNER).await;

    let suspicious = "
        const row = document.querySelector('#suspicious-list tr');
        return row && row.innerText.includes('banned') && row.querySelector('.name').textContent";
    let suspicious = browser
        .until("the scanner is listed", SOON, suspicious)
        .await;
    assert_eq!(suspicious, json!(SCANNER));
    let banned = "
        const row = document.querySelector('#bans-list tr');
        return row && [...row.children].slice(0, 3).map((it) => it.innerText)";
    assert_eq!(
        browser.until("the ban is listed", SOON, banned).await,
        json!([SCANNER, "endpoint scanning", "1"])
    );
    let left = "return document.querySelector('#bans-list .left').textContent";
    let left = browser.run(left).await;
    assert!(
        ["9 min", "10 min", "11 min"]
            .iter()
            .any(|it| left.as_str().unwrap().starts_with(it)),
        "{left}"
    );
    let events = "
        const all = [...document.querySelectorAll('#events-list .tag')].map((it) => it.textContent);
        return all.length === 2 && all";
    assert_eq!(
        browser.until("both events are listed", SOON, events).await,
        json!(["banned", "endpoint scanning"])
    );
    let said = "return document.getElementById('announce').textContent.includes('203.0.113.7')";
    browser.until("the event is announced", SOON, said).await;
    let before = get(&client, SCANNER, "/us/products").await;
    assert_eq!(before.status, 429);

    let lift = format!("Lift the ban of {SCANNER}");
    let mut stops = Vec::new();
    while stops.last() != Some(&lift) {
        assert!(stops.len() < 40, "no button among {stops:?}");
        browser.press(TAB).await;
        stops.push(focused(&browser).await);
    }
    assert_eq!(stops[0], "Skip to what happens now");

    browser.press(ENTER).await;
    let sure = format!("Lift it: let {SCANNER} in");
    assert_eq!(focused(&browser).await, sure);
    assert_readable(&browser).await;
    browser.save_picture(&picture("lifting-light-1600")).await;
    browser.press(ESCAPE).await;
    assert_eq!(focused(&browser).await, lift);

    browser.press(ENTER).await;
    assert_eq!(focused(&browser).await, sure);
    browser.press(ENTER).await;
    let told = format!(
        "return document.getElementById('answer').textContent === 'The ban of {SCANNER} is lifted.'"
    );
    browser
        .until("the page says that it is lifted", SOON, &told)
        .await;
    let gone = "return document.querySelectorAll('#bans-list tr').length === 0";
    browser.until("the ban is gone", SOON, gone).await;
    assert_eq!(focused(&browser).await, "Bans");
    let event = "return document.querySelector('#events-list .tag').textContent === 'ban lifted'";
    browser.until("it is in the log", SOON, event).await;

    let after = get(&client, SCANNER, "/us/products").await;
    assert_eq!(after.status, 200);
    assert_eq!(browser.console().await, Vec::<String>::new());
}
