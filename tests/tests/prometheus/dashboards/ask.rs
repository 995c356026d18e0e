//! Asks a Prometheus, or a log, what a dashboard asks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use palisade::observe::Class;
use palisade_tests::dashboard::{
    Dashboard, Language, Place, Query, interpolate, label_values, list, text,
};
use palisade_tests::logql::{self, Line, NOTHING_PASSES};
use palisade_tests::prometheus::Prometheus;
use palisade_tests::promql::{Selector, selectors};
use serde_json::Value;

/// As Grafana would choose it for a scrape every second.
const RATE_INTERVAL: &str = "8s";
/// A query that does not show what it should.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    pub(crate) dashboard: String,
    pub(crate) title: String,
    pub(crate) expression: String,
    pub(crate) why: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dashboard,
            title,
            expression,
            why,
        } = self;
        write!(f, "{dashboard}, {title}: {why}\n    {expression}")
    }
}

/// All of them at once.
pub(crate) fn report(failures: &[Failure]) -> String {
    let lines: Vec<_> = failures.iter().map(ToString::to_string).collect();
    format!("{} queries fail:\n{}", failures.len(), lines.join("\n"))
}

/// A Prometheus and the time that it is asked about.
pub(crate) struct Asker<'a> {
    prometheus: &'a Prometheus,
    window: (f64, f64),
    log: &'a [Line],
}

impl<'a> Asker<'a> {
    pub(crate) fn new(prometheus: &'a Prometheus, window: (f64, f64), log: &'a [Line]) -> Self {
        Self {
            prometheus,
            window,
            log,
        }
    }

    /// The queries of a dashboard that fail, be it that nothing is returned.
    pub(crate) async fn failures(&self, dashboard: &Dashboard) -> Vec<Failure> {
        let values = self.values(dashboard);
        let mut failures = Vec::new();
        for query in dashboard.queries() {
            let mut problems = match interpolate(&query.expression, &values) {
                Err(unknown) => vec![unknown],
                Ok(expression) => match query.language {
                    Language::PromQl => self.promql(&query, &expression).await,
                    Language::LogQl => self.logql(&query, &expression),
                },
            };
            problems.dedup();
            failures.extend(problems.into_iter().map(|why| Failure {
                dashboard: query.dashboard.clone(),
                title: query.title.clone(),
                expression: query.expression.clone(),
                why,
            }));
        }
        failures
    }

    /// What the variables stand for: as the dashboard is opened, for the time of the run.
    pub(crate) fn values(&self, dashboard: &Dashboard) -> BTreeMap<String, String> {
        let mut values = dashboard.chosen();
        let range = format!("{}s", self.window.1 - self.window.0);
        for (name, value) in [
            ("__rate_interval", RATE_INTERVAL),
            ("__interval", RATE_INTERVAL),
            ("__auto", RATE_INTERVAL),
            ("__range", &*range),
        ] {
            values.insert(name.to_owned(), value.to_owned());
        }
        values
    }

    async fn promql(&self, query: &Query, expression: &str) -> Vec<String> {
        if query.place == Place::Variable {
            return self.variable(expression).await;
        }
        let mut problems = self.selected(&selectors(expression)).await;
        match self.ask(query.instant, expression).await {
            Err(error) => problems.push(error),
            Ok(series) if series.iter().any(has_numbers) => {}
            Ok(_) => problems.push("no data".into()),
        }
        problems
    }

    /// The series of a query, for all of the run or at its end.
    pub(crate) async fn ask(&self, instant: bool, expression: &str) -> Result<Vec<Value>, String> {
        if instant {
            let at = Some(self.window.1);
            self.prometheus.query(expression, at).await
        } else {
            // As many points as a small panel has room for.
            let step = ((self.window.1 - self.window.0) / 120.0).ceil();
            self.prometheus
                .query_range(expression, self.window, step)
                .await
        }
    }

    async fn variable(&self, expression: &str) -> Vec<String> {
        let Some((series, label)) = label_values(expression) else {
            return vec!["not label_values(series, label)".into()];
        };
        let values: BTreeSet<_> = match self.series(series).await {
            Err(error) => return vec![error],
            Ok(series) => series.iter().map(|series| text(&series[label])).collect(),
        };
        if values.iter().all(String::is_empty) {
            return vec!["no values".into()];
        }
        Vec::new()
    }

    /// What no series answers to. Also where the query has something to show without it: `or vector(0)` is for what did
    /// not happen, not for what nobody measures.
    pub(crate) async fn selected(&self, selectors: &[Selector]) -> Vec<String> {
        let mut problems = Vec::new();
        for selector in selectors {
            // What has no name looks for a trait of any metric.
            let Some(metric) = &selector.metric else {
                continue;
            };
            // Prometheus's own, and only there while an alert is.
            if metric == "ALERTS" {
                continue;
            }
            let series = match self.series(metric).await {
                Ok(series) => series,
                Err(error) => {
                    problems.push(error);
                    continue;
                }
            };
            if series.is_empty() {
                problems.push(format!("no metric {metric}"));
                continue;
            }
            let missing = |label: &&String| series.iter().all(|series| series[*label].is_null());
            let mut labels = selector.matchers.iter().map(|(label, ..)| label);
            if let Some(label) = labels.find(missing) {
                problems.push(format!("{metric} has no label {label}"));
                continue;
            }
            match self.series(&selector.to_string()).await {
                Err(error) => problems.push(error),
                Ok(series) if series.is_empty() => problems.push(format!("no series {selector}")),
                Ok(_) => {}
            }
        }
        problems
    }

    async fn series(&self, selector: &str) -> Result<Vec<Value>, String> {
        let (start, end) = (self.window.0.to_string(), self.window.1.to_string());
        let parameters = [("match[]", selector), ("start", &start), ("end", &end)];
        let found = self.prometheus.call("/api/v1/series", &parameters).await?;
        Ok(list(&found).to_vec())
    }

    fn logql(&self, query: &Query, expression: &str) -> Vec<String> {
        if query.place == Place::Variable {
            let Some((stream, label)) = label_values(expression) else {
                return vec!["not label_values(stream, label)".into()];
            };
            let known = logql::LABELS.contains(&label);
            let found = self.log.iter().any(|line| !line.field(label).is_empty());
            if !known || !found {
                return vec![format!("no line of {stream} has the label {label}")];
            }
            return self.pipelines(stream);
        }
        self.pipelines(expression)
    }

    fn pipelines(&self, expression: &str) -> Vec<String> {
        match logql::parse(expression) {
            Err(error) => vec![error],
            Ok(pipelines) => pipelines
                .iter()
                .flat_map(|pipeline| {
                    let mut problems = pipeline.problems(self.log);
                    // The shop's handlers never fail, and to count none of a class that exists is right.
                    if expression.ends_with(" or vector(0)")
                        && pipeline.wants("class", Class::ServerError.as_str())
                    {
                        problems.retain(|problem| problem != NOTHING_PASSES);
                    }
                    problems
                })
                .collect(),
        }
    }
}

fn has_numbers(series: &Value) -> bool {
    let points = list(&series["values"]);
    let single = std::slice::from_ref(&series["value"]);
    points
        .iter()
        .chain(single)
        .any(|point| point[1].as_str().is_some_and(|number| number != "NaN"))
}
