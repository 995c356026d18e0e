//! The live page, and the webstore's account page, in a real browser against the real service.

mod account;
mod contrast;
mod failing;
mod lifting;
mod moving;
mod sessions;
mod told;
mod unblocking;

use std::path::PathBuf;

use palisade_tests::SOON;
use palisade_tests::browser::Browser;
use palisade_tests::http::{Client, Reply};
use palisade_tests::webstore::{PATIENT, Webstore};

/// Clients behind a trusted proxy, and bans.
const PROXIED: &str =
    "[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '60/1m'\n[suspicion.bans]\n";

const IS_LIVE: &str = "return document.getElementById('connection-text').textContent === 'Live'";

fn config() -> String {
    format!("{PATIENT}{PROXIED}")
}

/// The page, live.
async fn live(webstore: &Webstore) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/", webstore.admin)).await;
    browser.until("the page is live", SOON, IS_LIVE).await;
    browser
}

async fn get(client: &Client, address: &str, path: &str) -> Reply {
    client.get(path, &[("x-forwarded-for", address)]).await
}

/// Everything that a shop sees: visitors who get further than others, one who asks too often, one who scans.
async fn traffic(webstore: &Webstore) {
    let client = webstore.client();
    for n in 1..=12 {
        let (address, token) = (
            format!("198.51.100.{n}"),
            format!("Bearer user-token-shopper{n}"),
        );
        let headers = [
            ("x-forwarded-for", address.as_str()),
            ("authorization", token.as_str()),
        ];
        client.get("/de/products", &headers).await;
        if n <= 8 {
            client.get("/de/products/3", &headers).await;
        }
        if n <= 4 {
            let cart = r#"{"product_id": 3, "quantity": 1}"#;
            assert_eq!(client.post("/de/cart", &headers, cart).await.status, 200);
        }
        if n <= 2 {
            let order = format!(r#"{{"order_id": "order-{n}", "payment_method": "paypal"}}"#);
            let reply = client.post("/de/orders", &headers, &order).await;
            assert!(reply.status.is_success(), "{reply:?}");
        }
    }
    for _ in 0..80 {
        get(&client, "192.0.2.80", "/us/products").await;
    }
    scan(&client, "203.0.113.7").await;
    scan(&client, "2001:db8:4a1f:9c00::7").await;
}

/// As many paths that are not there as are reported.
async fn scan(client: &Client, address: &str) {
    for n in 0..10 {
        let reply = get(client, address, &format!("/wp-admin/{n}.php")).await;
        assert_eq!(reply.status, 404, "path {n}");
    }
}

/// Where pictures go for whoever wants to look.
fn picture(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("live-page").join(format!("{name}.png"))
}
