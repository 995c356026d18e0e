//! One panel: what its JSON says about looks, and what was answered to its queries.

use palisade_tests::dashboard::{list, text};
use regex::Regex;
use serde_json::Value;

use crate::picture::{PALETTE, named};

/// A line of a panel.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) colour: String,
    pub(crate) is_dashed: bool,
    pub(crate) labels: Value,
    /// Which of the panel's queries it answers.
    pub(crate) query: usize,
    /// Seconds since 1970, value.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    /// The last value that is a number.
    pub(crate) fn last(&self) -> Option<f64> {
        let mut numbers = self.points.iter().rev().map(|point| point.1);
        numbers.find(|value| value.is_finite())
    }
}

pub(crate) struct Panel<'a> {
    pub(crate) json: &'a Value,
    pub(crate) title: String,
    pub(crate) series: Vec<Series>,
    pub(crate) window: (f64, f64),
}

impl<'a> Panel<'a> {
    pub(crate) fn new(json: &'a Value, answers: &[Value], window: (f64, f64)) -> Self {
        let mut panel = Self {
            json,
            title: text(&json["title"]),
            series: Vec::new(),
            window,
        };
        let mine = answers
            .iter()
            .filter(|answer| answer["panel"] == json["id"]);
        for (query, answer) in mine.enumerate() {
            for series in list(&answer["series"]) {
                let name = name(&text(&answer["legend"]), &series["metric"]);
                let colour = PALETTE[panel.series.len() % PALETTE.len()];
                let colour = panel
                    .overridden(&name, "color")
                    .and_then(|colour| colour["fixedColor"].as_str())
                    .map_or(colour, named);
                panel.series.push(Series {
                    colour: colour.to_owned(),
                    is_dashed: panel.overridden(&name, "custom.lineStyle").is_some(),
                    name,
                    labels: series["metric"].clone(),
                    query,
                    points: points(series),
                });
            }
        }
        panel
    }

    pub(crate) fn defaults(&self) -> &Value {
        &self.json["fieldConfig"]["defaults"]
    }

    pub(crate) fn custom(&self) -> &Value {
        &self.defaults()["custom"]
    }

    pub(crate) fn unit(&self) -> String {
        text(&self.defaults()["unit"])
    }

    /// What a field of this name has instead of the default.
    pub(crate) fn overridden(&self, name: &str, property: &str) -> Option<&'a Value> {
        let overrides = &self.json["fieldConfig"]["overrides"];
        list(overrides)
            .iter()
            .filter(|change| {
                let wanted = text(&change["matcher"]["options"]);
                match change["matcher"]["id"].as_str() {
                    Some("byName") => wanted == name,
                    Some("byRegexp") => Regex::new(&format!("^(?:{wanted})$"))
                        .is_ok_and(|pattern| pattern.is_match(name)),
                    _ => false,
                }
            })
            .flat_map(|change| list(&change["properties"]))
            .find(|change| change["id"] == property)
            .map(|change| &change["value"])
    }

    /// The colour that the thresholds give a value.
    pub(crate) fn judged(&self, value: f64) -> &'a str {
        let steps = list(&self.json["fieldConfig"]["defaults"]["thresholds"]["steps"]);
        steps
            .iter()
            .filter(|step| step["value"].as_f64().is_none_or(|least| value >= least))
            .filter_map(|step| step["color"].as_str())
            .next_back()
            .map_or("#73bf69", named)
    }

    pub(crate) fn decimals(&self) -> Option<usize> {
        let decimals = self.defaults()["decimals"].as_u64()?;
        usize::try_from(decimals).ok()
    }
}

/// `{{label}}` in a legend stands for the label's value.
fn name(legend: &str, labels: &Value) -> String {
    if legend == "__auto" || legend.is_empty() {
        let values = labels.as_object().into_iter().flatten();
        let values: Vec<_> = values.map(|(_, value)| text(value)).collect();
        return values.join(" ");
    }
    let label = Regex::new(r"\{\{\s*(\w+)\s*\}\}").expect("a pattern");
    let name = label.replace_all(legend, |found: &regex::Captures<'_>| {
        text(&labels[&found[1]])
    });
    let name = name.trim();
    if name.is_empty() { "none" } else { name }.to_owned()
}

fn points(series: &Value) -> Vec<(f64, f64)> {
    let single = std::slice::from_ref(&series["value"]);
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?));
    let points = list(&series["values"]).iter().chain(single);
    points.filter_map(point).collect()
}
