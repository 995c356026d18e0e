//! A client and a customer are let in again from the page.

use palisade_tests::browser::Browser;
use palisade_tests::webstore::Webstore;
use serde_json::json;

use super::contrast::assert_readable;
use super::{SOON, config, get, live, picture, scan};

const CLIENT: &str = "203.0.113.7";

/// Fills the form in, and waits until it has said what came of it.
async fn unblock(browser: &Browser, kind: &str, whom: &str, outcome: &str) {
    let fill = format!(
        "const kind = document.getElementById('unblock-kind');
         kind.value = '{kind}';
         kind.dispatchEvent(new Event('change'));
         document.getElementById('unblock-whom').value = '{whom}';
         document.querySelector('#unblock button').click();"
    );
    browser.run(&fill).await;
    let said = format!(
        "return document.getElementById('unblock-outcome').textContent.includes({})",
        json!(outcome)
    );
    browser.until(outcome, SOON, &said).await;
}

#[tokio::test]
async fn a_client_and_a_customer_are_let_in_and_a_typing_error_is_named() {
    let webstore = Webstore::start(
        None,
        &(config() + "[rate_limit.policies.user]\nquota = '3/1h'\n"),
    );
    let browser = live(&webstore).await;
    let client = webstore.client();
    scan(&client, CLIENT).await;
    let banned = "return document.querySelectorAll('#bans-list tr').length === 1";
    browser.until("the ban is listed", SOON, banned).await;
    unblock(
        &browser,
        "client",
        "203.0.113",
        "`client` cannot be `203.0.113`: allowed is an address",
    )
    .await;
    assert_eq!(get(&client, CLIENT, "/us/products").await.status, 429);
    let both = "its ban is lifted and its limits are forgotten";
    unblock(&browser, "client", CLIENT, both).await;
    assert_eq!(get(&client, CLIENT, "/us/products").await.status, 200);
    let event = "
        const tags = [...document.querySelectorAll('#events-list .tag')].map((it) => it.textContent);
        return tags[0] === 'unblocked' && tags[1] === 'ban lifted'";
    browser.until("it is in the log", SOON, event).await;
    let gone = "return document.querySelectorAll('#bans-list tr').length === 0";
    browser.until("the ban is gone", SOON, gone).await;

    let ada = [("authorization", "Bearer user-token-ada")];
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.get("/us/products", &ada).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    unblock(&browser, "user", "ada", "its limits are forgotten").await;
    assert_eq!(client.get("/us/products", &ada).await.status, 200);
    unblock(&browser, "user", "nobody", "Nothing was held against it").await;
    assert_readable(&browser).await;
    browser
        .save_picture(&picture("unblocking-light-1600"))
        .await;
    assert_eq!(browser.console().await.len(), 1, "the refused one alone");
}
