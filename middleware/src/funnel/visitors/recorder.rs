use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Who;
use super::seen::{Call, Seen};
use super::tally::{ReachResult, VisitorTally};
use crate::funnel::store::{Journeys, LocalVisitStore, Progress, Reach, VisitStore};
use crate::log::{Fallback, News};
use crate::model::{Country, Secret};
use crate::task::queue::{Queue, Work, leave};
use crate::task::shielded;

/// Everything that the requests of one layer share to count their visitors.
pub(in crate::funnel) struct Recorder {
    pub(super) store: Store,
    pub(super) journeys: Journeys,
    pub(super) secret: Secret,
    pub(super) seen: Seen,
    pub(super) queue: Queue<Noted>,
    pub(super) tally: Arc<VisitorTally>,
    pub(super) observer: Option<Observer>,
    /// Whether the store counts.
    pub(super) fallback: Fallback,
}

pub(super) type Observer = Arc<dyn Fn(&str, &str, Duration) + Send + Sync>;

pub(super) enum Store {
    Embedded(Box<dyn LocalVisitStore>),
    Shared(Box<dyn VisitStore>),
}

/// A response that reached a stage.
#[derive(Debug)]
pub(in crate::funnel) struct Noted {
    who: Who,
    stage: u8,
    country: Country,
    at: Instant,
}

impl Recorder {
    /// Queues a reach that may be a visitor's first. It never waits: a full queue drops it.
    pub(in crate::funnel) fn note(self: &Arc<Self>, who: Who, stage: usize, country: Country) {
        // A funnel has at most 16 stages.
        let (stage, now) = (stage as u8, Instant::now());
        if !self.seen.is_news(&who, stage, now) {
            self.tally.add(ReachResult::Repeated, 1);
            return;
        }
        let noted = Noted {
            who,
            stage,
            country,
            at: now,
        };
        if let Err(dropped) = leave(self, noted) {
            self.tally.add(ReachResult::Dropped, 1);
            if dropped.first {
                tracing::warn!(
                    target: "palisade::funnel",
                    event = "visitors_dropped",
                    "visitors reach stages of the funnel faster than they can be counted: some are dropped until the \
                     queue is empty"
                );
            }
        }
    }

    pub(in crate::funnel) fn tally(&self) -> Arc<VisitorTally> {
        Arc::clone(&self.tally)
    }

    /// The reaches as the store is told of them, without those that grew too old.
    fn prepare(&self, batch: Vec<Noted>, now: Instant) -> (Vec<Noted>, Vec<Reach>) {
        let size = batch.len();
        let fresh = batch
            .into_iter()
            .filter(|noted| now.saturating_duration_since(noted.at) <= Reach::OLDEST)
            .map(|noted| {
                let at = self.seen.date(&noted.who, noted.at);
                let reach = Reach {
                    visitor: noted.who.visitor(&self.secret),
                    stage: noted.stage,
                    age: now.saturating_duration_since(at),
                };
                (Noted { at, ..noted }, reach)
            });
        let (noted, reaches): (Vec<_>, Vec<_>) = fresh.unzip();
        if reaches.len() < size {
            self.tally.add(ReachResult::Dropped, size - reaches.len());
        }
        (noted, reaches)
    }

    fn record(&self, noted: &Noted, progress: &Progress, call: &Call) {
        if progress.refused {
            // Tried again like any reach that did not count.
            self.tally.add(ReachResult::Dropped, 1);
            return;
        }
        let counted = progress.counted();
        self.seen.learn(&noted.who, progress, noted.at, call);
        for (stage, step) in (usize::from(progress.before)..).zip(&progress.steps) {
            self.tally.count(stage, noted.country);
            let previous = stage.checked_sub(1).and_then(|it| self.tally.stage(it));
            if let (Some(observer), Some(from), Some(to)) =
                (&self.observer, previous, self.tally.stage(stage))
            {
                shielded("steps", || observer(from, to, *step));
            }
        }
        let result = if noted.stage < progress.before {
            ReachResult::Repeated
        } else if noted.stage < counted {
            ReachResult::Counted
        } else {
            ReachResult::OutOfOrder
        };
        self.tally.add(result, 1);
    }
}

impl Work for Recorder {
    type Item = Noted;

    fn queue(&self) -> &Queue<Noted> {
        &self.queue
    }

    async fn finish(&self, batch: Vec<Noted>) {
        let Store::Shared(store) = &self.store else {
            return self.finish_here(batch);
        };
        let asked = Instant::now();
        let (noted, reaches) = self.prepare(batch, asked);
        if reaches.is_empty() {
            return;
        }
        let mut lost = Unsettled {
            tally: &self.tally,
            reaches: reaches.len(),
        };
        let answer = store.reach(self.journeys, &reaches).await;
        match self.fallback.heed(answer.as_ref().err()) {
            Some(News::Failed(error, cause)) => tracing::warn!(
                target: "palisade::funnel",
                event = "funnel_paused",
                %error,
                cause,
                "visitors of the funnel are not counted: the store does not count them"
            ),
            Some(News::Restored) => tracing::info!(
                target: "palisade::funnel",
                event = "funnel_restored",
                "visitors of the funnel are counted again"
            ),
            None => {}
        }
        if let Ok(progress) = answer {
            let call = Call {
                asked,
                answered: Instant::now(),
            };
            for (noted, progress) in noted.iter().zip(&progress) {
                self.record(noted, progress, &call);
                lost.reaches -= 1;
            }
        }
    }

    fn finish_here(&self, batch: Vec<Noted>) {
        let asked = Instant::now();
        let (noted, reaches) = self.prepare(batch, asked);
        match &self.store {
            Store::Embedded(store) => {
                let progress = store.reach_now(self.journeys, &reaches);
                let call = Call {
                    asked,
                    answered: Instant::now(),
                };
                for (noted, progress) in noted.iter().zip(&progress) {
                    self.record(noted, progress, &call);
                }
            }
            // A server cannot be asked without a runtime.
            Store::Shared(_) => self.tally.add(ReachResult::Failed, reaches.len()),
        }
    }
}

/// Reaches whose answer is not there yet; those for which none comes have failed, also when the wait is cut short.
struct Unsettled<'a> {
    tally: &'a VisitorTally,
    reaches: usize,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.tally.add(ReachResult::Failed, self.reaches);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::funnel::Visitors;
    use crate::model::{Countries, Network};
    use crate::store::memory::MemoryStore;

    #[test]
    fn what_waited_for_longer_than_the_oldest_is_dropped_and_all_else_dated_by_its_age() {
        let visitors = Visitors::embedded(MemoryStore::new(), Secret::from_bytes(b"secret"));
        let recorder = visitors.build(["a".into()].into(), &Countries::default());
        let recorder = recorder.unwrap();
        let start = Instant::now();
        let noted = |n, seconds| Noted {
            who: Who::Anonymous(Network::of([192, 0, 2, n].into(), 64)),
            stage: 0,
            country: Country::OTHER,
            at: start + Duration::from_secs(seconds),
        };
        let now = start + Duration::from_millis(31_001);
        let batch = vec![
            noted(1, 0),
            noted(2, 1),
            noted(3, 2),
            noted(4, 31),
            noted(5, 40),
        ];
        let (kept, reaches) = recorder.prepare(batch, now);
        assert_eq!(kept.len(), reaches.len());
        let ages: Vec<_> = reaches.iter().map(|reach| reach.age.as_millis()).collect();
        assert_eq!(ages, [29_001, 1, 0]);
        assert_eq!(recorder.tally.reaches(ReachResult::Dropped), 2);
    }
}
