//! Everything that is asked is answered; and once a metric has another name, the gate says what breaks.

use std::collections::BTreeSet;
use std::time::Duration;

use palisade_tests::dashboard::{Dashboard, Language};
use palisade_tests::promql::selectors;

use super::ask::{Asker, report};
use super::preview;
use super::rig::Run;
use super::rules::{self, Rule};

/// What the other Prometheus knows under another name.
const METRIC: &str = "webstore_rate_limit_requests_total";
const RENAMED: &str = "webstore_rate_limit_decided_total";
/// How long the load runs, in seconds, if not half a minute: longer makes better previews.
const LENGTH: &str = "PALISADE_DASHBOARDS_SECONDS";

#[tokio::test(flavor = "multi_thread")]
async fn every_query_has_an_answer_after_a_load_and_a_renamed_metric_has_none() {
    let length = std::env::var(LENGTH).map_or(30, |seconds| seconds.parse().expect(LENGTH));
    let run = Run::new(Duration::from_secs(length), METRIC, RENAMED).await;
    let dashboards = Dashboard::all();
    let asker = Asker::new(&run.prometheus, run.window, &run.log);

    let mut failures = Vec::new();
    for dashboard in &dashboards {
        failures.extend(asker.failures(dashboard).await);
    }
    failures.extend(rules::failures(&run.prometheus, &asker).await);
    preview::save(&dashboards, &asker, run.window).await;
    assert!(failures.is_empty(), "{}", report(&failures));

    // The service renames a metric, and nobody tells the dashboards.
    let renamed = Asker::new(&run.renamed, run.window, &run.log);
    let rules = Rule::all(&run.renamed).await;
    let affected = rules::derived_from(&rules, METRIC);
    let mut found = BTreeSet::new();
    for dashboard in &dashboards {
        for failure in renamed.failures(dashboard).await {
            found.insert((failure.dashboard, failure.expression));
        }
    }
    let asks = |expression: &str| {
        let mut metrics = selectors(expression)
            .into_iter()
            .filter_map(|selector| selector.metric);
        metrics.any(|metric| affected.contains(&metric))
    };
    let expected: BTreeSet<_> = dashboards
        .iter()
        .flat_map(Dashboard::queries)
        .filter(|query| query.language == Language::PromQl && asks(&query.expression))
        .map(|query| (query.dashboard, query.expression))
        .collect();
    assert!(expected.len() > 5, "{expected:?}");
    assert_eq!(found, expected);
    let broken: BTreeSet<_> = rules::failures(&run.renamed, &renamed)
        .await
        .into_iter()
        .map(|failure| failure.title)
        .collect();
    assert!(broken.contains("RateLimitFallback"), "{broken:?}");

    // A dashboard asks for what nobody measures.
    let mut wrong = dashboards
        .iter()
        .find(|dashboard| dashboard.name == "service-health")
        .unwrap()
        .clone();
    let text = wrong.json.to_string().replace(METRIC, RENAMED);
    wrong.json = serde_json::from_str(&text).unwrap();
    let found = asker.failures(&wrong).await;
    let titles: BTreeSet<_> = found.iter().map(|failure| failure.title.as_str()).collect();
    let expected: BTreeSet<_> = wrong
        .queries()
        .into_iter()
        .filter(|query| query.expression.contains(RENAMED))
        .map(|query| query.title)
        .collect();
    assert_eq!(titles, expected.iter().map(String::as_str).collect());
    println!("With {METRIC} renamed in a dashboard, {}", report(&found));
}
