//! The text that Prometheus scrapes.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape, parsed.
#[derive(Debug, Default)]
pub struct Scrape {
    /// `# TYPE` by metric family.
    pub types: BTreeMap<String, String>,
    /// `# HELP` by metric family.
    pub help: BTreeMap<String, String>,
    /// Every sample.
    pub samples: Vec<Sample>,
}

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name, with `_bucket`, `_sum` or `_count` where it has one.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Scrape {
    /// Parses the text format 0.0.4.
    ///
    /// # Panics
    /// The text is not in that format.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (kind, name) = (words.next(), words.next().unwrap_or_default().to_owned());
                let text = words.next().unwrap_or_default().to_owned();
                match kind {
                    Some("TYPE") => assert!(
                        scrape.types.insert(name, text).is_none(),
                        "two types: {line}"
                    ),
                    Some("HELP") => assert!(
                        scrape.help.insert(name, text).is_none(),
                        "two helps: {line}"
                    ),
                    _ => {}
                }
            } else {
                scrape.samples.push(Sample::parse(line));
            }
        }
        scrape
    }

    /// The sum of the samples of a name that have all of these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The samples of a name that have all of these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample| {
            labels
                .iter()
                .all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        self.samples
            .iter()
            .filter(move |sample| sample.name == name && has(sample))
    }

    /// Every series, without its value.
    #[must_use]
    pub fn series(&self) -> BTreeSet<String> {
        self.samples
            .iter()
            .map(|sample| format!("{}{:?}", sample.name, sample.labels))
            .collect()
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line
            .rsplit_once(' ')
            .unwrap_or_else(|| panic!("no value: {line}"));
        let value = value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        let Some((name, rest)) = series.split_once('{') else {
            return Self {
                name: series.to_owned(),
                labels: BTreeMap::new(),
                value,
            };
        };
        let mut labels = BTreeMap::new();
        let mut rest = rest
            .strip_suffix('}')
            .unwrap_or_else(|| panic!("no end of labels: {line}"));
        while let Some((key, after)) = rest.split_once("=\"") {
            let (mut text, mut escaped, mut end) = (String::new(), false, None);
            for (at, c) in after.char_indices() {
                match (escaped, c) {
                    (false, '\\') => escaped = true,
                    (false, '"') => {
                        end = Some(at);
                        break;
                    }
                    (true, 'n') => {
                        text.push('\n');
                        escaped = false;
                    }
                    _ => {
                        text.push(c);
                        escaped = false;
                    }
                }
            }
            let end = end.unwrap_or_else(|| panic!("no end of a label: {line}"));
            assert!(
                labels.insert(key.to_owned(), text).is_none(),
                "a label twice: {line}"
            );
            rest = after[end + 1..].trim_start_matches(',');
        }
        Self {
            name: name.to_owned(),
            labels,
            value,
        }
    }
}
