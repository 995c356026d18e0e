//! Whether every text can be read.

use palisade_tests::browser::Browser;
use serde_json::json;

use super::SOON;

/// Holds every text of the page, as it is now, to the contrast of WCAG 2.2 level AA.
pub(super) async fn assert_readable(browser: &Browser) {
    assert_texts_readable(browser, 60).await;
}

/// As [`assert_readable`], of a page that has more than so many texts.
pub(super) async fn assert_texts_readable(browser: &Browser, least: u64) {
    let size = "return [innerWidth, innerHeight, document.documentElement.scrollHeight]";
    let size = browser.run(size).await;
    let [width, height, whole] = [0, 1, 2].map(|it| {
        let pixels = size[it].as_u64().unwrap();
        u32::try_from(pixels).unwrap()
    });
    browser.resize(width, whole.max(height)).await;
    let still = "return document.getAnimations().length === 0";
    browser.until("nothing moves", SOON, still).await;
    let found = browser.run(include_str!("contrast.js")).await;
    browser.resize(width, height).await;
    assert!(found["looked"].as_u64().unwrap() > least, "{found}");
    assert_eq!(found["faint"], json!([]), "at {width} pixels");
}

#[tokio::test]
async fn a_text_that_is_too_faint_is_found() {
    let browser = Browser::start().await;
    let text = "<p>black</p>".repeat(61);
    let page = format!(
        "data:text/html,<body style='background:white'>{text}<p style='color:rgb(119,119,119)'>grey</p>\
         <div style='background:rgb(0,0,0,.5)'><p style='color:white'>on a veil</p></div>"
    );
    browser.open(&page).await;
    let found = browser.run(include_str!("contrast.js")).await;
    assert_eq!(found["looked"], json!(63));
    // 4.48 is the known contrast of #777 to white, and 4.00 that of white to the grey that the veil leaves of it.
    let faint = json!(["4.48 of 4.5: grey", "4.00 of 4.5: on a veil"]);
    assert_eq!(found["faint"], faint);
}
