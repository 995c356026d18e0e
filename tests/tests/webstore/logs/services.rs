//! Two services that meet under one prefix of a Redis.

use std::path::Path;
use std::time::{Duration, Instant};

use palisade::config::Config;
use palisade::stack::Stack;
use palisade::telemetry::{HttpMetricsLayer, Telemetry};
use palisade_tests::SOON;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::let_all_run;

use super::floods::Written;

fn service(name: &str, server: &RedisServer, prefix: &str) -> Stack<HttpMetricsLayer> {
    let telemetry = Telemetry::builder(name).build().unwrap();
    let store = format!(
        "redis_url = '{}'\ndeadline = '10s'\nprefix = '{prefix}'",
        server.admin_url()
    );
    let config = Config::from_toml(&format!("[store]\n{store}")).unwrap();
    Stack::builder()
        .config(config)
        .build_measured(&telemetry)
        .unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < SOON, "still not: {what}");
        let_all_run().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_second_of_two_services_under_one_prefix_is_told_of_the_first_by_name() {
    let (written, _guard) = Written::warnings();
    let told = || {
        let lines = written.lines().into_iter();
        let told = lines.filter(|line| line["event"] == "prefix_shared");
        told.map(|line| ["prefix", "service", "other"].map(|field| line[field].to_string()))
            .collect::<Vec<_>>()
    };
    let mut server = RedisServer::start();
    let marker = |server: &RedisServer, prefix| server.cli(&["GET", &format!("{prefix}service")]);

    let _first = service("shop", &server, "p:");
    until("marked", || marker(&server, "p:") == "shop").await;
    let ttl: u64 = server.cli(&["TTL", "p:service"]).parse().unwrap();
    assert!((3_000..=3_600).contains(&ttl), "{ttl}");
    // The same service again, and another one under a prefix of its own.
    let _again = service("shop", &server, "p:");
    let _apart = service("blog", &server, "q:");
    until("marked", || marker(&server, "q:") == "blog").await;
    let_all_run().await;
    assert!(told().is_empty(), "{:?}", told());

    let second = service("blog", &server, "p:");
    until("told", || !told().is_empty()).await;
    let line = [r#""p:""#, r#""blog""#, r#""shop""#];
    assert_eq!(told(), [line]);
    assert_eq!(marker(&server, "p:"), "shop");
    drop(second);

    // While the server is away, the question waits.
    server.kill();
    let _later = service("blog", &server, "p:");
    tokio::time::sleep(Duration::from_millis(1)).await;
    server.restart();
    server.cli(&["SET", "p:service", "shop"]);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    until("told", || told().len() == 2).await;
    assert_eq!(told(), [line, line]);
}

#[tokio::test]
async fn a_marker_that_is_none_is_replaced_and_no_more_of_a_long_one_is_read_than_a_name() {
    let (written, _guard) = Written::warnings();
    let server = RedisServer::start();
    server.cli(&["RPUSH", "p:service", "shop"]);
    let _shop = service("shop", &server, "p:");
    until("marked", || server.cli(&["GET", "p:service"]) == "shop").await;
    assert!(server.cli(&["TTL", "p:service"]).parse::<u64>().unwrap() > 3_000);

    server.cli(&["SETRANGE", "q:service", "100000000", "x"]);
    server.cli(&["SETRANGE", "q:service", "0", "elsewhere"]);
    let _shop = service("shop", &server, "q:");
    let told = || {
        let lines = written.lines().into_iter();
        lines
            .filter(|line| line["event"] == "prefix_shared")
            .collect::<Vec<_>>()
    };
    until("told", || !told().is_empty()).await;
    let lines = told();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["other"], "elsewhere");
    // It had no end, so it would be told of for ever.
    let left = || server.cli(&["TTL", "q:service"]).parse::<i64>().unwrap();
    until("limited", || (1..=3_600).contains(&left())).await;
    server.cli(&["SET", "r:service", "elsewhere", "EX", "999999"]);
    let _shop = service("shop", &server, "r:");
    let left = || server.cli(&["TTL", "r:service"]).parse::<i64>().unwrap();
    until("limited", || (1..=3_600).contains(&left())).await;
    let sent = server.cli(&["INFO", "stats"]);
    let sent = sent
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    assert!(sent.unwrap().trim().parse::<u64>().unwrap() < 10_000_000);
}

#[tokio::test]
async fn a_long_marker_that_is_none_is_not_freed_in_a_call() {
    let (written, _guard) = Written::warnings();
    let server = RedisServer::start();
    server.cli(&["SETRANGE", "p:service", "30000000", "x"]);
    let fill = "redis.call('HSET', KEYS[1], 'f', string.rep('x', 1e6))";
    server.cli(&["EVAL", fill, "1", "q:service"]);
    for (renamed, prefix) in ["p:", "q:"].into_iter().enumerate() {
        let _shop = service("shop", &server, prefix);
        let key = format!("{prefix}service");
        until("marked", || server.cli(&["GET", &key]) == "shop").await;
        // What was there has another name, and expires.
        let stats = server.cli(&["INFO", "commandstats"]);
        let renamed = format!("cmdstat_rename:calls={},", renamed + 1);
        assert!(stats.contains(&renamed), "{stats}");
    }
    // No other service is told of.
    let lines = written.lines();
    let shared = |line: &serde_json::Value| line["event"] == "prefix_shared";
    assert!(!lines.iter().any(shared), "{lines:?}");
}

/// A process of one service, with a secret and perhaps one before it.
fn keyed(
    server: &RedisServer,
    files: &Path,
    secret: &str,
    previous: &str,
) -> Stack<HttpMetricsLayer> {
    let file = |name: &str| {
        let path = files.join(name);
        std::fs::write(&path, format!("the {name} secret of a shop")).unwrap();
        path.display().to_string()
    };
    let previous = match previous {
        "" => String::new(),
        name => format!("previous_secret_file = '{}'", file(name)),
    };
    let config = format!(
        "[store]\nredis_url = '{}'\ndeadline = '10s'\nprefix = 'p:'\nsecret_file = '{}'\n[sessions]\n{previous}",
        server.admin_url(),
        file(secret)
    );
    let telemetry = Telemetry::builder("shop").build().unwrap();
    Stack::builder()
        .config(Config::from_toml(&config).unwrap())
        .build_measured(&telemetry)
        .unwrap()
}

#[tokio::test]
async fn another_secret_is_told_once_and_none_that_is_changed_by_the_steps() {
    let (written, _guard) = Written::warnings();
    let files = tempfile::tempdir().unwrap();
    let server = RedisServer::start();
    let told = || {
        let lines = written.lines().into_iter();
        lines
            .filter(|line| line["event"] == "secret_differs")
            .collect::<Vec<_>>()
    };
    let start = |secret, previous| keyed(&server, files.path(), secret, previous);
    let marker = || server.cli(&["GET", "p:service"]);
    let mut prints = Vec::new();
    // Each process is there before the next: it has met the marker, and made it its own.
    for (secret, previous) in [("old", ""), ("old", "new"), ("new", "old"), ("new", "")] {
        let _process = start(secret, previous);
        until("marked", || {
            let text = marker();
            let is_own = prints
                .last()
                .is_none_or(|(last, print)| (*last == secret) == (*print == text));
            text.starts_with("shop ") && is_own
        })
        .await;
        prints.push((secret, marker()));
        let_all_run().await;
    }
    assert!(told().is_empty(), "{:?}", told());
    assert_eq!(prints[0].1.len(), "shop ".len() + 8, "{prints:?}");
    let _skipped = start("other", "old");
    until("told", || !told().is_empty()).await;
    let lines = told();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["service"], "shop");
    assert_eq!(lines[0]["prefix"], "p:");
    assert!(!lines[0].to_string().contains("secret of a shop"));
    assert!(!marker().contains("secret of a shop"));
}
