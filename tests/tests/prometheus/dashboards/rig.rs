//! One run of everything: the webstore on Redis, visitors and attackers, an outage, and two Prometheuses that watch.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palisade_tests::SOON;
use palisade_tests::load::{self, Load};
use palisade_tests::logql::Line;
use palisade_tests::prometheus::Prometheus;
use palisade_tests::redis::RedisServer;
use palisade_tests::repository::{every_second, no_slow_groups, prometheus_with_rules, text};
use palisade_tests::webstore::Webstore;
use serde_json::{Value, json};

/// How long Redis hangs in the middle of the run, and until Prometheus has seen the open breaker.
const OUTAGE: Duration = Duration::from_secs(3);

/// Within it, clients leave that wait for Redis; long before the outage ends, the breaker is open.
const DEADLINE: &str = "[store]\ndeadline = '1s'\n";

/// What is left of a run: the data, and the lines of the log.
pub(crate) struct Run {
    /// Scraped the webstore as it is.
    pub(crate) prometheus: Prometheus,
    /// Scraped a webstore one of whose metrics had another name.
    pub(crate) renamed: Prometheus,
    /// What the webstore wrote to stderr.
    pub(crate) log: Vec<Line>,
    /// From when to when, in seconds since 1970.
    pub(crate) window: (f64, f64),
}

impl Run {
    /// Runs for so long. `metric` is called `name` in what the second Prometheus scrapes.
    pub(crate) async fn new(length: Duration, metric: &str, name: &str) -> Self {
        load::binary();
        let redis = RedisServer::start();
        let config = DEADLINE.to_owned() + &text("load/webstore.toml");
        let mut webstore = Webstore::start(Some(&redis.url()), &config);
        let rename = |config: &mut Value| {
            every_second(config);
            config["scrape_configs"][0]["metric_relabel_configs"] = json!([{
                "source_labels": ["__name__"],
                "regex": metric,
                "target_label": "__name__",
                "replacement": name,
            }]);
        };
        let (prometheus, renamed) = tokio::join!(
            Prometheus::in_folder(fast(&webstore.admin, every_second), &[]),
            Prometheus::in_folder(fast(&webstore.admin, rename), &[]),
        );
        for prometheus in [&prometheus, &renamed] {
            prometheus
                .ask("/api/v1/query?query=up", |data| {
                    data["result"][0]["value"][1] == "1"
                })
                .await;
        }

        let start = now();
        let run_time = format!("--run-time={}", length.as_secs());
        let mut load = Load::start(
            &webstore.shop,
            &[
                &run_time,
                "--expect-outage",
                "--seed=1",
                "--no-reset-metrics",
            ],
        );
        let began = Instant::now();
        until(began + length / 2).await;
        redis.pause();
        // Requests that wait for Redis, from clients that do not wait for them.
        for _ in 0..20 {
            let mut client = TcpStream::connect(&webstore.shop).unwrap();
            client
                .write_all(b"GET /us/products HTTP/1.1\r\nhost: shop\r\n\r\n")
                .unwrap();
        }
        tokio::time::sleep(OUTAGE).await;
        let breaker = "/api/v1/query?query=webstore_store_breaker_open";
        prometheus
            .ask(breaker, |data| data["result"][0]["value"][1] == "1")
            .await;
        redis.resume();
        let ended = load.wait(length + SOON).await;
        assert!(ended.success(), "the load's expectations failed: {ended}");

        // The last scrape, and what the rules make of it.
        let end = now() + 2.0;
        for prometheus in [&prometheus, &renamed] {
            let judged = format!("timestamp(instance:http_server_served:rate5m) > {end}");
            let started = Instant::now();
            while prometheus.query(&judged, None).await.unwrap().is_empty() {
                assert!(started.elapsed() < SOON, "{judged}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        webstore.signal("TERM");
        webstore.wait(SOON);
        // The last line may still be on its way.
        let ended = Instant::now();
        let log = loop {
            let log = webstore.log();
            if log.iter().any(|line| line["event"] == "drained") {
                break log;
            }
            assert!(ended.elapsed() < SOON, "not drained");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Self {
            prometheus,
            renamed,
            log: log
                .iter()
                .filter_map(|line| Line::read(&line.to_string()))
                .collect(),
            window: (start, end),
        }
    }
}

/// The repository's configuration and rules, but judged every second.
fn fast(webstore: &str, edit: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    prometheus_with_rules(webstore, None, edit, no_slow_groups)
}

async fn until(moment: Instant) {
    tokio::time::sleep_until(moment.into()).await;
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs_f64().floor()
}
