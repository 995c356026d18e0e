//! Two processes on one Redis.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_id_counts_once_over_two_processes_and_restarts() {
    let redis = RedisServer::start();
    let mut spend = 0;
    for _ in 0..2 {
        // Each has books of its own, so each takes the id for a new order.
        let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config()));
        for process in &processes {
            spend = order(&process.client(), "ada", "A-1", 2).await;
        }
        for mut process in processes {
            process.signal("TERM");
            assert!(process.wait(SOON).success());
        }
    }
    assert_eq!(field(&redis, "ada", "orders"), "1");
    assert_eq!(field(&redis, "ada", "spend"), spend.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_of_one_process_is_no_new_one_to_the_other() {
    let redis = RedisServer::start();
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config()));
    visit(&processes[0].client(), "ada").await;
    until_field(&redis, "ada", "orders", "0").await;
    visit(&processes[1].client(), "ada").await;
    let scrape = processes[1].scrape().await;
    assert_eq!(counted(&scrape, "returning", "browse_catalog"), 1.0);
    assert_eq!(counted(&scrape, "new", "browse_catalog"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_exports_the_population_and_another_takes_over_when_it_dies() {
    let redis = RedisServer::start();
    seen_ago(&redis, "ada", 91 * DAY).await;
    let first = Webstore::start(Some(&redis.url()), &config());
    let is_there = |scrape: &Scrape| population(scrape) == Some([0.0, 0.0, 1.0, 0.0]);
    first
        .scrape_until("the first exports", SOON, is_there)
        .await;
    let second = Webstore::start(Some(&redis.url()), &config());
    // The second asked for the lease at its start, and again within three sweeps of the first.
    let swept = |scrape: &Scrape| {
        let labels = [("operation", "sweep"), ("outcome", "ok")];
        scrape.sum("webstore_store_operation_duration_seconds_count", &labels) >= 3.0
    };
    let scrape = second.scrape_until("the second asked", SOON, swept).await;
    assert_eq!(population(&scrape), None);
    assert!(is_there(&first.scrape().await));
    drop(first);
    second
        .scrape_until("the second takes over", SOON, is_there)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_leaves_the_population_to_the_next_at_once() {
    let redis = RedisServer::start();
    seen_ago(&redis, "ada", 91 * DAY).await;
    // A lease of three hours, for which nobody can wait here.
    let config = config().replace("sweep_every = '1s'", "sweep_every = '1h'");
    let is_there = |scrape: &Scrape| population(scrape) == Some([0.0, 0.0, 1.0, 0.0]);
    for _ in 0..2 {
        let mut process = Webstore::start(Some(&redis.url()), &config);
        process.scrape_until("it counts", SOON, is_there).await;
        process.signal("TERM");
        assert!(process.wait(SOON).success());
    }
    assert_eq!(redis.cli(&["EXISTS", "palisade:customers:sweep"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_loses_the_population_to_another() {
    let redis = RedisServer::start();
    // A lease of nine seconds, which no busy machine lets lapse.
    let config = config().replace("sweep_every = '1s'", "sweep_every = '3s'");
    let first = Webstore::start(Some(&redis.url()), &config);
    let is_there = |scrape: &Scrape| population(scrape).is_some();
    first
        .scrape_until("the first exports", SOON, is_there)
        .await;
    let second = Webstore::start(Some(&redis.url()), &config);
    first.signal("STOP");
    second
        .scrape_until("the second takes over", SOON, is_there)
        .await;
    first.signal("CONT");
    first
        .scrape_until("the first knows", SOON, |scrape| !is_there(scrape))
        .await;
    assert!(is_there(&second.scrape().await));
}
