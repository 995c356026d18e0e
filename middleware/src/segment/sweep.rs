//! The sweep: upkeep of the store's index, and the count of the population, by one process at a time.

use std::sync::Arc;
use std::time::Instant;

use super::registry::Registry;
use crate::task::ticker::{Tick, Ticker};

impl Tick for Registry {
    fn ticker(&self) -> &Ticker {
        &self.sweeps
    }

    async fn tick(self: Arc<Self>) {
        // The lease begins at the store, so no sooner than this.
        let asked = Instant::now();
        // While the store fails, the last count stands until the lease has run out.
        if let Ok(sweep) = self.store.sweep(self.now()).await {
            self.tally
                .swept(sweep.as_ref(), asked, 3 * self.sweeps.every);
        }
    }
}

impl Registry {
    /// Leaves the count to another process. Otherwise nobody would count before the lease has run out, also not this
    /// process after a restart.
    pub(super) async fn leave_population(&self) {
        if self.tally.population().is_some() {
            self.tally.leave_population();
            // After a failure the lease runs out by itself.
            let _ = self.store.end_sweep().await;
        }
    }
}
