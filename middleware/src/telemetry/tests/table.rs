//! Every instrument, held to the rules of OpenTelemetry, Prometheus and the exporter between them.
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, CountVisitors};
use crate::funnel::{Stage, Steps};
use crate::model::metrics::{Durations, Instrument, InstrumentKind, Meters, Metrics};
use crate::server::Server;
use crate::stack::Stack;
use crate::store;
use crate::store::metrics;
use crate::telemetry::http;

/// The instruments of what it is given.
struct Given(RefCell<Vec<&'static Instrument>>);

impl Meters for Given {
    fn watch<T: Metrics>(&self, _: &Arc<T>) {
        let instruments = T::METRICS.iter().map(|metric| &metric.instrument);
        self.0.borrow_mut().extend(instruments);
    }
}

/// Every instrument there is: those of a stack in which everything is on, and those that are made where they are measured.
pub(super) fn all() -> Vec<&'static Instrument> {
    let measured = vec![
        &http::DURATION,
        &http::ACTIVE,
        store::Calls::INSTRUMENT,
        &metrics::BREAKER,
        &metrics::CORRUPT,
        &metrics::OVER_BUDGET,
        Steps::INSTRUMENT,
    ];
    let given = Given(RefCell::new(measured));
    everything().measure(&given);
    given.watch(&Server::new().counts());
    given.0.into_inner()
}

/// A stack in which everything is on.
pub(super) fn everything() -> Stack {
    Stack::builder()
        .config(Config::from_toml("[segments]\n[sessions]").unwrap())
        .visitors(CountVisitors::Within(Duration::from_secs(60)))
        .funnel([Stage::new("browse")])
        .actions(["checkout"])
        .build()
        .unwrap()
}

#[test]
fn names_leave_the_suffixes_to_the_exporter() {
    for instrument in all() {
        let words = || instrument.name.split(['.', '_']);
        assert!(
            words().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        );
        for suffix in [
            "total", "seconds", "s", "ms", "bytes", "ratio", "count", "sum", "bucket",
        ] {
            assert!(words().all(|word| word != suffix), "{}", instrument.name);
        }
    }
}

#[test]
fn every_instrument_has_a_description_that_is_a_sentence() {
    for Instrument {
        name, description, ..
    } in all()
    {
        assert!(
            description.ends_with('.') && !description.contains('\n'),
            "{name}"
        );
    }
}

#[test]
fn units_are_seconds_or_say_what_is_counted() {
    for Instrument {
        name, kind, unit, ..
    } in all()
    {
        match kind {
            InstrumentKind::Histogram => assert_eq!(*unit, "s", "{name}"),
            InstrumentKind::Counter | InstrumentKind::UpDownCounter | InstrumentKind::Gauge => {
                assert!(
                    unit.starts_with('{') && unit.ends_with('}'),
                    "{name}: {unit}"
                );
            }
            // `1` would make it a `_ratio`.
            InstrumentKind::State => assert!(unit.is_empty(), "{name}: {unit}"),
        }
    }
}

#[test]
fn label_keys_are_valid_sorted_and_distinct_in_prometheus() {
    for Instrument { name, labels, .. } in all() {
        assert!(labels.is_sorted_by(|a, b| a < b), "{name}: {labels:?}");
        let mut keys: Vec<_> = labels.iter().map(|key| key.replace('.', "_")).collect();
        for key in &keys {
            assert!(
                key.starts_with(|c: char| c.is_ascii_lowercase()),
                "{name}: {key}"
            );
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            // Of the text format, of the scrape itself, and of the exporter.
            assert!(
                !["le", "quantile", "job", "instance"].contains(&&**key),
                "{name}"
            );
            assert!(!key.starts_with("otel_"), "{name}: {key}");
        }
        keys.dedup();
        assert_eq!(keys.len(), labels.len(), "{name}: {labels:?}");
    }
}

#[test]
fn boundaries_have_the_shape_of_seconds() {
    for Instrument {
        name,
        kind,
        boundaries,
        ..
    } in all()
    {
        assert_eq!(
            *kind == InstrumentKind::Histogram,
            !boundaries.is_empty(),
            "{name}"
        );
        assert!(boundaries.is_sorted_by(|a, b| a < b), "{name}");
        // What a machine takes, or what a person does.
        let (first, last) = if *name == Steps::INSTRUMENT.name {
            (0.5..=0.5, 86_400.0..=86_400.0)
        } else {
            (0.0001..=0.005, 1.0..=10.0)
        };
        assert!(
            boundaries.first().is_none_or(|least| first.contains(least)),
            "{name}"
        );
        assert!(
            boundaries.last().is_none_or(|most| last.contains(most)),
            "{name}"
        );
    }
}

impl Instrument {
    /// Name, type, help and label keys as Prometheus should see them, by the exporter's rules.
    pub(super) fn in_prometheus(
        &self,
        namespace: &str,
    ) -> (String, &'static str, &'static str, Vec<String>) {
        let prefix = if self.namespaced { namespace } else { "" };
        let (kind, suffix) = match self.kind {
            InstrumentKind::Counter => ("counter", "_total"),
            InstrumentKind::Histogram => ("histogram", "_seconds"),
            InstrumentKind::UpDownCounter | InstrumentKind::Gauge | InstrumentKind::State => {
                ("gauge", "")
            }
        };
        let name = format!("{prefix}{}{suffix}", self.name.replace('.', "_"));
        let labels = self.labels.iter().map(|key| key.replace('.', "_"));
        (name, kind, self.description, labels.collect())
    }
}
