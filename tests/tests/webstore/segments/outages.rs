//! The store is away, or the process ends: nothing of value is lost.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_activity_and_an_order_are_not_lost_on_sigterm() {
    let redis = RedisServer::start();
    let mut webstore = Webstore::start(Some(&redis.url()), &config());
    let client = webstore.client();
    visit(&client, "ada").await;
    webstore
        .scrape_until("the first activity is written", SOON, |scrape| {
            let labels = [("kind", "activity"), ("result", "written")];
            scrape.sum("webstore_customer_changes_total", &labels) == 1.0
        })
        .await;
    let first = field(&redis, "ada", "last_activity");
    // Another millisecond, so that the second visit can be told from the first.
    tokio::time::sleep(Duration::from_millis(5)).await;
    visit(&client, "ada").await;
    assert_eq!(field(&redis, "ada", "last_activity"), first, "coalesced");
    order(&client, "bob", "B-1", 1).await;
    webstore.signal("TERM");
    assert!(webstore.wait(SOON).success());
    let last = field(&redis, "ada", "last_activity");
    assert!(last.parse::<u64>().unwrap() > first.parse().unwrap());
    assert_eq!(field(&redis, "bob", "orders"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_write_ends_in_time_all_the_same() {
    let mut redis = RedisServer::start();
    let config = format!("[store]\ndeadline = '50ms'\n{CONFIG}");
    let mut webstore = Webstore::start(Some(&redis.url()), &config);
    redis.kill();
    order(&webstore.client(), "ada", "A-1", 1).await;
    webstore.signal("TERM");
    assert!(webstore.wait(SOON).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_recorded_while_redis_is_killed_arrive_after_its_return() {
    let mut redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &config());
    let client = webstore.client();
    order(&client, "ada", "A-0", 1).await;
    until_field(&redis, "ada", "orders", "1").await;
    redis.kill();
    let mut spend = 0;
    for n in 1..=40 {
        spend += order(&client, "ada", &format!("A-{n}"), 1).await;
    }
    // Who is not in the cache cannot be told now, and passes.
    visit(&client, "bob").await;
    let scrape = webstore.scrape().await;
    assert!(scrape.sum("webstore_customer_unclassified_total", &[]) >= 1.0);
    // This process knew its own orders at once.
    assert!(counted(&scrape, "vip", "checkout") >= 1.0);
    redis.restart();
    until_field(&redis, "ada", "orders", "40").await;
    assert_eq!(field(&redis, "ada", "spend"), spend.to_string());
    until_field(&redis, "bob", "orders", "0").await;
    let scrape = webstore.scrape().await;
    let lost = [("result", "lost")];
    assert_eq!(scrape.sum("webstore_customer_changes_total", &lost), 0.0);
}
