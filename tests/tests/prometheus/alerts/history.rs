//! What compares with the past, on a past that was made up: OpenMetrics text turned into a Prometheus's own blocks.
//!
//! The rules are the repository's, but that an alert need not hold for its minutes before it fires, which are no part of a
//! history that ends now; whether it would have, is asked of the minutes before.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palisade_tests::SOON;
use palisade_tests::dashboard::{list, text};
use palisade_tests::prometheus::Prometheus;
use palisade_tests::repository::{every_second, no_slow_groups, path, prometheus_with_rules};
use serde_json::Value;
use tempfile::TempDir;

use super::firing;

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
const WEEK: f64 = 7.0 * DAY;
/// Between two samples, in seconds.
const STEP: f64 = 60.0;

/// A counter and how fast it rose, so many seconds ago, each second.
struct Counter {
    name: &'static str,
    labels: &'static str,
    rate: Box<dyn Fn(f64) -> f64>,
}

fn counter(
    name: &'static str,
    labels: &'static str,
    rate: impl Fn(f64) -> f64 + 'static,
) -> Counter {
    Counter {
        name,
        labels,
        rate: Box::new(rate),
    }
}

/// Visitors, requests and denials of a shop, every day like the other, of whose requests a part fails.
fn shop(
    failing: impl Fn(f64) -> f64 + Copy + 'static,
    ordering: impl Fn(f64) -> f64 + 'static,
    denied: impl Fn(f64) -> f64 + 'static,
) -> Vec<Counter> {
    const REQUESTS: f64 = 10.0;
    const BROWSING: f64 = 2000.0 / HOUR;
    vec![
        counter(
            "http_server_request_duration_seconds_count",
            "http_route=\"/{country}/products\",http_response_status_code=\"200\"",
            move |ago| REQUESTS * (1.0 - failing(ago)),
        ),
        counter(
            "http_server_request_duration_seconds_count",
            "http_route=\"/{country}/products\",http_response_status_code=\"500\",error_type=\"500\"",
            move |ago| REQUESTS * failing(ago),
        ),
        counter(
            "webstore_funnel_visitors_total",
            "stage=\"browse_catalog\",country=\"DE\"",
            |_| BROWSING,
        ),
        counter(
            "webstore_funnel_visitors_total",
            "stage=\"checkout_complete\",country=\"DE\"",
            move |ago| BROWSING * ordering(ago),
        ),
        counter(
            "webstore_rate_limit_exceeded_total",
            "limit_type=\"ip\"",
            denied,
        ),
    ]
}

/// A shop of which only the failures matter.
fn failing(part: impl Fn(f64) -> f64 + Copy + 'static) -> Vec<Counter> {
    shop(part, |_| 0.1, |_| 0.2)
}

/// The counters from `length` seconds ago until `now`.
fn open_metrics(counters: &[Counter], now: f64, length: f64) -> String {
    let mut text = String::new();
    let mut last = "";
    for counter in counters {
        let Counter { name, labels, rate } = counter;
        if *name != last {
            let family = name.trim_end_matches("_total");
            let kind = if family == *name {
                "unknown"
            } else {
                "counter"
            };
            let _ = writeln!(text, "# TYPE {family} {kind}");
            last = name;
        }
        let (mut value, mut ago) = (0.0, length);
        while ago >= 0.0 {
            let labels = format!("job=\"webstore\",instance=\"webstore:9464\",{labels}");
            let _ = writeln!(text, "{name}{{{labels}}} {value:.3} {}", now - ago);
            value += rate(ago) * STEP;
            ago -= STEP;
        }
    }
    text + "# EOF\n"
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(["tsdb", "create-blocks-from"])
        .args(arguments)
        .output()
        .expect("promtool is not installed: run scripts/test setup, or apt-get install prometheus");
    assert!(
        output.status.success(),
        "promtool {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The repository's configuration and rules, of which each is judged at once and each second, over a history.
fn folder(counters: &[Counter], now: f64, length: f64) -> TempDir {
    let nobody = "127.0.0.1:1";
    let at_once = |rules: &mut Value| {
        no_slow_groups(rules);
        for group in rules["groups"].as_array_mut().unwrap() {
            for rule in group["rules"].as_array_mut().unwrap() {
                rule.as_object_mut().unwrap().remove("for");
            }
        }
    };
    let folder = prometheus_with_rules(nobody, None, every_second, at_once);
    let history = folder.path().join("history");
    std::fs::write(&history, open_metrics(counters, now, length)).unwrap();
    let data = folder.path().join("data");
    promtool(&["openmetrics", utf8(&history), utf8(&data)]);
    folder
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the recording rules would have recorded then; those that rest on each other need a pass for each of them.
async fn record(mut folder: TempDir, spans: &[(f64, f64)]) -> TempDir {
    for _pass in 0..3 {
        let prometheus = Prometheus::in_folder(folder, &[]).await;
        let url = format!("--url=http://{}", prometheus.address);
        let recorded = prometheus.folder().join("recorded");
        for (start, end) in spans {
            promtool(&[
                "rules",
                &url,
                &format!("--start={start:.0}"),
                &format!("--end={end:.0}"),
                &format!("--output-dir={}", utf8(&recorded)),
                utf8(&path("prometheus/rules.yml")),
            ]);
        }
        folder = prometheus.stop();
        for block in std::fs::read_dir(&recorded).unwrap() {
            let block = block.unwrap();
            let data = folder.path().join("data").join(block.file_name());
            if block.path().is_dir() {
                std::fs::rename(block.path(), data).unwrap();
            }
        }
    }
    folder
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs_f64().floor()
}

/// When each group of rules was last judged.
async fn turns(prometheus: &Prometheus) -> Vec<String> {
    let rules = prometheus.call("/api/v1/rules", &[]).await.unwrap();
    let groups = list(&rules["groups"]).iter();
    groups.map(|group| text(&group["lastEvaluation"])).collect()
}

/// Waits until every group was judged twice more, since one uses what another records.
async fn judged(prometheus: &Prometheus) {
    let started = Instant::now();
    for _ in 0..2 {
        let before = turns(prometheus).await;
        while turns(prometheus)
            .await
            .iter()
            .zip(&before)
            .any(|(now, before)| now == before)
        {
            assert!(started.elapsed() < 2 * SOON, "{before:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The alerts of a history, by name and `burn`, and whether each held for as long as it must before it fires.
async fn alerts_of(counters: Vec<Counter>, length: f64, spans: &[(f64, f64)]) -> BTreeSet<String> {
    let now = now();
    let folder = folder(&counters, now, length);
    let spans: Vec<_> = spans
        .iter()
        .map(|(start, end)| (now - start, now - end))
        .collect();
    let folder = if spans.is_empty() {
        folder
    } else {
        record(folder, &spans).await
    };
    let prometheus = Prometheus::in_folder(folder, &[]).await;
    judged(&prometheus).await;
    let mut fired = BTreeSet::new();
    for alert in firing(&prometheus).await {
        let labels = &alert["labels"];
        // No process is scraped here.
        if labels["alertname"] != "TargetDown" {
            fired.insert(format!(
                "{} {}",
                text(&labels["alertname"]),
                text(&labels["burn"])
            ));
        }
    }
    for (name, expression, minutes) in patient_rules() {
        if fired.contains(&format!("{name} ")) {
            for ago in 0..=minutes {
                let at = now - f64::from(ago) * STEP;
                let held = prometheus.query(&expression, Some(at)).await.unwrap();
                assert!(!held.is_empty(), "{name} did not hold {ago} minutes ago");
            }
        }
    }
    fired
}

/// The alerts that must hold for some minutes: name, expression, minutes.
fn patient_rules() -> Vec<(String, String, u32)> {
    let rules = palisade_tests::repository::yaml("prometheus/rules.yml");
    let groups = list(&rules["groups"]).iter();
    groups
        .flat_map(|group| list(&group["rules"]))
        .filter_map(|rule| {
            let minutes = rule["for"].as_str()?.strip_suffix('m')?.parse().ok()?;
            Some((text(&rule["alert"]), text(&rule["expr"]), minutes))
        })
        .collect()
}

/// Where the comparisons look back to: a week, and an hour, with what they must hold for.
const COMPARED: [(f64, f64); 2] = [(WEEK + 0.5 * HOUR, WEEK), (2.0 * HOUR, 0.0)];

#[tokio::test(flavor = "multi_thread")]
async fn a_week_like_the_other_fires_nothing() {
    let fired = alerts_of(failing(|_| 0.0005), WEEK + 2.0 * HOUR, &COMPARED).await;
    assert_eq!(fired, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_the_orders_ten_times_the_denials_and_a_burnt_budget_fire() {
    let recently = |ago: f64, hours: f64| ago < hours * HOUR;
    let counters = shop(
        move |ago| if recently(ago, 1.2) { 0.02 } else { 0.0005 },
        move |ago| if recently(ago, 1.5) { 0.05 } else { 0.1 },
        move |ago| if recently(ago, 0.5) { 3.0 } else { 0.2 },
    );
    let fired = alerts_of(counters, WEEK + 2.0 * HOUR, &COMPARED).await;
    let wanted = ["ConversionDrop ", "DenialSurge ", "ErrorBudgetBurn 14.4x"];
    assert_eq!(fired, wanted.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_over_a_quarter_of_a_day_fire_the_six_times_burn() {
    let part = |ago: f64| if ago < 6.0 * HOUR { 0.009 } else { 0.0 };
    let fired = alerts_of(failing(part), 3.0 * DAY, &[]).await;
    assert_eq!(fired, ["ErrorBudgetBurn 6x".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_over_a_day_fire_the_three_times_burn_and_the_single_one() {
    let part = |ago: f64| if ago < 18.0 * HOUR { 0.0045 } else { 0.0 };
    let fired = alerts_of(failing(part), 3.0 * DAY, &[]).await;
    let wanted = ["ErrorBudgetBurn 1x", "ErrorBudgetBurn 3x"];
    assert_eq!(fired, wanted.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_over_three_days_fire_the_single_burn() {
    let fired = alerts_of(failing(|_| 0.0015), 3.0 * DAY, &[]).await;
    assert_eq!(fired, ["ErrorBudgetBurn 1x".to_owned()].into());
}
