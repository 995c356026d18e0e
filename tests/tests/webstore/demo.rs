//! `webstore --demo` on a real Redis.

use palisade_tests::SOON;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};

#[tokio::test]
async fn customers_of_a_demo_have_their_past_in_redis_and_a_second_demo_adds_nothing_to_it() {
    let redis = RedisServer::start();
    for _ in 0..2 {
        let mut store = Webstore::start_with(Some(&redis.admin_url()), PATIENT, &["--demo"]);
        for segment in ["returning", "at_risk", "churned", "vip"] {
            let known = |scrape: &palisade_tests::metrics::Scrape| {
                scrape.sum("webstore_customers", &[("segment", segment)]) >= 300.0
            };
            store.scrape_until(segment, SOON, known).await;
        }
        store.signal("TERM");
        assert!(store.wait(SOON).success());
    }
    // One dear order made a VIP, and the same one does not count again; other orders of the demo are not as dear, or of
    // another id.
    let spend = redis.cli(&["HGET", "palisade-demo:customer:{vip-0}", "spend"]);
    let spend: i64 = spend.parse().expect("minor units");
    let orders = redis.cli(&["HGET", "palisade-demo:customer:{vip-0}", "orders"]);
    let orders: i64 = orders.parse().expect("a count");
    assert!(orders >= 1 && spend >= 50_001, "{orders} {spend}");
    let untouched = (0..400).filter(|n| {
        let key = format!("palisade-demo:customer:{{churned-{n}}}");
        redis.cli(&["HMGET", &key, "orders", "spend"]) == "1\n10000"
    });
    assert!(untouched.count() >= 300, "most have not come back yet");
}

#[tokio::test]
async fn a_demo_starts_and_is_visited_while_its_redis_is_away() {
    let redis = RedisServer::stopped();
    let store = Webstore::start_with(Some(&redis.admin_url()), "", &["--demo"]);
    let visited = |scrape: &palisade_tests::metrics::Scrape| {
        let labels = [("stage", "add_to_cart")];
        scrape.sum("webstore_funnel_stage_total", &labels) > 0.0
    };
    store.scrape_until("a cart", SOON, visited).await;
}
