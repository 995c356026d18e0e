//! A reader of Loki's queries, as far as the dashboards use them, that holds them against lines of a log.
//!
//! Loki cannot be had here. What can go wrong with a query is mostly a label that the lines do not have, a field that was
//! renamed, a filter that nothing passes: that can be told from the lines alone.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

use crate::promql::quoted;

/// The labels of a stream; everything else stays in the line.
pub const LABELS: [&str; 4] = ["service", "level", "event", "segment"];

/// The problem of a query whose filters hold for no line; none, if what it counts need not have happened.
pub const NOTHING_PASSES: &str = "no selected line passes the filters";

/// What may stand before a parenthesis.
const FUNCTIONS: [&str; 14] = [
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "topk",
    "bottomk",
    "rate",
    "count_over_time",
    "sum_over_time",
    "max_over_time",
    "quantile_over_time",
    "vector",
    "by",
];

/// A selection of streams and what happens to their lines.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// Label, operator, value.
    pub selector: Vec<Match>,
    /// Filters of the line's text: operator, pattern.
    pub lines: Vec<(String, String)>,
    /// Whether the line is read as JSON.
    pub json: bool,
    /// Filters of labels and fields.
    pub filters: Vec<Match>,
    /// Fields that are written out, unwrapped or grouped by.
    pub fields: BTreeSet<String>,
}

/// `name=~"value"`.
#[derive(Debug, Clone)]
pub struct Match {
    name: String,
    operator: String,
    value: String,
}

/// Reads a query, whose variables are filled in.
///
/// # Errors
/// What is wrong with it.
pub fn parse(query: &str) -> Result<Vec<Pipeline>, String> {
    let mut reader = Reader { rest: query };
    let (mut found, mut open) = (Vec::new(), 0_usize);
    let mut grouped = BTreeSet::new();
    while let Some(c) = reader.peek() {
        match c {
            '{' => found.push(reader.pipeline()?),
            '(' => {
                open += 1;
                reader.skip(1);
            }
            ')' => {
                open = open
                    .checked_sub(1)
                    .ok_or("a parenthesis too many is closed")?;
                reader.skip(1);
            }
            '[' => {
                reader.until(']')?;
            }
            c if c.is_ascii_alphabetic() => {
                let word = reader.word();
                if word == "by" || word == "without" {
                    let names = reader.parenthesis()?;
                    grouped.extend(names.split(',').map(|name| name.trim().to_owned()));
                } else if reader.peek() == Some('(') && !FUNCTIONS.contains(&word) {
                    return Err(format!("no function {word}"));
                }
            }
            c => reader.skip(c.len_utf8()),
        }
    }
    if open > 0 {
        return Err("a parenthesis is not closed".into());
    }
    if found.is_empty() {
        return Err("no stream is selected".into());
    }
    for pipeline in &mut found {
        pipeline.fields.extend(grouped.iter().cloned());
    }
    Ok(found)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn word(&mut self) -> &'a str {
        self.peek();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn eat(&mut self, token: &str) -> bool {
        self.peek();
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn until(&mut self, end: char) -> Result<&'a str, String> {
        let (inside, rest) = self
            .rest
            .split_once(end)
            .ok_or_else(|| format!("no {end:?} after {:?}", self.rest))?;
        self.rest = rest;
        Ok(inside)
    }

    fn parenthesis(&mut self) -> Result<&'a str, String> {
        if self.eat("(") {
            self.until(')')
        } else {
            Err(format!("no parenthesis before {:?}", self.rest))
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let quote = self.peek();
        if !matches!(quote, Some('"' | '`')) {
            return Err(format!("no string before {:?}", self.rest));
        }
        let (text, length) = quoted(self.rest).ok_or("a string has no end")?;
        self.skip(length);
        Ok(text)
    }

    fn operator(&mut self, operators: &[&'static str]) -> Result<String, String> {
        let found = operators.iter().find(|operator| self.eat(operator));
        found.map_or_else(
            || Err(format!("none of {operators:?} before {:?}", self.rest)),
            |operator| Ok((*operator).to_owned()),
        )
    }

    fn matching(&mut self) -> Result<Match, String> {
        let name = self.word().to_owned();
        let operator = self.operator(&["=~", "!~", "!=", "="])?;
        let value = self.text()?;
        if operator.ends_with('~') {
            Regex::new(&value).map_err(|error| error.to_string())?;
        }
        Ok(Match {
            name,
            operator,
            value,
        })
    }

    fn pipeline(&mut self) -> Result<Pipeline, String> {
        let mut pipeline = Pipeline::default();
        self.skip(1);
        while !self.eat("}") {
            pipeline.selector.push(self.matching()?);
            if !self.eat(",") && self.peek() != Some('}') {
                return Err(format!("neither ',' nor '}}' before {:?}", self.rest));
            }
        }
        loop {
            if let Some(operator) = ["|=", "|~", "!=", "!~"]
                .into_iter()
                .find(|operator| self.eat(operator))
            {
                let pattern = self.text()?;
                pipeline.lines.push((operator.to_owned(), pattern));
            } else if self.eat("|") {
                self.stage(&mut pipeline)?;
            } else {
                return Ok(pipeline);
            }
        }
    }

    fn stage(&mut self, pipeline: &mut Pipeline) -> Result<(), String> {
        let before = self.rest;
        match self.word() {
            "json" => pipeline.json = true,
            "unwrap" => {
                let field = self.word().to_owned();
                pipeline.fields.insert(field);
            }
            "line_format" => {
                let template = self.text()?;
                let field = Regex::new(r"\.(\w+)").map_err(|error| error.to_string())?;
                let code = Regex::new(r"\{\{([^}]*)\}\}").map_err(|error| error.to_string())?;
                for code in code.captures_iter(&template) {
                    let named = field.captures_iter(&code[1]);
                    pipeline.fields.extend(named.map(|name| name[1].to_owned()));
                }
            }
            _ => {
                self.rest = before;
                pipeline.filters.push(self.matching()?);
            }
        }
        Ok(())
    }
}

impl Match {
    fn holds(&self, found: &str) -> bool {
        let whole = || Regex::new(&format!("^(?:{})$", self.value));
        match self.operator.as_str() {
            "=" => found == self.value,
            "!=" => found != self.value,
            "=~" => whole().is_ok_and(|pattern| pattern.is_match(found)),
            _ => whole().is_ok_and(|pattern| !pattern.is_match(found)),
        }
    }
}

/// A line of a log, with the labels that Alloy would give it.
#[derive(Debug)]
pub struct Line {
    text: String,
    fields: Map<String, Value>,
}

impl Line {
    /// Reads a line of JSON; anything else is no line of the log.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
        fields.insert("service".into(), "webstore".into());
        Some(Self {
            text: text.to_owned(),
            fields,
        })
    }

    /// A field's text, empty where there is none, as Loki treats what is absent.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        match self.fields.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

impl Pipeline {
    /// What is wrong with it, given the lines of a log in which everything happened that it asks for.
    #[must_use]
    pub fn problems(&self, lines: &[Line]) -> Vec<String> {
        let mut problems = Vec::new();
        for label in &self.selector {
            if !LABELS.contains(&&*label.name) {
                problems.push(format!("{} is no label", label.name));
            }
        }
        let selected: Vec<_> = lines
            .iter()
            .filter(|line| self.selector.iter().all(|m| m.holds(&line.field(&m.name))))
            .collect();
        if selected.is_empty() {
            problems.push("no line is in the selected streams".into());
            return problems;
        }
        let filtered = self.filters.iter().map(|filter| &filter.name);
        for field in filtered.chain(&self.fields) {
            // Loki's own, which is empty where nothing failed.
            if field == "__error__" {
                continue;
            }
            let is_label = LABELS.contains(&&**field);
            if !self.json && !is_label {
                problems.push(format!("{field} is used without `| json`"));
            } else if !is_label && selected.iter().all(|line| line.field(field).is_empty()) {
                problems.push(format!("no selected line has the field {field}"));
            }
        }
        if !selected.iter().any(|line| self.passes(line)) {
            problems.push(NOTHING_PASSES.into());
        }
        problems
    }

    /// Whether it filters by a field that must have this value.
    #[must_use]
    pub fn wants(&self, field: &str, value: &str) -> bool {
        self.filters
            .iter()
            .any(|m| (&*m.name, &*m.operator, &*m.value) == (field, "=", value))
    }

    fn passes(&self, line: &Line) -> bool {
        let text = |(operator, pattern): &(String, String)| {
            let found = match operator.as_str() {
                "|=" | "!=" => line.text.contains(pattern),
                _ => Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(&line.text)),
            };
            found != operator.starts_with('!')
        };
        self.lines.iter().all(text) && self.filters.iter().all(|m| m.holds(&line.field(&m.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(query: &str) -> Vec<String> {
        let lines = [
            r#"{"level":"INFO","event":"access","class":"ok","route":"/x","represents":3}"#,
            r#"{"level":"WARN","event":"client_banned","client":"192.0.2.1","segment":"vip"}"#,
            "not a line of the log",
        ];
        let lines: Vec<_> = lines.iter().filter_map(|line| Line::read(line)).collect();
        match parse(query) {
            Err(error) => vec![error],
            Ok(found) => found
                .iter()
                .flat_map(|pipeline| pipeline.problems(&lines))
                .collect(),
        }
    }

    #[test]
    fn takes_what_lines_answer_to() {
        for query in [
            r#"{service="webstore", event=~"client_.*|other"} |= "192" | json | client!="" | line_format `{{.event}}{{if .client}} {{.client}}{{end}}`"#,
            r#"topk(10, sum by (route) (sum_over_time({event="access", segment=~".*"} | json | class=~"ok|refused" | unwrap represents | __error__="" [5m])))"#,
            r#"sum(count_over_time({segment="vip", level!="INFO"} !~ "(?i)nothing" [1m])) or vector(0)"#,
        ] {
            assert_eq!(problems(query), [""; 0], "{query}");
        }
    }

    #[test]
    fn says_what_no_line_answers_to() {
        for (query, problem) in [
            (r#"{route="/x"}"#, "route is no label"),
            (r#"{event="acess"}"#, "no line is in the selected streams"),
            (
                r#"{event="access"} | class="ok""#,
                "class is used without `| json`",
            ),
            (
                r#"{event="access"} | json | klass="ok""#,
                "no selected line has the field klass",
            ),
            (
                r#"{event="access"} | json | class="refused""#,
                "no selected line passes the filters",
            ),
            (
                r#"{event="access"} |= "vip""#,
                "no selected line passes the filters",
            ),
            (
                r#"sum by (rout) (rate({event="access"} | json [1m]))"#,
                "no selected line has the field rout",
            ),
            (r#"sum(rte({event="access"}[1m]))"#, "no function rte"),
            (
                r#"sum(rate({event="access"}[1m])"#,
                "a parenthesis is not closed",
            ),
            (
                r#"{event="access" segment="vip"}"#,
                "neither ',' nor '}' before",
            ),
            ("vector(0)", "no stream is selected"),
        ] {
            let found = problems(query);
            assert!(
                found.iter().any(|found| found.starts_with(problem)),
                "{query}: {found:?}"
            );
        }
    }
}
