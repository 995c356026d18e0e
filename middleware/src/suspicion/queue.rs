//! What failed and waits to be counted: bounded, so that a flood costs failures and neither memory nor time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::store::FailedRequest;
use crate::client::UserId;

/// Most failures counted in one call to the store: a server counts so many in a fraction of a millisecond, during
/// which it serves nobody else.
const BATCH: usize = 32;

/// A failure as the response showed it.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) request: FailedRequest,
    pub(super) user: Option<UserId>,
    pub(super) at: SystemTime,
}

#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    failures: VecDeque<Noted>,
    /// Whether somebody takes from the queue.
    draining: bool,
    /// Whether a failure was dropped since the queue was last empty.
    overflowing: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Somebody will take it.
    Waits,
    /// The caller is to start somebody who takes it.
    Starts,
    /// The queue is full.
    Dropped {
        /// Whether this is the first since the queue was last empty.
        first: bool,
    },
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, noted: Noted) -> Pushed {
        let mut waiting = self.lock();
        if waiting.failures.len() >= self.capacity {
            let first = !std::mem::replace(&mut waiting.overflowing, true);
            return Pushed::Dropped { first };
        }
        waiting.failures.push_back(noted);
        if std::mem::replace(&mut waiting.draining, true) {
            Pushed::Waits
        } else {
            Pushed::Starts
        }
    }

    /// The oldest failures, or `None` when there are none: the caller then takes no more.
    pub(super) fn next(&self) -> Option<Vec<Noted>> {
        let mut waiting = self.lock();
        let size = waiting.failures.len().min(BATCH);
        if size == 0 {
            waiting.draining = false;
            waiting.overflowing = false;
            return None;
        }
        Some(waiting.failures.drain(..size).collect())
    }

    /// Whoever took from the queue went away: the next failure starts another.
    pub(super) fn abandoned(&self) {
        self.lock().draining = false;
    }
}
