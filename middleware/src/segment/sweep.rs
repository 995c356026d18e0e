//! Upkeep of the store's index, and the count of the population, by one process at a time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::registry::Registry;

/// Sweeps as long as the layer lives. Dropped with its runtime, it leaves a layer that can start another.
pub(super) struct Sweeper {
    registry: Weak<Registry>,
}

impl Sweeper {
    /// Starts on the runtime of the call, unless one runs already; without a runtime, a later call does.
    pub(super) fn start(registry: &Arc<Registry>) {
        if registry.sweeping.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = Handle::try_current()
            && !registry.sweeping.swap(true, Ordering::Relaxed)
        {
            let sweeper = Self {
                registry: Arc::downgrade(registry),
            };
            drop(runtime.spawn(sweeper.run()));
        }
    }

    async fn run(self) {
        while let Some(pause) = self.sweep().await {
            tokio::time::sleep(pause).await;
        }
    }

    /// One step; returns when the next is due, `None` when the layer is gone.
    async fn sweep(&self) -> Option<Duration> {
        let registry = self.registry.upgrade()?;
        let every = registry.sweep_every;
        // The lease begins at the store, so no sooner than this.
        let asked = Instant::now();
        // While the store fails, what was counted last stands until the lease has run out.
        if let Ok(sweep) = registry.store.sweep(registry.now()).await {
            registry.tally.swept(sweep.as_ref(), asked, 3 * every);
        }
        Some(every)
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.sweeping.store(false, Ordering::Relaxed);
        }
    }
}
