//! Instruments of OpenTelemetry, made from the rooms' metrics.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};
use opentelemetry::{KeyValue, StringValue};
use smallvec::SmallVec;

use crate::ConfigError;
use crate::model::metrics::{Instrument, InstrumentKind, Metric, Metrics, Series};

/// The scope of every instrument. One scope for all, and its labels are left out of the export: a version in
/// them would start every series anew at each release.
pub(super) const SCOPE: &str = "palisade";

/// The prefix of all metrics but those of HTTP, such as `webstore`.
#[derive(Debug, Clone)]
pub(super) struct Namespace(String);

impl Namespace {
    const MAX: usize = 63;

    pub(super) fn new(namespace: &str) -> Result<Self, ConfigError> {
        let valid = namespace.len() <= Self::MAX
            && namespace.starts_with(|c: char| c.is_ascii_lowercase())
            && !namespace.ends_with('_')
            && namespace
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid {
            Ok(Self(namespace.into()))
        } else {
            Err(ConfigError::new(
                "telemetry.namespace",
                namespace,
                "a lowercase letter, then lowercase letters, digits and inner underscores, at most 63 in all",
            ))
        }
    }

    fn name(&self, instrument: &Instrument) -> Cow<'static, str> {
        if instrument.namespaced {
            format!("{}.{}", self.0, instrument.name).into()
        } else {
            instrument.name.into()
        }
    }
}

/// Makes instruments, each once.
///
/// Counters and gauges are observable ones, read from our own atomics at each collection: counting costs a
/// request one relaxed addition, and all series exist at 0 from the start.
#[derive(Debug, Clone)]
pub(super) struct Instruments {
    meter: Meter,
    namespace: Namespace,
    /// The sources of each metric, by its name.
    watched: Arc<Mutex<BTreeMap<&'static str, Readers>>>,
}

/// The sources of one metric, each with the address of the tally that it reads.
#[derive(Clone, Default)]
struct Readers(Arc<Mutex<Vec<(usize, Read)>>>);

type Read = Box<dyn Fn(&mut Series<'_>) + Send + Sync>;

/// Label values of a series, in the order of the instrument's keys.
type Labels = SmallVec<[String; 3]>;

impl Instruments {
    pub(super) fn new(meter: Meter, namespace: Namespace) -> Self {
        Self {
            meter,
            namespace,
            watched: Arc::default(),
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace.0
    }

    /// Exports the counts of `counted` from now on; once, however often it is given.
    pub(super) fn watch<T: Metrics>(&self, counted: &Arc<T>) {
        for Metric { instrument, read } in T::METRICS {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let readers = watched.entry(instrument.name).or_insert_with(|| {
                let readers = Readers::default();
                self.export(instrument, readers.clone());
                readers
            });
            let address = Arc::as_ptr(counted).addr();
            let counted = Arc::clone(counted);
            readers.add(address, Box::new(move |series| read(&counted, series)));
        }
    }

    fn export(&self, instrument: &'static Instrument, readers: Readers) {
        match instrument.kind {
            InstrumentKind::Counter => self.counter(instrument, move |observer| {
                readers.observe(instrument, observer);
            }),
            InstrumentKind::Gauge | InstrumentKind::State => {
                let gauge = self
                    .meter
                    .u64_observable_gauge(self.namespace.name(instrument));
                gauge
                    .with_unit(instrument.unit)
                    .with_description(instrument.description)
                    .with_callback(move |observer| readers.observe(instrument, observer))
                    .build();
            }
            // They are made where they are measured.
            InstrumentKind::UpDownCounter | InstrumentKind::Histogram => {}
        }
    }

    fn counter(
        &self,
        instrument: &Instrument,
        observe: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_counter(self.namespace.name(instrument))
            .with_unit(instrument.unit)
            .with_description(instrument.description)
            .with_callback(observe)
            .build();
    }

    pub(super) fn up_down_counter(
        &self,
        instrument: &Instrument,
        observe: impl Fn(&dyn AsyncInstrument<i64>) + Send + Sync + 'static,
    ) {
        debug_assert_eq!(instrument.kind, InstrumentKind::UpDownCounter);
        self.meter
            .i64_observable_up_down_counter(self.namespace.name(instrument))
            .with_unit(instrument.unit)
            .with_description(instrument.description)
            .with_callback(observe)
            .build();
    }

    pub(super) fn histogram(&self, instrument: &Instrument) -> Histogram<f64> {
        debug_assert_eq!(instrument.kind, InstrumentKind::Histogram);
        self.meter
            .f64_histogram(self.namespace.name(instrument))
            .with_unit(instrument.unit)
            .with_description(instrument.description)
            .with_boundaries(instrument.boundaries.to_vec())
            .build()
    }
}

impl Readers {
    fn add(&self, address: usize, read: Read) {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A source is never dropped, so no other can come to have its address.
        if !readers.iter().any(|(known, _)| *known == address) {
            readers.push((address, read));
        }
    }

    fn observe(&self, instrument: &Instrument, observer: &dyn AsyncInstrument<u64>) {
        for (labels, count) in self.totals(instrument.kind) {
            observer.observe(count, &instrument.attributes(labels));
        }
    }

    /// All that is watched, taken together. Layers may share a series, and the SDK keeps the last of two observations of
    /// one, so they are added here.
    fn totals(&self, kind: InstrumentKind) -> BTreeMap<Labels, u64> {
        let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = BTreeMap::<Labels, u64>::new();
        for (_, read) in readers.iter() {
            read(&mut Series(&mut |labels, count| {
                let labels = labels.iter().map(|&label| label.to_owned()).collect();
                let total = totals.entry(labels).or_default();
                *total = match kind {
                    InstrumentKind::State => count.max(*total),
                    _ => *total + count,
                };
            }));
        }
        totals
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Instrument {
    /// The instrument's attributes with these values, one for each of its keys.
    pub(super) fn attributes<V: Into<StringValue>>(
        &self,
        values: impl IntoIterator<Item = V>,
    ) -> SmallVec<[KeyValue; 3]> {
        let keys = self.labels.iter().copied();
        let attributes = keys
            .zip(values)
            .map(|(key, value)| KeyValue::new(key, value.into()));
        attributes.collect()
    }

    /// Whether `name` is this instrument's, which is not namespaced.
    pub(super) fn is_named(&self, name: &str) -> bool {
        !self.namespaced && self.name == name
    }
}
