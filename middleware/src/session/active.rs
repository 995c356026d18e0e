//! The count of the sessions that live.

use std::sync::Arc;

use tokio::time::Instant;

use super::core::Core;
use crate::task::ticker::{Tick, Ticker};

impl Tick for Core {
    fn ticker(&self) -> &Ticker {
        &self.counts
    }

    async fn tick(self: Arc<Self>) {
        let asked = Instant::now();
        // While the store fails, the last count stands for a while.
        if let Ok(count) = self.store.active().await {
            self.tally.count_active(count, asked, 3 * self.counts.every);
        }
    }
}
