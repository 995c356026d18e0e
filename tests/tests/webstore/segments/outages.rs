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
async fn a_process_that_cannot_write_ends_in_time_and_says_how_much_is_lost() {
    let mut redis = RedisServer::start();
    let config = format!("[store]\ndeadline = '50ms'\n{CONFIG}");
    let mut webstore = Webstore::start(Some(&redis.url()), &config);
    redis.kill();
    order(&webstore.client(), "ada", "A-1", 1).await;
    webstore.signal("TERM");
    assert_eq!(webstore.wait(SOON).code(), Some(1));
    let unwritten = r#""event":"customers_unwritten","written":0,"spilled":0,"left":2"#;
    webstore.says(unwritten, SOON).await;
    let last = "webstore: 2 changes to customers' records are lost";
    webstore.says(last, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_an_outage_wait_in_the_file_over_a_restart_and_count_once() {
    let redis = RedisServer::start();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("changes");
    let config = format!(
        "[store]\ndeadline = '50ms'\n{CONFIG}spill_file = '{}'\n",
        file.display()
    );
    let mut webstore = Webstore::start(Some(&redis.url()), &config);
    let client = webstore.client();
    let mut spend = order(&client, "ada", "A-0", 1).await;
    until_field(&redis, "ada", "orders", "1").await;
    redis.pause();
    for n in 1..=3 {
        spend += order(&client, "ada", &format!("A-{n}"), 1).await;
    }
    webstore.signal("TERM");
    assert_eq!(webstore.wait(SOON).code(), Some(0));
    let only = || {
        let mut names = std::fs::read_dir(folder.path()).unwrap();
        let only = names.next().unwrap().unwrap().path();
        assert!(names.next().is_none());
        only
    };
    let kept = std::fs::read_to_string(only()).unwrap();
    assert_eq!(kept.matches("\norder ").count(), 3, "{kept}");
    // Still in the outage it is started, and told to end again; then a line of the file is spoilt.
    let mut webstore = Webstore::start(Some(&redis.url()), &config);
    webstore.signal("TERM");
    assert_eq!(webstore.wait(SOON).code(), Some(0));
    let kept = std::fs::read_to_string(only()).unwrap();
    assert_eq!(kept.matches("\norder ").count(), 3, "{kept}");
    std::fs::write(only(), kept + "order of a thousand chairs\n").unwrap();
    redis.resume();
    let webstore = Webstore::start(Some(&redis.url()), &config);
    until_field(&redis, "ada", "orders", "4").await;
    let line = webstore
        .log_until("the file is done with", SOON, |log| {
            log.iter().any(|line| line["event"] == "spill_applied")
        })
        .await;
    let broken = line.iter().find(|it| it["event"] == "spill_line_broken");
    assert!(
        broken.is_some_and(|it| it["line"].as_u64() >= Some(5)),
        "{line:?}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(field(&redis, "ada", "spend"), spend.to_string());
}

#[test]
fn a_file_in_a_folder_that_is_not_there_is_refused_at_start() {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    let text = "[segments]\nspill_file = '/nowhere/at/all'\n";
    std::io::Write::write_all(&mut config, text.as_bytes()).unwrap();
    let mut command = std::process::Command::new(palisade_tests::webstore::binary());
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--config",
    ]);
    let output = palisade_tests::webstore::output(command.arg(config.path()));
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    let named = "`segments.spill_file` cannot be `/nowhere/at/all`: allowed is a file in a folder that exists";
    assert!(said.contains(named), "{said}");
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
