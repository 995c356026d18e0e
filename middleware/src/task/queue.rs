//! What a response leaves to be done: a bounded queue, and a task that empties it off the request's path.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

/// Most items of one batch: a server does so many in a fraction of a millisecond, during which it serves nobody else.
pub(crate) const BATCH: usize = 32;

/// Something with a queue, and how a batch of what waits there is done.
pub(crate) trait Work: Send + Sync + 'static {
    /// What waits.
    type Item: Send + 'static;

    /// Where it waits.
    fn queue(&self) -> &Queue<Self::Item>;

    /// Does a batch of 1 to [`BATCH`] items, the oldest first. Dropped midway, it is the batch's end.
    fn finish(&self, batch: Vec<Self::Item>) -> impl Future<Output = ()> + Send;

    /// As [`finish`](Self::finish), where nothing can be waited for.
    fn finish_here(&self, batch: Vec<Self::Item>);
}

/// Items that wait: at most `capacity`, so that a flood costs items and neither memory nor time.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    capacity: usize,
    waiting: Mutex<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    /// Whether somebody takes from the queue.
    draining: bool,
    /// Whether an item was refused since the queue was last empty.
    overflowing: bool,
}

/// The queue was full: the item is lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Whether it is the first since the queue was last empty.
    pub(crate) first: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: Mutex::new(Waiting {
                items: VecDeque::new(),
                draining: false,
                overflowing: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller is to start somebody who takes from the queue.
    fn push(&self, item: T) -> Result<bool, Full> {
        let mut waiting = self.lock();
        if waiting.items.len() >= self.capacity {
            let first = !std::mem::replace(&mut waiting.overflowing, true);
            return Err(Full { first });
        }
        waiting.items.push_back(item);
        Ok(!std::mem::replace(&mut waiting.draining, true))
    }

    /// The oldest items, or `None` when there are none: the caller then takes no more.
    fn next(&self) -> Option<Vec<T>> {
        let mut waiting = self.lock();
        let size = waiting.items.len().min(BATCH);
        if size == 0 {
            waiting.draining = false;
            waiting.overflowing = false;
            return None;
        }
        Some(waiting.items.drain(..size).collect())
    }
}

/// Leaves an item to be done. It never waits: a full queue refuses.
pub(crate) fn leave<W: Work>(work: &Arc<W>, item: W::Item) -> Result<(), Full> {
    if work.queue().push(item)? {
        let drain = Drain {
            work: Arc::clone(work),
            ended: false,
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(drain.run())),
            // There is no other place than this one.
            Err(_) => drain.run_here(),
        }
    }
    Ok(())
}

/// Takes batches until none waits. Dropped midway (its runtime shut down, a panic), it leaves a queue that works.
struct Drain<W: Work> {
    work: Arc<W>,
    ended: bool,
}

impl<W: Work> Drain<W> {
    async fn run(mut self) {
        while let Some(batch) = self.work.queue().next() {
            self.work.finish(batch).await;
            // What is done without a wait must not keep this thread from its requests.
            tokio::task::yield_now().await;
        }
        self.ended = true;
    }

    fn run_here(mut self) {
        while let Some(batch) = self.work.queue().next() {
            self.work.finish_here(batch);
        }
        self.ended = true;
    }
}

impl<W: Work> Drop for Drain<W> {
    fn drop(&mut self) {
        if !self.ended {
            // The next item starts another.
            self.work.queue().lock().draining = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    /// Keeps what was done; each batch waits for a permit.
    struct Log {
        queue: Queue<u32>,
        done: Mutex<Vec<Vec<u32>>>,
        permits: Semaphore,
    }

    impl Log {
        fn new(capacity: usize, permits: usize) -> Arc<Self> {
            Arc::new(Self {
                queue: Queue::new(capacity),
                done: Mutex::default(),
                permits: Semaphore::new(permits),
            })
        }

        fn done(&self) -> Vec<Vec<u32>> {
            self.done.lock().unwrap().clone()
        }
    }

    impl Work for Log {
        type Item = u32;

        fn queue(&self) -> &Queue<u32> {
            &self.queue
        }

        async fn finish(&self, batch: Vec<u32>) {
            self.permits.acquire().await.unwrap().forget();
            self.finish_here(batch);
        }

        fn finish_here(&self, batch: Vec<u32>) {
            assert!(!batch.contains(&13), "an unlucky item");
            self.done.lock().unwrap().push(batch);
        }
    }

    async fn until(what: impl Fn() -> bool) {
        while !what() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn items_are_done_in_their_order_and_in_bounded_batches() {
        let log = Log::new(100, 100);
        for item in 100..180 {
            leave(&log, item).unwrap();
        }
        until(|| log.done().concat().len() == 80).await;
        assert_eq!(log.done().concat(), (100..180).collect::<Vec<_>>());
        assert!(log.done().iter().all(|batch| batch.len() <= BATCH));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_says_so_once_until_it_is_empty() {
        let log = Log::new(2, 0);
        for _ in 0..2 {
            leave(&log, 1).unwrap();
            leave(&log, 2).unwrap();
            assert_eq!(leave(&log, 3), Err(Full { first: true }));
            assert_eq!(leave(&log, 4), Err(Full { first: false }));
            log.permits.add_permits(1);
            until(|| log.done().concat() == [1, 2] && !log.queue.lock().draining).await;
            log.done.lock().unwrap().clear();
        }
    }

    #[tokio::test]
    async fn a_batch_that_panics_leaves_a_queue_that_works() {
        let log = Log::new(10, 10);
        leave(&log, 13).unwrap();
        until(|| !log.queue.lock().draining).await;
        leave(&log, 14).unwrap();
        until(|| log.done() == [[14]]).await;
    }

    #[test]
    fn a_runtime_that_ended_midway_leaves_a_queue_that_works() {
        let log = Log::new(10, 0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            leave(&log, 1).unwrap();
            tokio::task::yield_now().await;
        });
        drop(runtime);
        leave(&log, 2).unwrap();
        assert_eq!(log.done(), [[2]], "without a runtime, at once");
    }
}
