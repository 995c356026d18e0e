use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recorder::{Observer, Recorder, Store};
use super::seen::Seen;
use super::tally::VisitorTally;
use crate::ConfigError;
use crate::funnel::store::{Journeys, LocalVisitStore, VisitStore};
use crate::log::Fallback;
use crate::model::{Countries, Secret, Written};
use crate::task::queue::Queue;

/// Counts visitors beside responses, for [`FunnelLayerBuilder::visitors`](crate::funnel::FunnelLayerBuilder::visitors).
#[must_use = "settings do nothing until they are given to a `FunnelLayerBuilder`"]
pub struct Visitors {
    store: Store,
    secret: Secret,
    window: Duration,
    queue: usize,
    observer: Option<Observer>,
}

impl Visitors {
    /// The window unless [`window`](Self::window) is set.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(86_400);
    /// A minute.
    pub const LEAST_WINDOW: Duration = Duration::from_secs(60);
    /// 30 days.
    pub const MOST_WINDOW: Duration = Duration::from_secs(30 * 86_400);
    /// Half a megabyte when full.
    const QUEUE: usize = 4_096;
    const MOST_QUEUE: usize = 1_048_576;

    /// Visitors of this process alone, kept by `store`; networks are hashed with `secret`.
    pub fn embedded(store: impl LocalVisitStore, secret: Secret) -> Self {
        Self::new(Store::Embedded(Box::new(store)), secret)
    }

    /// Visitors of all processes that share the store, and the secret. While the store fails they are not counted.
    pub fn shared(store: impl VisitStore, secret: Secret) -> Self {
        Self::new(Store::Shared(Box::new(store)), secret)
    }

    fn new(store: Store, secret: Secret) -> Self {
        Self {
            store,
            secret,
            window: Self::DEFAULT_WINDOW,
            queue: Self::QUEUE,
            observer: None,
        }
    }

    /// For how long a visitor counts once, from the first stage on: 1 minute to 30 days, 24 hours unless set.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many reached stages may wait to be counted, 4,096 unless set (half a megabyte); further ones are dropped.
    pub fn queue(mut self, reaches: usize) -> Self {
        self.queue = reaches;
        self
    }

    /// Sets the observer of every step: the names of two consecutive stages, and how long a visitor took from the one to
    /// the other. It must not block. Telemetry's histogram is `telemetry.timer::<palisade::funnel::Steps>()`.
    pub fn observer(
        mut self,
        observer: impl Fn(&str, &str, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    pub(in crate::funnel) fn build(
        self,
        stages: Box<[Box<str>]>,
        countries: &Countries,
    ) -> Result<Arc<Recorder>, ConfigError> {
        if !(Self::LEAST_WINDOW..=Self::MOST_WINDOW).contains(&self.window) {
            let value = Written(self.window);
            return Err(ConfigError::new("visitors", value, "1m to 30d"));
        }
        if !(1..=Self::MOST_QUEUE).contains(&self.queue) {
            let allowed = "1 to 1048576 reached stages";
            return Err(ConfigError::new("visitors.queue", self.queue, allowed));
        }
        Ok(Arc::new(Recorder {
            store: self.store,
            journeys: Journeys::of(stages.iter().map(|stage| &**stage), self.window),
            secret: self.secret,
            seen: Seen::new(Instant::now()),
            queue: Queue::new(self.queue),
            tally: Arc::new(VisitorTally::new(stages, countries)),
            observer: self.observer,
            fallback: Fallback::default(),
        }))
    }
}

impl fmt::Debug for Visitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitors")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
