//! Who there is, without anybody coming.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_population_is_right_within_a_sweep_without_a_visit() {
    let redis = RedisServer::start();
    for (name, days) in [("a", 0), ("b", 29), ("c", 31), ("d", 89), ("e", 91)] {
        seen_ago(&redis, name, days * DAY).await;
    }
    let webstore = Webstore::start(Some(&redis.url()), &config());
    webstore
        .scrape_until("five customers", SOON, |scrape| {
            population(scrape) == Some([2.0, 2.0, 1.0, 0.0])
        })
        .await;
    // A customer who comes to be at risk while nobody looks.
    seen_ago(&redis, "f", 30 * DAY - 2_000).await;
    webstore
        .scrape_until("one at risk more", SOON, |scrape| {
            population(scrape) == Some([2.0, 3.0, 1.0, 0.0])
        })
        .await;
    assert_eq!(webstore.scrape().await.sum(COUNTED, &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_silent_for_91_days_is_churned_and_returning_after_the_visit() {
    let redis = RedisServer::start();
    seen_ago(&redis, "ada", 91 * DAY).await;
    let webstore = Webstore::start(Some(&redis.url()), &config());
    webstore
        .scrape_until("one has churned", SOON, |scrape| {
            population(scrape) == Some([0.0, 0.0, 1.0, 0.0])
        })
        .await;
    let client = webstore.client();
    visit(&client, "ada").await;
    visit(&client, "ada").await;
    let scrape = webstore
        .scrape_until("one has returned", SOON, |scrape| {
            population(scrape) == Some([1.0, 0.0, 0.0, 0.0])
        })
        .await;
    assert_eq!(counted(&scrape, "churned", "browse_catalog"), 1.0);
    assert_eq!(counted(&scrape, "returning", "browse_catalog"), 1.0);
    assert!(scrape.sum("webstore_customer_swept_total", &[("result", "checked")]) >= 1.0);
}
