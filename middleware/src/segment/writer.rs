//! The queue to the store: orders and refunds go at once, activity when it is due. Bounded, and never on a request's path.
//!
//! It is no `task::queue`: that knows no moment when an item is due, and a batch that failed does not come back there.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Change, Event, Timestamp};
use crate::model::UserId;

/// Most orders, refunds and customers' activities in one call to the store: a server applies them in a fraction of a
/// millisecond, during which it serves nobody else.
const BATCH: usize = 32;
/// The longest sleep, so that a step of the wall clock delays nothing for longer.
const NAP: Duration = Duration::from_secs(60);

pub(super) struct Writer {
    /// Most orders and refunds that wait, those under way included.
    capacity: usize,
    waiting: Mutex<Waiting>,
    /// Wakes the task that sleeps until activity is due.
    wake: Notify,
    /// Tells that nothing is left that is due.
    idle: Notify,
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    /// Customers with due activity; the cache has its moment.
    due: VecDeque<UserId>,
    /// Customers with activity that will be due.
    resting: BinaryHeap<Reverse<(Timestamp, UserId)>>,
    /// What a task is writing.
    under_way: Taken,
    /// Whether a task takes from here.
    draining: bool,
    /// Whether the store refused a batch: one at a time then, so that one change cannot hold up the others.
    singly: bool,
}

/// The next step of the task.
pub(super) enum Next {
    /// Write these.
    Write(Taken),
    /// Nothing is due for this long.
    Sleep(Duration),
    /// Nothing waits: the task ends.
    End,
}

/// Changes that are written together.
#[derive(Clone, Default)]
pub(super) struct Taken {
    pub(super) changes: Vec<Change>,
    pub(super) active: Vec<UserId>,
}

impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an order or a refund; false when there is no room.
    pub(super) fn push(&self, change: Change) -> bool {
        let mut waiting = self.lock();
        if waiting.changes.len() + waiting.under_way.changes.len() >= self.capacity {
            return false;
        }
        waiting.changes.push_back(change);
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// Queues what an earlier process left, whether or not there is room. The cache holds the customer.
    pub(super) fn restore(&self, change: Change) {
        let mut waiting = self.lock();
        if matches!(change.event, Event::Activity) {
            waiting.due.push_back(change.customer);
        } else {
            waiting.changes.push_back(change);
        }
    }

    /// The customer's activity is to be written at that moment. The cache holds the customer until then.
    pub(super) fn schedule(&self, user: UserId, at: Timestamp) {
        self.lock().resting.push(Reverse((at, user)));
        self.wake.notify_one();
    }

    /// Whether the caller is to start a task that takes from here.
    pub(super) fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().draining, true)
    }

    pub(super) fn next(&self, now: Timestamp) -> Next {
        let mut waiting = self.lock();
        while let Some(Reverse((at, _))) = waiting.resting.peek()
            && *at <= now
            && let Some(Reverse((_, user))) = waiting.resting.pop()
        {
            waiting.due.push_back(user);
        }
        let batch = if waiting.singly { 1 } else { BATCH };
        let orders = waiting.changes.len().min(batch);
        let active = waiting.due.len().min(batch - orders);
        if orders + active > 0 {
            let taken = Taken {
                changes: waiting.changes.drain(..orders).collect(),
                active: waiting.due.drain(..active).collect(),
            };
            waiting.under_way = taken.clone();
            return Next::Write(taken);
        }
        if let Some(Reverse((at, _))) = waiting.resting.peek() {
            return Next::Sleep(at.since(now).min(NAP));
        }
        waiting.draining = false;
        Next::End
    }

    /// Sleeps, unless something new comes.
    pub(super) async fn sleep(&self, nap: Duration) {
        let _ = tokio::time::timeout(nap, self.wake.notified()).await;
    }

    /// The batch is written; whether nothing is left that is due.
    pub(super) fn done(&self) -> bool {
        let mut waiting = self.lock();
        waiting.under_way = Taken::default();
        waiting.singly = false;
        let is_idle = waiting.is_idle();
        drop(waiting);
        if is_idle {
            self.idle.notify_waiters();
        }
        is_idle
    }

    /// The batch is not written: it waits again, behind newer changes.
    pub(super) fn put_back(&self, changes: Vec<Change>, singly: bool) {
        let mut waiting = self.lock();
        waiting.under_way = Taken::default();
        waiting.singly = singly;
        for change in changes {
            if matches!(change.event, Event::Activity) {
                // Two of one customer stand next to each other.
                if waiting.due.back() == Some(&change.customer) {
                    continue;
                }
                waiting.due.push_back(change.customer);
            } else {
                waiting.changes.push_back(change);
            }
        }
    }

    /// The task went away: the next change starts another.
    pub(super) fn abandoned(&self) {
        self.lock().draining = false;
    }

    /// Forgets a customer's waiting changes.
    pub(super) fn forget(&self, user: &UserId) {
        let mut waiting = self.lock();
        waiting.changes.retain(|change| change.customer != *user);
        waiting.due.retain(|due| due != user);
        waiting
            .resting
            .retain(|Reverse((_, resting))| resting != user);
    }

    /// All activity is due.
    pub(super) fn hasten(&self) {
        let mut waiting = self.lock();
        let resting = std::mem::take(&mut waiting.resting);
        let users = resting.into_iter().map(|Reverse((_, user))| user);
        waiting.due.extend(users);
        drop(waiting);
        self.wake.notify_one();
    }

    /// Waits until nothing is due.
    pub(super) async fn until_idle(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            // Registered before the look, so that no end is missed between the two.
            idle.as_mut().enable();
            if self.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// How many changes wait.
    pub(super) fn left(&self) -> usize {
        let waiting = self.lock();
        let Waiting {
            changes,
            due,
            resting,
            under_way,
            ..
        } = &*waiting;
        let under_way = under_way.changes.len() + under_way.active.len();
        changes.len() + due.len() + resting.len() + under_way
    }

    /// A copy of all that waits.
    pub(super) fn unwritten(&self) -> Taken {
        let waiting = self.lock();
        let mut all = waiting.under_way.clone();
        all.changes.extend(waiting.changes.iter().cloned());
        all.active.extend(waiting.due.iter().cloned());
        let resting = waiting.resting.iter();
        all.active
            .extend(resting.map(|Reverse((_, user))| user.clone()));
        all
    }

    /// Drops all that waits.
    pub(super) fn give_up(&self) -> Taken {
        let all = self.unwritten();
        *self.lock() = Waiting::default();
        all
    }
}

impl Waiting {
    fn is_idle(&self) -> bool {
        let Taken { changes, active } = &self.under_way;
        let is_resting = changes.is_empty() && active.is_empty();
        is_resting && self.changes.is_empty() && self.due.is_empty()
    }
}
