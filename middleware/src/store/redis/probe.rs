//! Whether the server decides again, asked off the requests' path.

use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::Core;
use super::breaker::Failed;
use super::error::{Cause, Failure, Refusal};
use super::examine::Trial;
use super::limits::{self, Ask};
use crate::model::{Operation, PartitionKey, Quota};
use crate::rate_limit::store::Charge;

/// Never reached by probes, so that each of them writes: a read-only replica, or a server out of memory, would
/// still answer a request that it denies.
const QUOTA: Quota = Quota::per_minute(NonZeroU32::MIN.saturating_add(Quota::MAX_LIMIT - 1));

impl Core {
    /// Asks what the requests ask: tries every command that a decision may need, then runs the real script for a request
    /// behind a gate and under two policies. So nothing that it closes the breaker for opens that again.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        self.apart(Operation::Probe, async {
            let trial = Trial::of_decisions();
            let denied = trial.run(self, self.deadline).await?;
            if let Some(denied) = denied.first() {
                return Err(Refusal::new(Cause::Denied, denied.to_string()).into());
            }
            let [gate, logs @ .., _] = self.prefix.probes();
            let mut ask = Ask::with_room_for(1 + logs.len());
            ask.push_gate_named(&gate);
            for log in &logs {
                let charge = Charge {
                    policy: 0,
                    // The log has a name of its own, which no partition key makes.
                    key: &PartitionKey::nobody(),
                    quota: QUOTA,
                    cost: 1,
                    enforced: true,
                };
                ask.push_named(&charge, log);
            }
            let call = limits::call([&ask].into_iter());
            let read = |reply| limits::verdicts(reply, [ask.shape()].into_iter());
            self.ask_apart(&call, self.deadline, read).await
        })
        .await?;
        Ok(())
    }

    /// Counts a failed decision.
    pub(super) fn note_decision(self: &Arc<Self>, failure: &Failure) {
        let by_connection = failure.is_of_the_connection();
        self.note_failure(failure, Failed::Decision { by_connection });
    }

    /// Counts a failed call; the failure that opens the breaker starts the probes.
    pub(super) fn note_failure(self: &Arc<Self>, failure: &Failure, of: Failed) {
        self.health.remember(failure.kind());
        if !self.health.breaker.fail(of, Instant::now()) {
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
            told: failure.to_string(),
            succeeded: false,
        };
        tokio::spawn(probing.until_closed(self.probe_interval));
    }
}

/// The probes of one outage. They hold no store: one that is dropped meanwhile ends them.
struct Probing {
    core: Weak<Core>,
    /// The cause that the log has.
    told: String,
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
            let probed = match core.probe().await {
                Ok(()) => core.connections.ensure().await,
                failed => failed,
            };
            match probed {
                Ok(()) => {
                    self.succeeded = true;
                    return;
                }
                Err(failure) => self.tell(&failure),
            }
        }
    }

    /// Says once of a server that came back and cannot be used why not: it stays so until somebody changes it.
    fn tell(&mut self, failure: &Failure) {
        let Failure::Refused(refusal) = failure else {
            return;
        };
        if !refusal.is_lasting() || *refusal.words == *self.told {
            return;
        }
        self.told = refusal.words.to_string();
        tracing::warn!(
            target: "palisade::store",
            event = "store_unusable",
            cause = %failure,
            "the Redis store answers and cannot be used: its breaker stays open"
        );
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
                    event = "store_probes_ended",
                    outage_seconds = outage.as_secs_f64(),
                    "the runtime ended while the Redis store was away, and the probes with it: a later call asks the store again"
                );
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::log::Lines;
    use crate::store::redis::RedisStore;

    #[test]
    fn a_runtime_that_ends_in_an_outage_does_not_say_that_the_store_is_back() {
        let (lines, _guard) = Lines::capture();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let store = RedisStore::builder("redis://127.0.0.1:1")
            .breaker(1, Duration::from_secs(1))
            .build()
            .unwrap();
        let failure = super::Refusal::new(super::Cause::Connection, "away").into();
        runtime.block_on(async { store.0.note_decision(&failure) });
        assert!(store.health().is_breaker_open());
        drop(runtime);
        let lines = lines.take();
        let ended = lines.last().unwrap();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("WARN store_breaker_opened"),
            "{lines:?}"
        );
        assert!(
            ended.starts_with("WARN store_probes_ended outage_seconds="),
            "{ended}"
        );
        assert!(
            !store.health().is_breaker_open(),
            "nobody would ever close it"
        );
    }
}
