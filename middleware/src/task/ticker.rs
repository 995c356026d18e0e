//! A task that repeats its work, as long as its owner lives.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

/// Something with a ticker, and its work at each tick.
pub(crate) trait Tick: Send + Sync + 'static {
    fn ticker(&self) -> &Ticker;

    fn tick(self: Arc<Self>) -> impl Future<Output = ()> + Send;
}

/// Ticks at once and then at fixed intervals.
///
/// Invariants: at most one task ticks; it keeps its owner alive during a tick only, and ends with it. A task that ended with its
/// runtime, or by a panic, can be started anew.
#[derive(Debug)]
pub(crate) struct Ticker {
    /// Above zero.
    pub(crate) every: Duration,
    runs: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
}

impl Ticker {
    pub(crate) const fn new(every: Duration) -> Self {
        Self {
            every,
            runs: AtomicBool::new(false),
            task: Mutex::new(None),
        }
    }

    fn task(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticker {
    /// The task does not wait for its next tick to see that its owner is gone.
    fn drop(&mut self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

/// Starts the ticker on the runtime of the call, unless it runs already; without a runtime, a later call does.
pub(crate) fn start<T: Tick>(owner: &Arc<T>) {
    let Ticker { every, runs, .. } = owner.ticker();
    if !runs.load(Ordering::Relaxed)
        && let Ok(runtime) = Handle::try_current()
        && !runs.swap(true, Ordering::Relaxed)
    {
        let (running, every) = (Running(Arc::downgrade(owner)), *every);
        let task = runtime.spawn(async move {
            let mut ticks = tokio::time::interval(every);
            // A process that was stopped does not make up for the ticks of that time.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(owner) = running.0.upgrade() else {
                    return;
                };
                owner.tick().await;
            }
        });
        *owner.ticker().task() = Some(task.abort_handle());
    }
}

struct Running<T: Tick>(Weak<T>);

impl<T: Tick> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(owner) = self.0.upgrade() {
            owner.ticker().runs.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    struct Counter {
        ticker: Ticker,
        ticks: AtomicUsize,
    }

    impl Counter {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                ticker: Ticker::new(EVERY),
                ticks: AtomicUsize::new(0),
            })
        }

        fn ticks(&self) -> usize {
            self.ticks.load(Ordering::Relaxed)
        }
    }

    impl Tick for Counter {
        fn ticker(&self) -> &Ticker {
            &self.ticker
        }

        async fn tick(self: Arc<Self>) {
            let ticks = self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
            assert_ne!(ticks, 13, "an unlucky tick");
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_at_once_and_then_at_intervals_however_often_it_is_started() {
        let counter = Counter::new();
        for ticks in 1..=10 {
            start(&counter);
            tokio::time::sleep(EVERY - Duration::from_millis(1)).await;
            assert_eq!(counter.ticks(), ticks);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ends_with_its_owner() {
        let counter = Counter::new();
        start(&counter);
        tokio::time::sleep(EVERY / 2).await;
        let left = Arc::downgrade(&counter);
        drop(counter);
        assert!(left.upgrade().is_none());
        tokio::task::yield_now().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    }

    #[test]
    fn a_task_that_ended_with_its_runtime_or_by_a_panic_is_started_anew() {
        let counter = Counter::new();
        start(&counter);
        assert_eq!(counter.ticks(), 0, "no runtime, no task");
        for ticks in [12, 14] {
            runtime().block_on(async {
                for _ in 0..50 {
                    if counter.ticks() < ticks {
                        start(&counter);
                        tokio::time::sleep(EVERY / 2).await;
                    }
                }
            });
            assert!(counter.ticks() >= ticks);
        }
    }
}
