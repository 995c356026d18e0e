//! Grafana's dashboards as they lie in the repository: their panels, variables and queries.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::repository;

/// One dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// The file's name without its ending, which is the dashboard's uid.
    pub name: String,
    /// The file's content.
    pub json: Value,
}

/// Where a query stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A panel draws it.
    Panel,
    /// A variable takes its values from it.
    Variable,
    /// It marks moments in every panel.
    Annotation,
}

/// Which language a query is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Prometheus's.
    PromQl,
    /// Loki's.
    LogQl,
}

/// One query of a dashboard.
#[derive(Debug, Clone)]
pub struct Query {
    /// The dashboard's name.
    pub dashboard: String,
    /// Where it stands there.
    pub place: Place,
    /// The title of the panel, the name of the variable or of the annotation.
    pub title: String,
    /// The panel's number; 0 for others.
    pub panel: u64,
    /// What the series are called.
    pub legend: String,
    /// Which language it is in.
    pub language: Language,
    /// The query with its variables still in it.
    pub expression: String,
    /// Whether it is asked for one moment, not for a span of time.
    pub instant: bool,
}

impl Dashboard {
    /// The dashboards of the repository.
    ///
    /// # Panics
    /// One is no JSON.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let read = |file: String| {
            let name = file.rsplit('/').next().unwrap_or_default();
            let json = serde_json::from_str(&repository::text(&file));
            Self {
                name: name.trim_end_matches(".json").to_owned(),
                json: json.unwrap_or_else(|error| panic!("{file}: {error}")),
            }
        };
        let files = repository::files("grafana/dashboards", ".json");
        files.into_iter().map(read).collect()
    }

    /// The panels, those of collapsed rows and the rows themselves included.
    #[must_use]
    pub fn panels(&self) -> Vec<&Value> {
        let mut found = Vec::new();
        for panel in list(&self.json["panels"]) {
            found.push(panel);
            found.extend(list(&panel["panels"]));
        }
        found
    }

    /// The variables.
    #[must_use]
    pub fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// The annotations that ask something.
    pub fn annotations(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["annotations"]["list"])
            .iter()
            .filter(|annotation| annotation["builtIn"] != 1)
    }

    /// Every query, in the order of the file.
    ///
    /// # Panics
    /// A query has no datasource or no text.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        let mut found = Vec::new();
        for variable in self.variables() {
            if variable["type"] == "query" {
                found.push(self.query(
                    Place::Variable,
                    variable,
                    variable,
                    variable_query(variable),
                ));
            }
        }
        for annotation in self.annotations() {
            let text = text(&annotation["expr"]);
            found.push(self.query(Place::Annotation, annotation, annotation, text));
        }
        for panel in self.panels() {
            for target in list(&panel["targets"]) {
                let text = text(&target["expr"]);
                found.push(self.query(Place::Panel, panel, target, text));
            }
        }
        found
    }

    fn query(&self, place: Place, of: &Value, target: &Value, expression: String) -> Query {
        let title = text(of.get("title").unwrap_or(&of["name"]));
        let language = match target["datasource"]["type"].as_str() {
            Some("prometheus") => Language::PromQl,
            Some("loki") => Language::LogQl,
            other => panic!("{}, {title}: no datasource but {other:?}", self.name),
        };
        assert!(!expression.is_empty(), "{}, {title}: no query", self.name);
        Query {
            dashboard: self.name.clone(),
            place,
            title,
            panel: of["id"].as_u64().unwrap_or_default(),
            legend: text(&target["legendFormat"]),
            language,
            expression,
            instant: target["instant"] == true || target["queryType"] == "instant",
        }
    }

    /// The values of the variables that the file itself tells: what is chosen when the dashboard is opened.
    ///
    /// `All` is what Grafana puts there: the variable's `allValue`.
    ///
    /// # Panics
    /// All is chosen, and the variable does not say what that is.
    #[must_use]
    pub fn chosen(&self) -> BTreeMap<String, String> {
        let value = |variable: &Value| {
            let current = &variable["current"]["value"];
            let first = list(current).first().unwrap_or(current);
            if first != "$__all" {
                return text(first);
            }
            let all = text(&variable["allValue"]);
            assert!(
                !all.is_empty(),
                "{}: All of {variable} is unknown",
                self.name
            );
            all
        };
        self.variables()
            .iter()
            .map(|variable| (text(&variable["name"]), value(variable)))
            .collect()
    }
}

/// What a variable asks its datasource, as it would be typed.
fn variable_query(variable: &Value) -> String {
    let query = &variable["query"];
    if let Some(stream) = query["stream"].as_str() {
        return format!("label_values({stream}, {})", text(&query["label"]));
    }
    text(query.get("query").unwrap_or(query))
}

/// A label that a variable lists, and the series that it is taken from: `label_values(series, label)`.
#[must_use]
pub fn label_values(query: &str) -> Option<(&str, &str)> {
    let inside = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (series, label) = inside.rsplit_once(',')?;
    Some((series.trim(), label.trim()))
}

/// The names of the variables that a text uses: `$name`, `${name}`, `${name:format}`.
///
/// # Panics
/// Never: the pattern is right.
#[must_use]
pub fn variables_in(text: &str) -> Vec<String> {
    let pattern = Regex::new(r"\$(?:(\w*[A-Za-z_]\w*)|\{(\w+)(?::\w+)?\})").expect("a pattern");
    pattern
        .captures_iter(text)
        .filter_map(|found| found.get(1).or_else(|| found.get(2)))
        .map(|name| name.as_str().to_owned())
        .collect()
}

/// The text with the variables' values in their places.
///
/// # Errors
/// The first variable that has none.
///
/// # Panics
/// Never: the pattern is right.
pub fn interpolate(text: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    for name in variables_in(text) {
        if !values.contains_key(&name) {
            return Err(format!("no variable ${name}"));
        }
    }
    let pattern = Regex::new(r"\$(?:(\w*[A-Za-z_]\w*)|\{(\w+)(?::\w+)?\})").expect("a pattern");
    let value = |found: &regex::Captures<'_>| {
        let name = found.get(1).or_else(|| found.get(2));
        name.map_or_else(String::new, |name| values[name.as_str()].clone())
    };
    Ok(pattern.replace_all(text, value).into_owned())
}

/// An array's items; none of anything else.
#[must_use]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A string's text; empty for anything else.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
