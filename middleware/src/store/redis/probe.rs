//! Whether the server decides again, asked off the requests' path.

use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::Core;
use super::error::Failure;
use super::limits::{self, Ask};
use crate::model::{Operation, PartitionKey, Quota};
use crate::rate_limit::store::Charge;

/// Never reached by probes, so that each of them writes: a read-only replica, or a server out of memory, would
/// still answer a request that it denies.
const QUOTA: Quota = Quota::per_minute(NonZeroU32::MIN.saturating_add(Quota::MAX_LIMIT - 1));

impl Core {
    /// Runs the real script on a log of its own.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let charge = Charge {
            policy: 0,
            // The log has a name of its own, which no partition key makes.
            key: &PartitionKey::nobody(),
            quota: QUOTA,
            cost: 1,
            enforced: true,
        };
        let mut ask = Ask::with_room_for(1);
        ask.push_named(&charge, &self.prefix.probe());
        let call = limits::call([&ask].into_iter());
        let read = |reply| limits::verdicts(reply, [ask.shape()].into_iter());
        let probing = self.ask_apart(&call, self.deadline, read);
        self.apart(Operation::Probe, probing).await?;
        Ok(())
    }

    /// Counts a failed call; the failure that opens the breaker starts the probes.
    pub(super) fn note_failure(self: &Arc<Self>, failure: &Failure) {
        self.health.remember(failure.kind());
        if !self.health.breaker.fail(Instant::now()) {
            return;
        }
        tracing::warn!(
            target: "palisade::store",
            event = "store_breaker_opened",
            cause = %failure,
            "the Redis store stopped answering: its breaker is open"
        );
        let probing = Probing {
            core: Arc::downgrade(self),
            succeeded: false,
        };
        tokio::spawn(probing.until_closed(self.probe_interval));
    }
}

/// The probes of one outage. They hold no store: one that is dropped meanwhile ends them.
struct Probing {
    core: Weak<Core>,
    succeeded: bool,
}

impl Probing {
    async fn until_closed(mut self, interval: std::time::Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let Some(core) = self.core.upgrade() else {
                return;
            };
            // The requests' own connection is made before they are let back to it.
            if core.probe().await.is_ok() && core.connections.ensure().await.is_ok() {
                self.succeeded = true;
                return;
            }
        }
    }
}

impl Drop for Probing {
    /// Also when the runtime of the probes shuts down: without probes an open breaker would never close.
    fn drop(&mut self) {
        let Some(core) = self.core.upgrade() else {
            return;
        };
        match core.health.breaker.close(Instant::now()) {
            Some(outage) if self.succeeded => {
                tracing::info!(
                    target: "palisade::store",
                    event = "store_breaker_closed",
                    outage_seconds = outage.as_secs_f64(),
                    "the Redis store answers again: its breaker is closed"
                );
            }
            Some(outage) => {
                tracing::warn!(
                    target: "palisade::store",
                    event = "store_breaker_closed",
                    outage_seconds = outage.as_secs_f64(),
                    "the probes of the Redis store ended with their runtime: its breaker is closed until it fails again"
                );
            }
            None => {}
        }
    }
}
