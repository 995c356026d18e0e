//! Which series a PromQL expression asks for.
//!
//! Prometheus itself judges whether an expression is right; this only finds the selectors in it, whose names and matchers
//! the conventions are about.

use std::fmt::{self, Display};

/// `name{label=~"value"}[5m]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name, where it has one.
    pub metric: Option<String>,
    /// Label, operator, value.
    pub matchers: Vec<(String, String, String)>,
    /// What stands between the square brackets, if any do.
    pub range: Option<String>,
}

impl Selector {
    /// Whether it has this matcher.
    #[must_use]
    pub fn has(&self, label: &str, operator: &str, value: &str) -> bool {
        self.matchers
            .iter()
            .any(|(l, o, v)| (&**l, &**o, &**v) == (label, operator, value))
    }
}

impl Display for Selector {
    /// Without what stands between square brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{", self.metric.as_deref().unwrap_or_default())?;
        for (label, operator, value) in &self.matchers {
            write!(f, "{label}{operator}{value:?},")?;
        }
        f.write_str("}")
    }
}

/// Words before a parenthesis of labels, which are no metrics.
const GROUPINGS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const WORDS: [&str; 19] = [
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "inf",
    "nan",
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "topk",
    "bottomk",
    "quantile",
    "stddev",
    "stdvar",
    "count_values",
];

/// The selectors of an expression, from left to right.
///
/// # Panics
/// A string or a bracket has no end.
#[must_use]
pub fn selectors(expression: &str) -> Vec<Selector> {
    let mut reader = Reader {
        rest: expression,
        whole: expression,
    };
    let mut found = Vec::new();
    while let Some(c) = reader.rest.chars().next() {
        match c {
            '"' | '\'' | '`' => {
                reader.string();
            }
            '#' => {
                let end = reader.rest.find('\n').unwrap_or(reader.rest.len());
                reader.rest = &reader.rest[end..];
            }
            '$' => {
                reader.rest = &reader.rest[1..];
                if reader.rest.starts_with('{') {
                    reader.bracketed('}');
                } else {
                    reader.word();
                }
            }
            '0'..='9' => {
                reader.take(|c| c.is_ascii_alphanumeric() || c == '.');
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let word = reader.word();
                if GROUPINGS.contains(&word.to_ascii_lowercase().as_str()) {
                    if reader.next_is('(') {
                        reader.bracketed(')');
                    }
                } else if !WORDS.contains(&word.to_ascii_lowercase().as_str())
                    && !reader.next_is('(')
                {
                    found.push(reader.selector(Some(word.to_owned())));
                }
            }
            '{' => found.push(reader.selector(None)),
            _ => reader.rest = &reader.rest[c.len_utf8()..],
        }
    }
    found
}

struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !of(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> &'a str {
        self.take(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    }

    /// Skips blanks, and tells whether this comes then.
    fn next_is(&mut self, wanted: char) -> bool {
        self.take(char::is_whitespace);
        self.rest.starts_with(wanted)
    }

    /// Skips a bracket that begins here, and returns what it holds.
    fn bracketed(&mut self, end: char) -> &'a str {
        let Some(at) = self.rest.find(end) else {
            panic!("no {end:?} in {}", self.whole)
        };
        let inside = &self.rest[1..at];
        self.rest = &self.rest[at + end.len_utf8()..];
        inside
    }

    /// Skips a string that begins here, and returns what it stands for.
    fn string(&mut self) -> String {
        let (text, length) = quoted(self.rest)
            .unwrap_or_else(|| panic!("a string without an end in {}", self.whole));
        self.rest = &self.rest[length..];
        text
    }

    fn selector(&mut self, metric: Option<String>) -> Selector {
        let mut selector = Selector {
            metric,
            matchers: Vec::new(),
            range: None,
        };
        if self.next_is('{') {
            self.rest = &self.rest[1..];
            while !self.next_is('}') {
                assert!(!self.rest.is_empty(), "no '}}' in {}", self.whole);
                let label = self.word().to_owned();
                self.take(char::is_whitespace);
                let operator = self.take(|c| "=!~".contains(c)).to_owned();
                self.take(char::is_whitespace);
                let value = self.string();
                selector.matchers.push((label, operator, value));
                if self.next_is(',') {
                    self.rest = &self.rest[1..];
                }
            }
            self.rest = &self.rest[1..];
        }
        if self.next_is('[') {
            selector.range = Some(self.bracketed(']').to_owned());
        }
        selector
    }
}

/// The string at the beginning of a text, and how many bytes it takes there; backticks quote without escapes.
pub(crate) fn quoted(text: &str) -> Option<(String, usize)> {
    let quote = text.chars().next()?;
    let (mut found, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            found.push(match c {
                'n' => '\n',
                't' => '\t',
                c => c,
            });
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            return Some((found, at + 1));
        } else {
            found.push(c);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(expression: &str) -> Vec<String> {
        let found = selectors(expression);
        found
            .iter()
            .map(|selector| format!("{selector}{:?}", selector.range))
            .collect()
    }

    #[test]
    fn finds_every_selector_and_nothing_else() {
        let expression = r#"
            # a_comment{x="y"}
            histogram_quantile(0.99, sum by (le, route) (rate(b_bucket{job=~"$job", le!="+Inf"}[$__rate_interval])))
              / on (job) group_left (a) (c:d:e offset 1w > bool 5 or vector(0)) unless sum(f{}) by (g)
              and label_replace({h="i}\"j"}, "k", "$1", "l", "(.*)") + k[5m:1m] + $l * ${m:text} + 1e5"#;
        assert_eq!(
            read(expression),
            [
                r#"b_bucket{job=~"$job",le!="+Inf",}Some("$__rate_interval")"#,
                "c:d:e{}None",
                "f{}None",
                r#"{h="i}\"j",}None"#,
                r#"k{}Some("5m:1m")"#,
            ]
        );
    }
}
