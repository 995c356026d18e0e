//! A shop that is closed for maintenance.

use palisade_tests::SOON;
use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};
use serde_json::Value;

const CLOSED: &str = "\
    [client]\ntrusted_proxies = ['127.0.0.0/8']\n\
    [maintenance]\nmode = 'on'\nretry_after = '10m'\nexempt = { cidrs = ['203.0.113.7'] }\n\
    [log]\naccess = 1000\n";

#[tokio::test]
async fn a_closed_shop_charges_nobody_and_its_admin_listener_goes_on() {
    let redis = RedisServer::start();
    let shop = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{CLOSED}"));
    let from = async |address: &str| {
        let headers = [("x-forwarded-for", address)];
        shop.client().get("/us/products", &headers).await
    };
    for _ in 0..5 {
        let refused = from("203.0.113.1").await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("retry-after"), "600");
    }
    assert_eq!(from("203.0.113.7").await.status, 200);
    // Nothing was written for those that were refused.
    let keys = |address: &str| redis.cli(&["keys", &format!("*{address}*")]);
    assert_eq!(keys("203.0.113.1"), "");
    assert_ne!(keys("203.0.113.7"), "");

    let admin = Client::new(&shop.admin);
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(admin.get(path, &[]).await.status, 200, "{path}");
    }
    let scrape = shop.scrape().await;
    let requests = "webstore_maintenance_requests_total";
    assert_eq!(scrape.sum(requests, &[("result", "refused")]), 5.0);
    assert_eq!(scrape.sum(requests, &[("result", "exempt")]), 1.0);
    assert_eq!(scrape.sum("webstore_maintenance_on", &[]), 1.0);
    let failures = "webstore_security_failures_total";
    assert_eq!(scrape.sum(failures, &[]), 0.0);
    let duration = "http_server_request_duration_seconds_count";
    assert_eq!(scrape.sum(duration, &[("error_type", "maintenance")]), 5.0);
    let is_refusal = |line: &&Value| line["result"] == "maintenance" && line["class"] == "refused";
    let told = |log: &[Value]| log.iter().filter(is_refusal).count() == 5;
    let log = shop.log_until("a line for each refusal", SOON, told).await;
    assert!(log.iter().any(|line| line["event"] == "maintenance_on"));
}
