//! The metrics of a room, in types that need no exporter.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// One metric: its line in the table of the [`telemetry`](crate::telemetry) module.
#[derive(Debug)]
pub struct Instrument {
    /// With dots; the Prometheus exporter puts underscores, the unit and `_total` of a counter.
    pub(crate) name: &'static str,
    /// Whether the user's namespace stands in front of the name.
    pub(crate) namespaced: bool,
    pub(crate) kind: InstrumentKind,
    /// UCUM; a word in braces becomes no part of the Prometheus name.
    pub(crate) unit: &'static str,
    pub(crate) description: &'static str,
    /// Every key that the instrument may carry, sorted: the SDK then keeps one copy of a set of attributes.
    pub(crate) labels: &'static [&'static str],
    /// Upper bounds of the buckets, of a histogram only.
    pub(crate) boundaries: &'static [f64],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstrumentKind {
    /// Only grows; several layers add up.
    Counter,
    /// Grows and shrinks; several layers add up.
    UpDownCounter,
    /// A number of things now; several layers add up.
    Gauge,
    /// 1 or 0; of several layers, 1 where any has it.
    State,
    Histogram,
}

impl Instrument {
    const fn new(
        kind: InstrumentKind,
        name: &'static str,
        unit: &'static str,
        labels: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self {
            name,
            namespaced: true,
            kind,
            unit,
            description,
            labels,
            boundaries: &[],
        }
    }

    pub(crate) const fn counter(
        name: &'static str,
        unit: &'static str,
        labels: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self::new(InstrumentKind::Counter, name, unit, labels, description)
    }

    pub(crate) const fn up_down_counter(
        name: &'static str,
        unit: &'static str,
        labels: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self::new(
            InstrumentKind::UpDownCounter,
            name,
            unit,
            labels,
            description,
        )
    }

    pub(crate) const fn gauge(
        name: &'static str,
        unit: &'static str,
        labels: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self::new(InstrumentKind::Gauge, name, unit, labels, description)
    }

    /// A truth value has no unit: `1` would make the exporter add `_ratio`.
    pub(crate) const fn state(name: &'static str, description: &'static str) -> Self {
        Self::new(InstrumentKind::State, name, "", &[], description)
    }

    /// Durations, in seconds.
    pub(crate) const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        boundaries: &'static [f64],
        description: &'static str,
    ) -> Self {
        let mut histogram = Self::new(InstrumentKind::Histogram, name, "s", labels, description);
        histogram.boundaries = boundaries;
        histogram
    }

    /// The name stands as it is, since a convention fixes it.
    pub(crate) const fn of_the_conventions(mut self) -> Self {
        self.namespaced = false;
        self
    }
}

/// Counters that can be read at each scrape; a room's tally implements it.
///
/// [`Telemetry::watch`](crate::telemetry::Telemetry::watch) takes it: counting costs a request one relaxed addition, and
/// every series exists at 0 from the start.
pub trait Metrics: Sized + Send + Sync + 'static {
    /// The metrics, each with how it is read.
    const METRICS: &'static [Metric<Self>];
}

/// Exports counts.
pub(crate) trait Meters {
    /// Exports these counts from now on.
    fn watch<T: Metrics>(&self, counted: &Arc<T>);
}

/// One metric of `T`.
pub struct Metric<T> {
    pub(crate) instrument: Instrument,
    pub(crate) read: fn(&T, &mut Series<'_>),
}

impl<T> Metric<T> {
    pub(crate) const fn new(instrument: Instrument, read: fn(&T, &mut Series<'_>)) -> Self {
        Self { instrument, read }
    }
}

/// Takes the series of one metric.
pub struct Series<'a>(pub(crate) &'a mut dyn FnMut(&[&str], u64));

impl Series<'_> {
    /// One series: a value for each label of the instrument, in their order, and the count.
    pub(crate) fn add(&mut self, labels: &[&str], count: u64) {
        (self.0)(labels, count);
    }
}

/// Durations of one kind, as [`Telemetry::timer`](crate::telemetry::Telemetry::timer) records them.
pub trait Durations {
    /// The histogram.
    const INSTRUMENT: &'static Instrument;
    /// The observer that receives each duration, such as `dyn Fn(&str, &str, Duration)`.
    type Observer: ?Sized;

    /// An observer that hands each duration, with a value for every label, to a stopwatch.
    fn observer(stopwatch: Box<Stopwatch>) -> Box<Self::Observer>;
}

/// Records a duration with a value for each label of its histogram; text that is static is not copied.
pub type Stopwatch = dyn Fn(&[Cow<'static, str>], Duration) + Send + Sync;
