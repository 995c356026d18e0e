//! For tests: how many warnings the library writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span;
use tracing::subscriber::DefaultGuard;

/// The warnings of this thread while it lasts.
pub(crate) struct Warnings {
    count: Arc<AtomicUsize>,
    _guard: DefaultGuard,
}

impl Warnings {
    pub(crate) fn count_from_now() -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Counter(Arc::clone(&count));
        Self {
            count,
            _guard: tracing::subscriber::set_default(counter),
        }
    }

    pub(crate) fn so_far(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

struct Counter(Arc<AtomicUsize>);

impl tracing::Subscriber for Counter {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
