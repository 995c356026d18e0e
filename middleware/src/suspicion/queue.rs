//! What failed and waits to be counted: bounded, so that a flood costs failures and neither memory nor time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::store::FailedRequest;
use crate::model::UserId;

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

impl Noted {
    /// Whether it is kept rather than others: somebody tries passwords or tokens.
    fn is_of_credentials(&self) -> bool {
        self.request.login.is_some() || self.request.status == StatusCode::UNAUTHORIZED
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// 401s and logins, and all else; each with its number in the order of arrival, the oldest first.
    credentials: VecDeque<(u64, Noted)>,
    others: VecDeque<(u64, Noted)>,
    arrivals: u64,
    /// Whether somebody takes from the queue.
    draining: bool,
    overflow: Overflow,
}

/// What came of a failure that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// The caller is to start somebody who takes from the queue.
    pub(super) starts: bool,
    /// The queue was full: this failure, or the oldest that gave way to it, is not counted.
    pub(super) dropped: bool,
    /// How many were dropped since that was last told, if it is time to tell again.
    pub(super) tell: Option<u64>,
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

    /// Lets a failure wait. In a full queue one of credentials takes the place of the oldest other one, so that no flood of
    /// another kind hides it; what cannot wait is dropped.
    pub(super) fn push(&self, noted: Noted) -> Pushed {
        let mut waiting = self.lock();
        let of_credentials = noted.is_of_credentials();
        let full = waiting.len() >= self.capacity;
        let tell = if full {
            waiting.overflow.count(Instant::now())
        } else {
            None
        };
        let waits = !full || (of_credentials && waiting.others.pop_front().is_some());
        if waits {
            waiting.arrivals += 1;
            let numbered = (waiting.arrivals, noted);
            if of_credentials {
                waiting.credentials.push_back(numbered);
            } else {
                waiting.others.push_back(numbered);
            }
        }
        Pushed {
            // Of a full queue that nobody takes from, someone is to take even though this one is dropped.
            starts: !std::mem::replace(&mut waiting.draining, true),
            dropped: full,
            tell,
        }
    }

    /// The oldest failures, or `None` when there are none: the caller then takes no more.
    pub(super) fn next(&self) -> Option<Vec<Noted>> {
        let mut waiting = self.lock();
        let size = waiting.len().min(BATCH);
        if size == 0 {
            waiting.draining = false;
            return None;
        }
        let mut batch = Vec::with_capacity(size);
        batch.extend(std::iter::from_fn(|| waiting.oldest()).take(size));
        Some(batch)
    }

    /// Whoever took from the queue went away: the next failure starts another.
    pub(super) fn abandoned(&self) {
        self.lock().draining = false;
    }
}

impl Waiting {
    fn len(&self) -> usize {
        self.credentials.len() + self.others.len()
    }

    fn oldest(&mut self) -> Option<Noted> {
        let number = |queue: &VecDeque<(u64, Noted)>| queue.front().map_or(u64::MAX, |(n, _)| *n);
        let queue = if number(&self.credentials) < number(&self.others) {
            &mut self.credentials
        } else {
            &mut self.others
        };
        queue.pop_front().map(|(_, noted)| noted)
    }
}

/// How many were dropped, told at most once a minute.
#[derive(Debug, Default)]
struct Overflow {
    untold: u64,
    told: Option<Instant>,
}

impl Overflow {
    const EVERY: Duration = Duration::from_secs(60);

    fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        let told = |at: Instant| now.saturating_duration_since(at) < Self::EVERY;
        if self.told.is_some_and(told) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Network, Route};

    fn noted(octet: u8, status: u16) -> Noted {
        Noted {
            request: FailedRequest {
                client: Network::of([192, 0, 2, octet].into(), 64),
                status: StatusCode::from_u16(status).unwrap(),
                route: Route::UNMATCHED,
                login: None,
            },
            user: None,
            at: SystemTime::UNIX_EPOCH,
        }
    }

    fn all(queue: &Queue) -> Vec<(String, u16)> {
        std::iter::from_fn(|| queue.next())
            .flatten()
            .map(|noted| {
                (
                    noted.request.client.to_string(),
                    noted.request.status.as_u16(),
                )
            })
            .collect()
    }

    #[test]
    fn a_401_takes_the_place_of_the_oldest_other_failure_and_of_no_401() {
        let queue = Queue::new(3);
        for (octet, status) in [(1, 404), (2, 401), (3, 404)] {
            assert!(!queue.push(noted(octet, status)).dropped);
        }
        for (octet, status) in [(4, 404), (5, 401), (6, 401), (7, 401), (8, 404)] {
            assert!(queue.push(noted(octet, status)).dropped);
        }
        let expected = [2, 5, 6].map(|octet| (format!("192.0.2.{octet}"), 401));
        assert_eq!(all(&queue), expected);
    }

    #[test]
    fn a_failure_that_waits_takes_no_more_than_the_layer_says() {
        let size = size_of::<(u64, Noted)>();
        assert!(size <= 120, "{size} bytes");
    }

    #[test]
    fn failures_are_taken_in_the_order_in_which_they_came() {
        let queue = Queue::new(100);
        let statuses: Vec<u16> = (0..100_u16).map(|n| 401 + (n * 7 % 5) % 4).collect();
        for (n, status) in statuses.iter().enumerate() {
            let pushed = queue.push(noted(n as u8, *status));
            assert_eq!((pushed.starts, pushed.dropped), (n == 0, false));
        }
        let taken: Vec<u16> = all(&queue).into_iter().map(|(_, status)| status).collect();
        assert_eq!(taken, statuses);
        assert!(queue.push(noted(1, 404)).starts, "nobody takes any more");
    }

    #[test]
    fn tells_how_many_were_dropped_at_most_once_a_minute() {
        let mut overflow = Overflow::default();
        let start = Instant::now();
        let mut told = Vec::new();
        // Ten a second for three minutes.
        for n in 0..1_800 {
            let now = start + Duration::from_millis(100) * n;
            told.extend(overflow.count(now).map(|dropped| (n, dropped)));
        }
        assert_eq!(told, [(0, 1), (600, 600), (1_200, 600)]);
    }
}
