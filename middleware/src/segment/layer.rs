use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::action::{Action, Actions};
use super::cache::Cache;
use super::drain::Drain;
use super::handle::Customers;
use super::registry::{Convert, Registry, system_clock};
use super::service::Classify;
use super::spill::Spill;
use super::store::CustomerStore;
use super::tally::SegmentTally;
use super::writer::Writer;
use super::{Criteria, Keeping, Money, WallClock};
use crate::ConfigError;
use crate::log::{Fallback, Losses};
use crate::model::{Ask, Countries, Room, Written};
use crate::task::ticker::Ticker;

/// Tells which kind of customer sends a request; see the [module](crate::segment). Clones share their cache.
///
/// The default is off: it does nothing, and costs a branch.
#[derive(Clone, Default)]
pub struct ClassifyLayer {
    pub(super) registry: Option<Arc<Registry>>,
}

impl ClassifyLayer {
    /// A layer whose customers are kept in a store.
    ///
    /// It writes and sweeps by tasks that need tokio's timer: a runtime of your own needs `enable_time`.
    pub fn builder(store: impl CustomerStore) -> ClassifyLayerBuilder {
        ClassifyLayerBuilder::new(Box::new(store))
    }

    /// The layer's counts so far; `None` when it is off.
    #[must_use]
    pub fn tally(&self) -> Option<Arc<SegmentTally>> {
        let registry = self.registry.as_ref()?;
        Some(Arc::clone(&registry.tally))
    }

    /// The layer's handle for the service; `None` when it is off.
    #[must_use]
    pub fn customers(&self) -> Option<Customers> {
        self.registry.as_ref().map(Customers::new)
    }

    pub(crate) fn around<S>(&self, inner: S) -> Classify<S> {
        Classify::new(inner, self.registry.clone())
    }
}

#[cfg(test)]
impl ClassifyLayer {
    pub(super) fn registry(&self) -> Option<Arc<Registry>> {
        self.registry.clone()
    }
}

impl<S> Layer<S> for ClassifyLayer {
    type Service = Classify<S>;

    fn layer(&self, inner: S) -> Classify<S> {
        self.around(inner)
    }
}

impl Room for ClassifyLayer {
    fn ask(&self) -> Option<Box<dyn Ask>> {
        Some(Box::new(self.clone()))
    }

    #[cfg(feature = "otel")]
    fn measure(&self, meters: &impl crate::model::metrics::Meters) {
        if let Some(tally) = self.tally() {
            meters.watch(&tally);
        }
    }

    #[cfg(feature = "ops")]
    fn panel(&self) -> Option<Box<dyn crate::model::panel::Panel>> {
        Some(Box::new(super::panel::SegmentPanel::new(self)))
    }
}

impl fmt::Debug for ClassifyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassifyLayer")
            .field("is_on", &self.registry.is_some())
            .finish_non_exhaustive()
    }
}

/// Settings of a [`ClassifyLayer`].
#[must_use]
pub struct ClassifyLayerBuilder {
    store: Box<dyn CustomerStore>,
    keeping: Keeping,
    actions: Vec<Action>,
    countries: Countries,
    convert: Option<Convert>,
    clock: Box<dyn WallClock>,
    cache: usize,
    cache_for: Duration,
    queue: usize,
    spill_file: Option<PathBuf>,
}

impl ClassifyLayerBuilder {
    /// Some 25 MB when full.
    const CACHE: usize = 100_000;
    const CACHE_FOR: Duration = Duration::from_secs(60);
    /// Some 8 MB when full.
    const QUEUE: usize = 65_536;

    pub(crate) fn new(store: Box<dyn CustomerStore>) -> Self {
        Self {
            store,
            keeping: Keeping::new(),
            actions: Vec::new(),
            countries: Countries::default(),
            convert: None,
            clock: system_clock(),
            cache: Self::CACHE,
            cache_for: Self::CACHE_FOR,
            queue: Self::QUEUE,
            spill_file: None,
        }
    }

    /// Where the segments begin; [`Criteria::default`] unless set.
    pub fn criteria(mut self, criteria: Criteria) -> Self {
        self.keeping.criteria = criteria;
        self
    }

    /// How long a customer is kept after the last change, 400 days unless set; longer than
    /// [`Criteria::churned_after`], or nobody would ever have churned.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.keeping.retention = retention;
        self
    }

    /// How often the population is counted, 15 s unless set.
    pub fn sweep_every(mut self, every: Duration) -> Self {
        self.keeping.sweep_every = every;
        self
    }

    /// Adds actions of customers, to be counted by segment and country: names, or [`Action`]s with their routes.
    pub fn actions(mut self, actions: impl IntoIterator<Item = impl Into<Action>>) -> Self {
        self.actions.extend(actions.into_iter().map(Into::into));
        self
    }

    /// Which countries are counted apart: those that the client layer was given. Any other is `other`.
    pub fn countries(mut self, countries: Countries) -> Self {
        self.countries = countries;
        self
    }

    /// Makes an amount in another currency one in minor units of [`Criteria::currency`]; `None` for one that it cannot
    /// convert. Called on the response's path, so it must be quick. Without it such amounts add nothing to spend.
    pub fn convert(
        mut self,
        convert: impl Fn(Money) -> Option<i64> + Send + Sync + 'static,
    ) -> Self {
        self.convert = Some(Box::new(convert));
        self
    }

    /// The clock by which segments are told; the system's unless set.
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// How many customers this process remembers, 100,000 unless set (some 25 MB), and how long it believes what the
    /// store said, one minute unless set. Its own changes are in the cache at once.
    pub fn cache(mut self, customers: usize, believed_for: Duration) -> Self {
        self.cache = customers;
        self.cache_for = believed_for;
        self
    }

    /// How many orders and refunds may wait for the store, 65,536 unless set (some 8 MB); further ones are lost.
    pub fn queue(mut self, changes: usize) -> Self {
        self.queue = changes;
        self
    }

    /// Keeps what the store has not taken at the end of the process in this file, for the next start; none unless set.
    ///
    /// [`Customers::flush`] writes it, [`build`](Self::build) reads it, and it is removed once the store has what was in
    /// it. It holds ids of customers, so its owner alone can read it. [`Customers::erase`] does not reach into the file of a
    /// process that has ended: its changes come back at the next start. Processes may share a folder and the name, since
    /// each file's name ends in a random number; the next to start reads all of them.
    pub fn spill_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.spill_file = Some(path.into());
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// Thresholds that are not in order, a retention that is not above [`Criteria::churned_after`], a sweep outside 1 s to
    /// 1 h, a cache or a queue outside 1 to 16,777,216, more than 64 actions or 2,000 series, actions that cannot be
    /// labels or are not distinct, and a file for unwritten changes that cannot be written.
    pub fn build(self) -> Result<ClassifyLayer, ConfigError> {
        const MOST: usize = 16_777_216;
        if let Some((key, value, allowed)) = self.keeping.refused("") {
            let value = Written(value);
            return Err(ConfigError::new(key, value, allowed));
        }
        for (key, value) in [("cache", self.cache), ("queue", self.queue)] {
            if !(1..=MOST).contains(&value) {
                return Err(ConfigError::new(key, value, "1 to 16777216"));
            }
        }
        let actions = Actions::new(self.actions, &self.countries)?;
        let tally = Arc::new(SegmentTally::new(&actions, &self.countries));
        let currency = self.keeping.criteria.currency;
        let spill = self.spill_file.map(|path| Spill::new(path, currency));
        let registry = Arc::new(Registry {
            store: self.store.keep_customers(&self.keeping),
            criteria: self.keeping.criteria,
            clock: self.clock,
            cache: Cache::new(self.cache, self.cache_for),
            writer: Writer::new(self.queue),
            actions,
            tally,
            convert: self.convert,
            sweeps: Ticker::new(self.keeping.sweep_every),
            fallback: Fallback::default(),
            losses: Losses::default(),
            spill: spill.transpose()?,
        });
        registry.take_over();
        if registry.writer.left() > 0 {
            Drain::start(&registry);
        }
        Ok(ClassifyLayer {
            registry: Some(registry),
        })
    }
}

impl fmt::Debug for ClassifyLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassifyLayerBuilder")
            .field("keeping", &self.keeping)
            .field("actions", &self.actions)
            .finish_non_exhaustive()
    }
}
