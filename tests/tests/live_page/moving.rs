//! Traffic moves the page.

use palisade_tests::webstore::Webstore;
use serde_json::json;

use super::contrast::assert_readable;
use super::{SOON, config, live, picture, traffic};

#[tokio::test]
async fn shows_within_ten_seconds_that_it_is_live_and_what_would_appear() {
    let webstore = Webstore::start(None, &config());
    let browser = live(&webstore).await;
    let page = browser.run("return document.body.innerText").await;
    let page = page.as_str().unwrap();
    for text in [
        "webstore",
        "Quiet",
        "No security events yet. One appears when a client's failures reach a threshold",
        "No bans. A client is banned when its failures are an incident: for 10 min",
        "Nobody was denied in the last 10 min.",
        "No request failed in the last 10 min.",
    ] {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
    browser.save_picture(&picture("empty-light-1600")).await;
    assert_readable(&browser).await;
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn moves_with_the_traffic_at_every_width_and_in_both_themes() {
    let webstore = Webstore::start(None, &config());
    let browser = live(&webstore).await;
    traffic(&webstore).await;

    let shown = "return Number(document.querySelector('#legend tr:last-child .total').textContent)";
    let until = format!("{} >= 126", shown.trim());
    browser
        .until("every request is counted", SOON, &until)
        .await;
    let stages = "
        const counts = [...document.querySelectorAll('#funnel .count')].map((it) => it.textContent);
        return counts.join() === '13,8,4,2' && [...document.querySelectorAll('#funnel .step')].map((it) => it.innerText)";
    let steps = browser
        .until("the funnel has its visitors", SOON, stages)
        .await;
    assert_eq!(
        steps,
        json!([
            "62 % go on\n5 drop off",
            "50 % go on\n4 drop off",
            "50 % go on\n2 drop off",
            ""
        ])
    );
    let widths = "return [...document.querySelectorAll('#funnel .body path')].map((it) => Math.round(it.getBBox().width))";
    assert_eq!(browser.run(widths).await, json!([100, 62, 31, 15]));

    let limited = "
        const row = document.querySelector('#limited-list tr');
        return row && [...row.children].map((it) => it.innerText.trim())";
    assert_eq!(
        browser.until("somebody is limited", SOON, limited).await,
        json!(["192.0.2.80", "20", "exact"])
    );
    let limits = "
        const row = document.querySelector('#limits-list tr');
        const [, admitted, denied] = [...row.children].map((it) => Number(it.querySelector('.total')?.textContent));
        return admitted > 100 && denied === 20 && row.querySelector('th').innerText";
    let limit = browser.until("the limit has decided", SOON, limits).await;
    assert_eq!(
        limit
            .as_str()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        "ip 60/1m by ip · enforced · if the store fails: local"
    );
    let areas = "return document.querySelector('#chart-svg .o-ok').getAttribute('d').length > 20";
    browser.until("the chart has an area", SOON, areas).await;
    let actions = "return [...document.querySelectorAll('#segments .actions')].some((it) => it.textContent !== '0')";
    browser.until("customers act", SOON, actions).await;

    for scheme in ["light", "dark"] {
        browser.prefer(&[("prefers-color-scheme", scheme)]).await;
        for width in [1_600, 1_000, 400, 320] {
            browser.resize(width, 1_000).await;
            let wide = browser
                .run("return document.documentElement.scrollWidth")
                .await;
            assert_eq!(
                wide,
                json!(width),
                "{scheme}: the page is wider than its window"
            );
            assert_readable(&browser).await;
            if [1_600, 400].contains(&width) {
                let name = format!("busy-{scheme}-{width}");
                browser.save_picture(&picture(&name)).await;
            }
        }
    }
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn remembers_the_theme_that_was_chosen() {
    let webstore = Webstore::start(None, &config());
    let browser = live(&webstore).await;
    let colour = "return getComputedStyle(document.body.parentElement).backgroundColor";
    let light = browser.run(colour).await;
    let choose = "
        const button = document.getElementById('theme');
        button.click();
        button.click();
        return button.innerText";
    assert_eq!(browser.run(choose).await, json!("Theme: dark"));
    let dark = browser.run(colour).await;
    assert_ne!(light, dark);

    browser.open(&format!("http://{}/", webstore.admin)).await;
    assert_eq!(browser.run(colour).await, dark);
    let text = "return document.getElementById('theme').innerText";
    assert_eq!(browser.run(text).await, json!("Theme: dark"));
    // What the system prefers no longer matters, until it is asked for again.
    browser
        .run("document.getElementById('theme').click()")
        .await;
    assert_eq!(browser.run(colour).await, light);
}
