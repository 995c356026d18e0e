//! The programs that can be had here, with the very files that the containers mount.

use std::process::Command;
use std::time::{Duration, Instant};

use palisade_tests::SOON;
use palisade_tests::alertmanager::Alertmanager;
use palisade_tests::dashboard::list;
use palisade_tests::http::Client;
use palisade_tests::load::Load;
use palisade_tests::prometheus::Prometheus;
use palisade_tests::redis::RedisServer;
use palisade_tests::repository::{path, prometheus_with, text, yaml};
use palisade_tests::webstore::{PATIENT, Webstore};

/// Two scrapes and an evaluation, each every 15 s, take 45 s.
const PATIENCE: Duration = Duration::from_secs(180);

/// The webstore of the compose file on the Redis of the compose file, and where its log goes.
fn shop(redis: &RedisServer, log: &std::path::Path) -> Webstore {
    let config = PATIENT.to_owned() + &text("examples/webstore/compose.toml");
    let log = format!("--log-file={}", log.display());
    let command = yaml("docker-compose.yml");
    let command = command["services"]["webstore"]["command"].as_array();
    let names = command.expect("a list").iter().filter_map(|it| it.as_str());
    let names = names.filter(|it| it.starts_with("--admin-host="));
    let arguments: Vec<_> = names.chain([log.as_str()]).collect();
    Webstore::start_with(Some(&redis.url()), &config, &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_limits_and_logs_with_the_containers_files() {
    let mut redis = RedisServer::configured(&path("deploy/redis/redis.conf"));
    for (setting, wanted) in [
        ("maxmemory", "268435456"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
    ] {
        let said = redis.cli(&["CONFIG", "GET", setting]);
        assert_eq!(said.lines().nth(1).unwrap_or_default(), wanted, "{setting}");
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("webstore.log");
    let webstore = shop(&redis, &log);
    let client = webstore.client();
    for _ in 0..60 {
        let user = [("authorization", "Bearer user-token-ada")];
        assert_eq!(client.get("/us/products", &user).await.status, 200);
    }
    let user = [("authorization", "Bearer user-token-ada")];
    assert_eq!(client.get("/us/products", &user).await.status, 429);
    // Nobody but the load generator's address may say who he is.
    let forged = [("x-forwarded-for", "203.0.113.9"), user[0]];
    assert_eq!(client.get("/us/products", &forged).await.status, 429);
    let denied = webstore.scrape().await.sum(
        "webstore_rate_limit_exceeded_total",
        &[("limit_type", "user")],
    );
    assert_eq!(denied, 2.0);

    // Prometheus asks by the service's name, a browser comes through the published port; no other name leads in.
    let admin = Client::new(&webstore.admin);
    for (host, path, status) in [
        ("webstore:9464", "/metrics", 200),
        ("localhost:9464", "/", 200),
        ("127.0.0.1:9464", "/", 200),
        ("evil.example:9464", "/metrics", 421),
        ("evil.example:9464", "/", 421),
    ] {
        let reply = admin.get(path, &[("host", host)]).await;
        assert_eq!(reply.status, status, "{host}{path}");
    }

    // The log of admissions outlives a crash of Redis, by its file.
    let kept = |redis: &RedisServer| redis.cli(&["GET", "palisade:rate:user:60s:user:{ada}"]);
    let before = kept(&redis);
    assert!(!before.is_empty());
    let written = || {
        redis
            .cli(&["INFO", "persistence"])
            .contains("aof_pending_bio_fsync:0")
    };
    let started = Instant::now();
    while !written() {
        assert!(started.elapsed() < SOON, "the log is not on its disk");
    }
    redis.restart();
    assert_eq!(kept(&redis), before);

    // Flattened or not, each line of the file is JSON with the fields that Alloy reads.
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(!lines.is_empty());
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_generator_of_the_compose_file_meets_what_it_expects() {
    let redis = RedisServer::configured(&path("deploy/redis/redis.conf"));
    // Here it comes from loopback.
    let config = text("examples/webstore/compose.toml").replace("172.30.64.10/32", "127.0.0.1/32");
    let webstore = Webstore::start(Some(&redis.url()), &(PATIENT.to_owned() + &config));
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.html");
    let compose = yaml("docker-compose.yml");
    let options: Vec<_> = list(&compose["services"]["load"]["command"])
        .iter()
        .filter_map(|option| option.as_str())
        .filter(|option| !option.starts_with("--host="))
        .map(|option| match option.split_once('=') {
            Some(("--run-time", _)) => "--run-time=10s".to_owned(),
            Some(("--report-file", _)) => format!("--report-file={}", report.display()),
            _ => option.to_owned(),
        })
        .collect();
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let mut load = Load::start(&webstore.shop, &options);
    let ended = load.wait(Duration::from_secs(10) + SOON).await;
    assert!(ended.success(), "{ended}");
    assert!(report.exists());
    let orders = [("stage", "checkout_complete")];
    let scrape = webstore.scrape().await;
    assert!(scrape.sum("webstore_funnel_stage_total", &orders) > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_gets_from_the_webstores_prometheus_to_its_alertmanager() {
    let checked = Command::new("amtool")
        .arg("check-config")
        .arg(path("prometheus/alertmanager.yml"))
        .output()
        .expect("amtool is not installed: run scripts/test setup, or apt-get install prometheus-alertmanager");
    assert!(checked.status.success(), "{checked:?}");

    let redis = RedisServer::configured(&path("deploy/redis/redis.conf"));
    let folder = tempfile::tempdir().unwrap();
    let webstore = shop(&redis, &folder.path().join("webstore.log"));
    let alertmanager = Alertmanager::start(&path("prometheus/alertmanager.yml")).await;
    let prometheus = Prometheus::in_folder(
        prometheus_with(&webstore.admin, Some(&alertmanager.address), |_| {}),
        &[],
    )
    .await;

    let targets = prometheus
        .ask("/api/v1/targets", |data| {
            data["activeTargets"][0]["health"] == "up"
        })
        .await;
    assert_eq!(targets["activeTargets"].as_array().unwrap().len(), 1);
    assert_eq!(targets["activeTargets"][0]["labels"]["job"], "webstore");
    prometheus
        .ask("/api/v1/alertmanagers", |data| {
            data["activeAlertmanagers"][0]["url"]
                .as_str()
                .is_some_and(|url| url.contains(&alertmanager.address))
        })
        .await;
    // A counter that rises between two scrapes: the first one is of before the attack.
    let incidents = "webstore_security_suspicious_activity_total{type=\"credential_stuffing\"}";
    let started = Instant::now();
    while prometheus.query(incidents, None).await.unwrap().is_empty() {
        assert!(started.elapsed() < PATIENCE, "nothing was scraped");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let client = webstore.client();
    // The fifth is the incident; whoever comes after it may be banned already.
    for _ in 0..5 {
        let wrong = client
            .post("/login", &[], r#"{"user":"ada","password":"wrong"}"#)
            .await;
        assert_eq!(wrong.status, 401);
    }
    let alert = loop {
        let alerts = alertmanager.alerts().await;
        let found = alerts
            .iter()
            .find(|alert| alert["labels"]["alertname"] == "CredentialStuffing");
        if let Some(alert) = found {
            break alert.clone();
        }
        assert!(
            started.elapsed() < PATIENCE,
            "no CredentialStuffing of {alerts:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(alert["labels"]["severity"], "ticket");
    assert_eq!(alert["receivers"][0]["name"], "ticket");
    let annotations = &alert["annotations"];
    assert_eq!(
        annotations["runbook_url"],
        "docs/runbooks.md#credentialstuffing"
    );
    assert!(annotations["summary"].is_string());

    let rules = prometheus.call("/api/v1/rules", &[]).await.unwrap();
    let groups = list(&rules["groups"]);
    assert!(groups.len() > 1);
    for group in groups {
        // Those that are judged once a minute may not have had their turn.
        let late = group["interval"].as_f64().unwrap() > 15.0;
        for rule in list(&group["rules"]) {
            let health = &rule["health"];
            assert!(
                health == "ok" || late && health == "unknown",
                "{health} of {rule}"
            );
        }
    }
}
