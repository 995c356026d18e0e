//! Alerts that really fire: in a real Prometheus with the repository's rules.

mod attack;
mod history;

use palisade_tests::dashboard::{list, text};
use palisade_tests::prometheus::Prometheus;
use serde_json::Value;

/// The alerts that are firing.
async fn firing(prometheus: &Prometheus) -> Vec<Value> {
    let alerts = prometheus.call("/api/v1/alerts", &[]).await.unwrap();
    let mut alerts = list(&alerts["alerts"]).to_vec();
    alerts.retain(|alert| alert["state"] == "firing");
    alerts
}

fn names(alerts: &[Value]) -> std::collections::BTreeSet<String> {
    let name = |alert: &Value| text(&alert["labels"]["alertname"]);
    alerts.iter().map(name).collect()
}
