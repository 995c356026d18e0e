//! Once a second: a sample for the history, and while somebody watches, a frame.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use super::hub::Hub;

/// Samples as long as the hub lives. Dropped with its runtime, it leaves a hub that can start another.
pub(super) struct Sampler(Weak<Hub>);

impl Sampler {
    /// Starts on the runtime of the call, unless one runs already; without a runtime, a later call does.
    pub(super) fn start(hub: &Arc<Hub>) {
        if hub.sampling.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = Handle::try_current()
            && !hub.sampling.swap(true, Ordering::Relaxed)
        {
            drop(runtime.spawn(Self(Arc::downgrade(hub)).run()));
        }
    }

    async fn run(self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        // A process that was stopped has no samples of that time, rather than many of one moment.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.0.upgrade() {
                Some(hub) => hub.tick(),
                None => return,
            }
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if let Some(hub) = self.0.upgrade() {
            hub.sampling.store(false, Ordering::Relaxed);
        }
    }
}
