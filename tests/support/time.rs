//! The time of a test's own runtime, apart from the wall clock's, for a runtime of one thread; and what of the wall clock's a
//! verdict may hang on.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::SOON;

/// Waits for real servers while time stands still: no deadline passes, however slow the machine is.
///
/// A sleep would never end. After [`SOON`] time goes on, and what still waits meets its deadline.
pub async fn standing_still<T>(waiting: impl Future<Output = T>) -> T {
    let (end, ended) = mpsc::channel::<()>();
    // Paused time goes on only while no blocking task runs.
    tokio::task::spawn_blocking(move || {
        let _ = ended.recv_timeout(SOON);
    });
    tokio::time::pause();
    let done = waiting.await;
    tokio::time::resume();
    drop(end);
    done
}

/// The slowest of the quickest fifth: those had a core to themselves, also on a busy machine with fewer cores than processes,
/// where the median of either side of a comparison is now and then half as long again as the other's.
#[must_use]
pub fn undisturbed(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort();
    latencies[latencies.len() / 5]
}

/// Waits until this holds.
///
/// # Panics
/// It still does not after [`SOON`].
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < SOON, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets every task of this thread's runtime do all that it can do now, sockets included.
pub async fn let_all_run() {
    // A chain of tasks that wake each other takes a turn for each.
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// More than any chain of tasks is long.
pub const TURNS: usize = 1_000;
