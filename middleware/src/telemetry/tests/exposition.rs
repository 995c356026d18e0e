//! A reader of the Prometheus text format, version 0.0.4, that takes nothing for granted.
use std::collections::BTreeMap;

use super::super::Telemetry;

/// One metric with its samples.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(super) struct Sample {
    /// With the suffix of a histogram's samples.
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

#[derive(Debug)]
pub(super) struct Exposition(pub(super) BTreeMap<String, Family>);

pub(super) fn telemetry() -> Telemetry {
    Telemetry::builder("shop").build().unwrap()
}

pub(super) async fn scrape(telemetry: &Telemetry) -> Exposition {
    let text = telemetry.prometheus().unwrap().scrape().await.unwrap();
    Exposition::parse(str::from_utf8(&text).unwrap())
}

impl Exposition {
    pub(super) fn parse(text: &str) -> Self {
        let mut families = BTreeMap::<String, Family>::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                let family = families.entry(name.into()).or_default();
                assert!(family.help.is_empty(), "a second HELP: {line}");
                family.help = help.into();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                let family = families.entry(name.into()).or_default();
                assert!(family.kind.is_empty(), "a second TYPE: {line}");
                family.kind = kind.into();
            } else {
                let sample = Sample::parse(line);
                let family = families
                    .iter_mut()
                    .find(|(name, family)| sample.belongs_to(name, &family.kind));
                family.expect(line).1.samples.push(sample);
            }
        }
        Self(families)
    }

    /// The values of the samples of that name that have all these labels, among others.
    pub(super) fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|it| it == value))
            })
            .map(|sample| sample.value)
            .collect()
    }

    /// The label sets of the samples of that name.
    pub(super) fn labels(&self, name: &str) -> Vec<Vec<(&str, &str)>> {
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples
            .filter(|sample| sample.name == name)
            .map(|sample| {
                let labels = sample.labels.iter();
                labels.map(|(key, value)| (&**key, &**value)).collect()
            })
            .collect()
    }

    /// The number of samples in all.
    pub(super) fn series(&self) -> usize {
        self.0.values().map(|family| family.samples.len()).sum()
    }
}

impl Sample {
    fn belongs_to(&self, family: &str, kind: &str) -> bool {
        match self.name.strip_prefix(family) {
            Some("") => kind != "histogram",
            Some("_bucket" | "_sum" | "_count") => kind == "histogram",
            _ => false,
        }
    }

    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        Self {
            name: name.into(),
            labels: parse_labels(labels),
            value: value.parse().unwrap(),
        }
    }
}

fn parse_labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next().unwrap() {
                (end, '"') => break end,
                (_, '\\') => match characters.next().unwrap().1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (_, plain) => value.push(plain),
            }
        };
        assert!(labels.insert(key.into(), value).is_none(), "{key} twice");
        text = rest[end + 1..].trim_start_matches(',');
    }
    labels
}
