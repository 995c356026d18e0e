//! Prometheus's rules: what promtool says of them, and what a Prometheus that ran them says.

use std::collections::BTreeSet;
use std::process::Command;

use palisade_tests::dashboard::{list, text};
use palisade_tests::prometheus::Prometheus;
use palisade_tests::promql::selectors;
use palisade_tests::repository::{files, path};

use super::ask::{Asker, Failure};

/// A rule as Prometheus loaded it.
pub(crate) struct Rule {
    name: String,
    expression: String,
    /// Whether it makes a series, and no alert.
    records: bool,
    complaint: String,
}

impl Rule {
    pub(crate) async fn all(prometheus: &Prometheus) -> Vec<Self> {
        let found = prometheus.call("/api/v1/rules", &[]).await.unwrap();
        let groups = list(&found["groups"]).iter();
        let rules = groups.flat_map(|group| list(&group["rules"]));
        rules
            .map(|rule| Self {
                name: text(&rule["name"]),
                expression: text(&rule["query"]),
                records: rule["type"] == "recording",
                complaint: if rule["health"] == "ok" {
                    String::new()
                } else {
                    format!("{}: {}", text(&rule["health"]), text(&rule["lastError"]))
                },
            })
            .collect()
    }

    /// Whether it needs the past, which a short run has not.
    fn looks_back(&self) -> bool {
        self.expression.contains(" offset ")
    }

    fn metrics(&self) -> impl Iterator<Item = String> {
        selectors(&self.expression)
            .into_iter()
            .filter_map(|selector| selector.metric)
    }
}

/// The rules that failed, that ask for what is not measured, or that recorded nothing.
pub(crate) async fn failures(prometheus: &Prometheus, asker: &Asker<'_>) -> Vec<Failure> {
    let rules = Rule::all(prometheus).await;
    assert!(rules.len() > 30, "only {} rules", rules.len());
    let late: BTreeSet<_> = rules
        .iter()
        .filter(|rule| rule.records && rule.looks_back())
        .map(|rule| rule.name.clone())
        .collect();
    let mut failures = Vec::new();
    for rule in &rules {
        let mut asked = selectors(&rule.expression);
        asked.retain(|selector| {
            let metric = selector.metric.as_ref();
            metric.is_none_or(|metric| !late.contains(metric))
        });
        let mut problems = asker.selected(&asked).await;
        if !rule.complaint.is_empty() {
            problems.push(rule.complaint.clone());
        }
        if rule.records && !late.contains(&rule.name) {
            let recorded = asker.ask(false, &rule.name).await;
            if recorded.is_ok_and(|series| series.is_empty()) {
                problems.push("recorded nothing".into());
            }
        }
        failures.extend(problems.into_iter().map(|why| Failure {
            dashboard: "rules.yml".into(),
            title: rule.name.clone(),
            expression: rule.expression.clone(),
            why,
        }));
    }
    failures
}

/// The metric, and every series that is recorded from it, directly or not.
pub(crate) fn derived_from(rules: &[Rule], metric: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::from([metric.to_owned()]);
    loop {
        let more: Vec<_> = rules
            .iter()
            .filter(|rule| rule.records && !found.contains(&rule.name))
            .filter(|rule| rule.metrics().any(|metric| found.contains(&metric)))
            .map(|rule| rule.name.clone())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(path(""))
        .output()
        .expect("promtool is not installed: run scripts/test setup, or apt-get install prometheus");
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&[
        "check",
        "rules",
        "--lint=all",
        "--lint-fatal",
        "prometheus/rules.yml",
    ]);
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let tests = files("prometheus/tests", ".yml");
    assert!(!tests.is_empty());
    let mut arguments = vec!["test", "rules"];
    arguments.extend(tests.iter().map(String::as_str));
    promtool(&arguments);
}
