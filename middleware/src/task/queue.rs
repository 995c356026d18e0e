//! Work that a response leaves: a bounded queue, and a task that empties it off the request's path.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

/// Most items of one batch: a server does them in a fraction of a millisecond, during which it serves nobody else.
pub(crate) const BATCH: usize = 32;

/// Something with a queue, and its work on a batch of waiting items.
pub(crate) trait Work: Send + Sync + 'static {
    /// A waiting item.
    type Item: Send + 'static;

    /// The queue of the items.
    fn queue(&self) -> &Queue<Self::Item>;

    /// Whether an item takes the place of one that is not precious when the queue is full.
    fn is_precious(_: &Self::Item) -> bool {
        false
    }

    /// Does a batch of 1 to [`BATCH`] items, the oldest first. A batch whose future is dropped is not done again.
    fn finish(&self, batch: Vec<Self::Item>) -> impl Future<Output = ()> + Send;

    /// As [`finish`](Self::finish), where there is no runtime to wait on.
    fn finish_here(&self, batch: Vec<Self::Item>);
}

/// Items that wait: at most `capacity`, so that a flood costs items and neither memory nor time.
///
/// Invariants: each item is taken once, in the order in which the items came, or dropped and reported as dropped; a
/// precious item is dropped only while all that wait are precious; one task at a time takes, and while none does, the next
/// item starts one.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    capacity: usize,
    waiting: Mutex<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    /// Each item with its number in the order of arrival, the oldest first.
    precious: VecDeque<(u64, T)>,
    others: VecDeque<(u64, T)>,
    arrivals: u64,
    /// Whether a task takes from the queue.
    draining: bool,
    /// Whether an item was dropped since the queue was last empty.
    overflowing: bool,
}

/// The queue was full: this item, or the oldest that gave way to it, is lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Whether it is the first since the queue was last empty.
    pub(crate) first: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: Mutex::new(Waiting {
                precious: VecDeque::new(),
                others: VecDeque::new(),
                arrivals: 0,
                draining: false,
                overflowing: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an item wait. The first answer is whether the caller is to start a task that takes from the queue.
    pub(crate) fn push(&self, item: T, is_precious: bool) -> (bool, Result<(), Dropped>) {
        let mut waiting = self.lock();
        let is_full = waiting.len() >= self.capacity;
        if !is_full || (is_precious && waiting.others.pop_front().is_some()) {
            waiting.arrivals += 1;
            let numbered = (waiting.arrivals, item);
            if is_precious {
                waiting.precious.push_back(numbered);
            } else {
                waiting.others.push_back(numbered);
            }
        }
        let starts = !mem::replace(&mut waiting.draining, true);
        if is_full {
            let first = !mem::replace(&mut waiting.overflowing, true);
            return (starts, Err(Dropped { first }));
        }
        (starts, Ok(()))
    }

    /// The oldest items, or `None` when there are none: the caller then takes no more.
    pub(crate) fn next(&self) -> Option<Vec<T>> {
        let mut waiting = self.lock();
        let size = waiting.len().min(BATCH);
        if size == 0 {
            waiting.draining = false;
            waiting.overflowing = false;
            return None;
        }
        let mut batch = Vec::with_capacity(size);
        batch.extend(std::iter::from_fn(|| waiting.oldest()).take(size));
        Some(batch)
    }
}

impl<T> Waiting<T> {
    fn len(&self) -> usize {
        self.precious.len() + self.others.len()
    }

    fn oldest(&mut self) -> Option<T> {
        let number = |queue: &VecDeque<(u64, T)>| queue.front().map_or(u64::MAX, |(n, _)| *n);
        let queue = if number(&self.precious) < number(&self.others) {
            &mut self.precious
        } else {
            &mut self.others
        };
        queue.pop_front().map(|(_, item)| item)
    }
}

/// Leaves an item to be done. It never waits: a full queue drops one.
pub(crate) fn leave<W: Work>(work: &Arc<W>, item: W::Item) -> Result<(), Dropped> {
    let is_precious = W::is_precious(&item);
    let (starts, left) = work.queue().push(item, is_precious);
    // If no task takes from the full queue, one must start although this item is dropped.
    if starts {
        let drain = Drain {
            work: Arc::clone(work),
            ended: false,
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(drain.run())),
            Err(_) => drain.run_here(),
        }
    }
    left
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
            // Work that never waits must not keep this thread from its requests.
            tokio::task::yield_now().await;
        }
        self.ended = true;
    }

    /// Without a runtime there is no other place than this one. It is some request's, which does one batch and leaves
    /// more, if there is any, to the next.
    fn run_here(mut self) {
        match self.work.queue().next() {
            Some(batch) => self.work.finish_here(batch),
            None => self.ended = true,
        }
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
    use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

    use proptest::prelude::*;
    use tokio::sync::Semaphore;

    use super::*;

    proptest! {
        /// Against a plain list of what waits.
        #[test]
        fn an_item_is_taken_once_and_in_its_order_or_dropped_and_precious_ones_are_dropped_last(
            capacity in 1_usize..50,
            // An item, precious or not; or a batch is taken.
            steps in prop::collection::vec(prop::option::weighted(0.97, any::<bool>()), 0..300),
        ) {
            let queue = Queue::new(capacity);
            let (mut list, mut draining) = (Vec::new(), false);
            for (item, step) in steps.into_iter().enumerate() {
                if let Some(is_precious) = step {
                    let (starts, left) = queue.push(item, is_precious);
                    prop_assert_eq!(starts, !draining);
                    draining = true;
                    prop_assert_eq!(left.is_err(), list.len() == capacity);
                    let other = list.iter().position(|(_, is_precious)| !is_precious);
                    if left.is_ok() {
                        list.push((item, is_precious));
                    } else if let (true, Some(other)) = (is_precious, other) {
                        list.remove(other);
                        list.push((item, is_precious));
                    }
                } else {
                    let taken = list.drain(..list.len().min(BATCH)).map(|(item, _)| item);
                    let taken: Vec<_> = taken.collect();
                    draining &= !taken.is_empty();
                    prop_assert_eq!(queue.next().unwrap_or_default(), taken);
                }
            }
        }
    }

    /// Counts how often each item was done, and sees to it that one at a time works.
    struct Counts {
        queue: Queue<usize>,
        times: Vec<AtomicU8>,
        is_busy: AtomicBool,
    }

    impl Work for Counts {
        type Item = usize;

        fn queue(&self) -> &Queue<usize> {
            &self.queue
        }

        fn is_precious(item: &usize) -> bool {
            item.is_multiple_of(3)
        }

        async fn finish(&self, batch: Vec<usize>) {
            assert!(!self.is_busy.swap(true, Ordering::SeqCst));
            tokio::task::yield_now().await;
            self.is_busy.store(false, Ordering::SeqCst);
            self.finish_here(batch);
        }

        fn finish_here(&self, batch: Vec<usize>) {
            assert!(!self.is_busy.swap(true, Ordering::SeqCst));
            for item in batch {
                self.times[item].fetch_add(1, Ordering::Relaxed);
            }
            self.is_busy.store(false, Ordering::SeqCst);
        }
    }

    #[test]
    fn threads_with_a_runtime_and_without_lose_nothing_and_do_nothing_twice() {
        const EACH: usize = 5_000;
        let work = Arc::new(Counts {
            queue: Queue::new(4 * EACH + 1),
            times: (0..=4 * EACH).map(|_| AtomicU8::new(0)).collect(),
            is_busy: AtomicBool::new(false),
        });
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).build().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (work, runtime) = (&work, &runtime);
                scope.spawn(move || {
                    let _inside = (thread < 2).then(|| runtime.enter());
                    for item in 0..EACH {
                        leave(work, thread * EACH + item).unwrap();
                    }
                });
            }
        });
        // Whoever has no runtime leaves what is more than a batch to the next.
        runtime.block_on(async {
            leave(&work, 4 * EACH).unwrap();
            until(|| !work.queue.lock().draining).await;
        });
        let times = work.times.iter().map(|times| times.load(Ordering::Relaxed));
        assert!(times.eq((0..=4 * EACH).map(|_| 1)));
    }

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
            assert_eq!(leave(&log, 3), Err(Dropped { first: true }));
            assert_eq!(leave(&log, 4), Err(Dropped { first: false }));
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
