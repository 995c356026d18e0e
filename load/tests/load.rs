//! The load test against a real webstore.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore, signal};

/// Nothing here takes this long, but on a machine that does everything else first.
const PATIENCE: Duration = Duration::from_secs(300);

/// The settings that come with the load test.
const SETTINGS: &str = include_str!("../webstore.toml");

fn load(store: &Webstore, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command
        .args(["--host", &format!("http://{}", store.shop)])
        .args(["--seed", "7", "--haste", "4", "--no-print-metrics"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(store: &Webstore, arguments: &[&str]) -> (Option<i32>, String) {
    told(load(store, arguments).output().unwrap())
}

fn told(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// A run that goes on until it is told to end.
struct Running(Option<Child>);

impl Running {
    fn start(store: &Webstore, arguments: &[&str]) -> Self {
        Self(Some(load(store, arguments).spawn().unwrap()))
    }

    /// Asks it to end, as Ctrl-C does.
    fn end(mut self) -> (Option<i32>, String) {
        let child = self.0.take().unwrap();
        signal(child.id(), "INT");
        told(child.wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The series that every kind of visitor together moves; each of them is at 0 before.
fn moved_by_everybody() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let mut wanted = Vec::new();
    for kind in [
        "credential_stuffing",
        "endpoint_scanning",
        "abuse",
        "credential_stuffing_slow",
        "password_spraying",
        "distributed_stuffing",
        "success_after_failures",
    ] {
        wanted.push((
            "webstore_security_suspicious_activity_total",
            vec![("type", kind)],
        ));
    }
    for reason in ["credential_stuffing", "endpoint_scanning", "abuse"] {
        wanted.push(("webstore_security_bans_total", vec![("reason", reason)]));
    }
    wanted.push((
        "webstore_security_banned_requests_total",
        vec![("result", "denied")],
    ));
    for (operation, outcome) in [
        ("create", "done"),
        ("list", "done"),
        ("end", "done"),
        ("validate", "refused"),
        ("validate", "forged"),
    ] {
        wanted.push((
            "webstore_session_operations_total",
            vec![("operation", operation), ("outcome", outcome)],
        ));
    }
    for policy in ["ip", "user", "checkout"] {
        for result in ["admitted", "denied"] {
            let labels = vec![("policy", policy), ("result", result)];
            wanted.push(("webstore_rate_limit_requests_total", labels));
        }
        wanted.push((
            "webstore_rate_limit_exceeded_total",
            vec![("limit_type", policy)],
        ));
    }
    for country in ["US", "GB", "DE", "FR", "JP", "BR", "IN"] {
        for stage in [
            "browse_catalog",
            "view_product",
            "add_to_cart",
            "checkout_complete",
        ] {
            let labels = vec![("stage", stage), ("country", country)];
            wanted.push(("webstore_funnel_stage_total", labels));
        }
    }
    for payment_method in ["credit_card", "paypal", "bank_transfer"] {
        let labels = vec![("payment_method", payment_method)];
        wanted.push(("webstore_funnel_stage_total", labels));
    }
    wanted.push((
        "webstore_funnel_visitors_total",
        vec![("stage", "checkout_complete")],
    ));
    for segment in ["new", "returning", "at_risk", "churned", "vip"] {
        wanted.push((
            "webstore_customer_segment_total",
            vec![("segment", segment)],
        ));
    }
    for segment in ["returning", "at_risk", "churned", "vip"] {
        wanted.push(("webstore_customers", vec![("segment", segment)]));
    }
    wanted
}

fn still(scrape: &Scrape) -> Vec<String> {
    let wanted = moved_by_everybody().into_iter();
    let still = wanted.filter(|(name, labels)| scrape.sum(name, labels) == 0.0);
    still
        .map(|(name, labels)| format!("{name}{labels:?}"))
        .collect()
}

#[tokio::test]
async fn every_kind_of_visitor_moves_its_metrics_and_every_answer_is_right() {
    let store = Webstore::start(None, SETTINGS);
    assert_eq!(
        still(&store.scrape().await).len(),
        moved_by_everybody().len()
    );

    let report = tempfile::tempdir().unwrap();
    let report = report.path().join("load.html");
    let running = Running::start(&store, &["--report-file", report.to_str().unwrap()]);
    let started = Instant::now();
    // The count of a segment's customers comes and goes; each of the other series stays.
    let mut never_moved = still(&store.scrape().await);
    while !never_moved.is_empty() {
        assert!(started.elapsed() < PATIENCE, "still at 0: {never_moved:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = still(&store.scrape().await);
        never_moved.retain(|series| now.contains(series));
    }

    let (status, told) = running.end();
    assert_eq!(status, Some(0), "{told}");
    for persona in [
        "shopper",
        "returning",
        "vip",
        "two-devices",
        "token-thief",
        "token-forger",
        "logins",
        "logouts",
        "crawler",
        "scanner",
        "flood",
        "reseller",
    ] {
        assert!(
            told.contains(&format!("load: {persona} ")),
            "{persona} in {told}"
        );
    }
    let report = std::fs::read_to_string(report).unwrap();
    assert!(
        report.contains("flood /{country}/products"),
        "a report by persona and route"
    );
}

#[test]
fn a_threshold_that_is_not_kept_fails_the_run_and_one_that_is_does_not() {
    let store = Webstore::start(None, SETTINGS);
    for (threshold, expected) in [("p50<0.001ms", 1), ("error-rate<1%", 0)] {
        let arguments = ["--personas", "crawler,fast-crawler", "--run-time", "2s"];
        let (status, told) = run(
            &store,
            &[&arguments[..], &["--threshold", threshold]].concat(),
        );
        assert_eq!(status, Some(expected), "{threshold}: {told}");
    }
}

#[test]
fn an_answer_that_is_not_right_fails_the_run_and_is_told() {
    // It does not believe that there are many clients, and has little for one.
    let store = Webstore::start(None, "[rate_limit]\nip = '5/1h'\n");
    let (status, told) = run(&store, &["--personas", "shopper", "--run-time", "3s"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("429 instead of 200"), "{told}");
    assert!(told.contains("--config load/webstore.toml"), "{told}");
}

#[test]
fn a_webstore_that_is_away_fails_the_run() {
    let mut store = Webstore::start(None, SETTINGS);
    store.signal("TERM");
    assert!(store.wait(PATIENCE).success());
    let (status, told) = run(&store, &["--personas", "honest", "--run-time", "2s"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("not one answer"), "{told}");
}

#[test]
fn a_command_line_that_cannot_be_used_is_told_with_what_is_allowed() {
    let store = Webstore::start(None, SETTINGS);
    for (arguments, named) in [
        (["--personas", "nobody"], "honest, attackers, shopper"),
        (["--threshold", "p95"], "p95"),
        (["--run-time", "soon"], "soon"),
    ] {
        let (status, told) = run(&store, &arguments);
        assert_eq!(status, Some(2), "{told}");
        assert!(told.contains(named), "{told}");
    }
}

#[tokio::test]
async fn without_checkouts_carts_are_filled_and_nothing_is_ordered() {
    let store = Webstore::start(None, SETTINGS);
    let running = Running::start(
        &store,
        &["--personas", "shopper,returning,vip", "--no-checkout"],
    );
    let stage =
        |scrape: &Scrape, stage| scrape.sum("webstore_funnel_stage_total", &[("stage", stage)]);
    let filled = |scrape: &Scrape| stage(scrape, "add_to_cart") >= 40.0;
    let scrape = store.scrape_until("40 carts", PATIENCE, filled).await;
    assert_eq!(stage(&scrape, "checkout_complete"), 0.0);
    let (status, told) = running.end();
    assert_eq!(status, Some(0), "{told}");
}

#[tokio::test]
async fn only_a_drill_lets_checkouts_fail_while_redis_is_away() {
    let mut redis = RedisServer::start();
    // With sessions nobody could sign in without Redis, and only users' checkouts are limited.
    let settings = SETTINGS.replace("\n[sessions]", "\n# [sessions]");
    let store = Webstore::start(Some(&redis.url()), &format!("{PATIENT}{settings}"));
    let arguments = ["--personas", "shopper,vip,flood"];
    let drill = Running::start(&store, &[&arguments[..], &["--expect-outage"]].concat());
    let ordered = |scrape: &Scrape| {
        let labels = [("stage", "checkout_complete")];
        scrape.sum("webstore_funnel_stage_total", &labels) > 0.0
    };
    store.scrape_until("an order", PATIENCE, ordered).await;

    redis.kill();
    let refused = |scrape: &Scrape| {
        let labels = [("policy", "checkout"), ("result", "fallback_denied")];
        scrape.sum("webstore_rate_limit_requests_total", &labels)
    };
    let some = |scrape: &Scrape| refused(scrape) >= 3.0;
    let so_far = store
        .scrape_until("checkouts refused", PATIENCE, some)
        .await;
    let (status, told) = drill.end();
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("503: "), "{told}");

    // Those of the drill that were under way may still be counted.
    let running = Running::start(&store, &arguments);
    let more = |scrape: &Scrape| refused(scrape) >= refused(&so_far) + 20.0;
    store.scrape_until("more refused", PATIENCE, more).await;
    let (status, told) = running.end();
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("503 instead of 201"), "{told}");
}

#[tokio::test]
async fn a_drill_lets_whoever_is_signed_in_fail_while_redis_is_away_and_after_it_forgot_them() {
    let mut redis = RedisServer::start();
    let settings = format!("{PATIENT}{SETTINGS}");
    let store = Webstore::start(Some(&redis.url()), &settings);
    let drill = Running::start(&store, &["--expect-outage"]);
    let sessions = |scrape: &Scrape, operation, outcome| {
        let labels = [("operation", operation), ("outcome", outcome)];
        scrape.sum("webstore_session_operations_total", &labels)
    };
    let many = |scrape: &Scrape| sessions(scrape, "create", "done") >= 30.0;
    let before = store.scrape_until("30 logins", PATIENCE, many).await;

    redis.kill();
    let failed = |scrape: &Scrape| sessions(scrape, "validate", "fallen_back") >= 5.0;
    store
        .scrape_until("sessions without Redis", PATIENCE, failed)
        .await;
    redis.restart();
    let again = |scrape: &Scrape| {
        sessions(scrape, "create", "done") >= sessions(&before, "create", "done") + 30.0
    };
    store.scrape_until("30 logins more", PATIENCE, again).await;
    let (status, told) = drill.end();
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("503: "), "{told}");
}
