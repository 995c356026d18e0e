//! Writes waiting changes to the store, off the requests' path.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::registry::Registry;
use super::store::Applied;
use super::tally::{ChangeKind, ChangeResult};
use super::writer::Next;
use super::{Change, Event};
use crate::log::News;
use crate::model::{StoreError, StoreErrorKind};

/// Writes batches until nothing waits. Dropped midway (its runtime shut down, a panic), it puts its batch back.
pub(super) struct Drain {
    registry: Arc<Registry>,
    batch: Vec<Change>,
    ended: bool,
}

impl Drain {
    /// The first wait after a failure; each further one is twice as long.
    const FIRST_WAIT: Duration = Duration::from_millis(20);
    /// The longest: the store has an order within a second of its return.
    const LONGEST_WAIT: Duration = Duration::from_millis(400);
    /// How long it tries to write for a layer that is gone; and how soon it notices that.
    const GRACE: Duration = Duration::from_secs(1);

    /// Starts a task that writes the waiting changes. Without a runtime they wait for a call that has one.
    pub(super) fn start(registry: &Arc<Registry>) {
        if let Ok(runtime) = Handle::try_current()
            && registry.writer.begin()
        {
            let drain = Self {
                registry: Arc::clone(registry),
                batch: Vec::new(),
                ended: false,
            };
            drop(runtime.spawn(drain.run()));
        }
    }

    async fn run(mut self) {
        let mut wait = Self::FIRST_WAIT;
        let mut failing_since = None;
        loop {
            match self.registry.writer.next(self.registry.now()) {
                Next::Write(taken) => {
                    self.batch = self.registry.gather(taken);
                    if self.batch.is_empty() {
                        self.done();
                        continue;
                    }
                    let versions = self.registry.versions(&self.batch);
                    let answer = self.registry.store.apply(&self.batch).await;
                    let batch = std::mem::take(&mut self.batch);
                    match answer {
                        Ok(applied) => {
                            self.registry.confirm(&batch, &versions, &applied);
                            self.done();
                            failing_since = None;
                            wait = Self::FIRST_WAIT;
                            // Memory applies without a wait, and a flood must not keep this thread from its requests.
                            tokio::task::yield_now().await;
                        }
                        Err(error) => {
                            // A server that answers with an error may do so for one of the changes only.
                            let singly = error.kind() == StoreErrorKind::Failed;
                            self.registry.writer.put_back(batch, singly);
                            self.registry.note(Some(&error));
                            let since = *failing_since.get_or_insert_with(Instant::now);
                            if self.is_alone() && since.elapsed() >= Self::GRACE {
                                self.give_up().await;
                                break;
                            }
                            tokio::time::sleep(wait).await;
                            wait = (2 * wait).min(Self::LONGEST_WAIT);
                        }
                    }
                }
                // Nobody is left who would add to the activity.
                Next::Sleep(_) if self.is_alone() => self.registry.writer.hasten(),
                Next::Sleep(nap) => self.registry.writer.sleep(nap.min(Self::GRACE)).await,
                Next::End => break,
            }
        }
        self.ended = true;
    }

    fn done(&self) {
        if self.registry.writer.done()
            && let Some(spill) = &self.registry.spill
        {
            spill.settle();
        }
    }

    /// Whether the layer and its handles are gone.
    fn is_alone(&self) -> bool {
        Arc::strong_count(&self.registry) == 1
    }

    /// The store does not take what a layer left that is gone: the file does, or it is lost.
    async fn give_up(&self) {
        match self.registry.spill().await {
            (_, 0) => drop(self.registry.writer.give_up()),
            _ => self.registry.lose_all(),
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if !self.ended {
            let batch = std::mem::take(&mut self.batch);
            self.registry.writer.put_back(batch, false);
            self.registry.writer.abandoned();
        }
    }
}

impl Registry {
    /// At which version each change that is about to be sent finds its customer, if nobody else writes.
    pub(super) fn versions(&self, changes: &[Change]) -> Vec<u64> {
        let mut versions = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            let earlier = changes[..index]
                .iter()
                .rposition(|it| it.customer == change.customer);
            versions.push(match earlier {
                Some(earlier) => versions[earlier] + 1,
                None => self.cache.version(&change.customer),
            });
        }
        versions
    }

    /// The store has these changes, which were sent at these versions of their customers.
    pub(super) fn confirm(&self, changes: &[Change], versions: &[u64], applied: &[Applied]) {
        self.note(None);
        let now = self.now();
        let answers = versions.iter().copied().zip(applied);
        for (index, (change, (version, applied))) in changes.iter().zip(answers).enumerate() {
            let last = changes.get(index + 1).is_none_or(|next| {
                next.event != Event::Activity || next.customer != change.customer
            });
            if let Some(due) = self.cache.confirm(change, last, (version, applied), now) {
                self.writer.schedule(change.customer.clone(), due);
            }
            let result = if applied.fresh {
                ChangeResult::Written
            } else {
                ChangeResult::Repeated
            };
            self.tally.add(ChangeKind::from(&change.event), result);
        }
    }

    /// Logs when the store stops or begins to take changes.
    fn note(&self, failed: Option<&StoreError>) {
        match self.fallback.heed(failed) {
            Some(News::Failed(error, cause)) => tracing::warn!(
                target: "palisade::segment",
                event = "customers_delayed",
                %error,
                cause,
                "customers' changes wait in this process: the store does not take them"
            ),
            Some(News::Restored) => tracing::info!(
                target: "palisade::segment",
                event = "customers_restored",
                "customers' changes are written again"
            ),
            None => {}
        }
    }
}
