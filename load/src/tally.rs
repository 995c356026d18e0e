//! How it goes: counts by persona and status, and answers that are not right.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use webstore::demo::personas::{Ask, Kind};

/// How often the progress is told.
const EVERY: Duration = Duration::from_secs(5);
/// Wrong answers that are told one by one.
const TOLD: usize = 20;
/// A flood of so many requests must have met its limit, if the webstore has one.
const FLOOD: u64 = 600;

pub(crate) struct Tally {
    started: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By kind (as in [`Kind::ALL`]) and status.
    answers: BTreeMap<(usize, u16), u64>,
    /// What was wrong, how often. Statuses and names are few, and so are causes of failures.
    wrong: BTreeMap<String, u64>,
    /// How long honest visitors waited to be signed in and out, in microseconds.
    logins: Vec<u32>,
    logouts: Vec<u32>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            counts: Mutex::default(),
        }
    }

    /// Counts an answer, right or wrong.
    pub(crate) fn count(&self, kind: Kind, ask: &Ask, expected: &[u16], status: u16) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.answers.entry((index(kind), status)).or_default() += 1;
        if !expected.contains(&status) {
            let what = format!("{status} instead of {}", list(expected));
            counts.note(kind, ask, &what);
        }
    }

    /// Notes how long a login or a logout took, of an honest visitor: the others wait because they are attackers.
    pub(crate) fn time(&self, kind: Kind, ask: &Ask, took: Duration) {
        if !kind.is_honest() {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if ask.is_login() {
            counts.logins.push(took);
        } else if ask.is_logout() {
            counts.logouts.push(took);
        }
    }

    /// Counts a request without an answer.
    pub(crate) fn count_failure(&self, kind: Kind, ask: &Ask, why: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.note(kind, ask, why);
    }

    /// Whether every answer was a right one, and there were any.
    pub(crate) fn is_as_expected(&self) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total() > 0 && counts.wrong.is_empty() && !counts.is_flood_let_through()
    }

    /// Tells how it goes, for ever.
    pub(crate) async fn report_progress(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let by_status = counts.by_status();
            let seconds = self.started.elapsed().as_secs();
            eprintln!(
                "load: {seconds:>4} s  {:>7} answers  {by_status}  wrong: {}",
                counts.total(),
                counts.wrong.values().sum::<u64>()
            );
        }
    }

    /// Tells how it went.
    pub(crate) fn summarise(&self) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        eprint!("{}", counts.summary());
    }
}

impl Counts {
    fn note(&mut self, kind: Kind, ask: &Ask, what: &str) {
        let what = format!("{}: {} {}: {what}", kind.as_str(), ask.method, ask.name);
        *self.wrong.entry(what).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.answers.values().sum()
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = (u16, u64)> {
        let at = index(kind);
        let answers = self.answers.range((at, 0)..=(at, u16::MAX));
        answers.map(|((_, status), count)| (*status, *count))
    }

    fn by_status(&self) -> String {
        let mut by_status: BTreeMap<u16, u64> = BTreeMap::new();
        for ((_, status), count) in &self.answers {
            *by_status.entry(*status).or_default() += count;
        }
        statuses(by_status.into_iter())
    }

    fn is_flood_let_through(&self) -> bool {
        let flood: Vec<_> = self.of(Kind::Flood).collect();
        let asked: u64 = flood.iter().map(|(_, count)| count).sum();
        asked >= FLOOD && flood.iter().all(|(status, _)| *status != 429)
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        for kind in Kind::ALL {
            let answers = statuses(self.of(kind));
            if !answers.is_empty() {
                let _ = writeln!(text, "load: {:<20} {answers}", kind.as_str());
            }
        }
        for (what, times) in [("logins", &self.logins), ("logouts", &self.logouts)] {
            if let (Some(half), Some(most)) = (percentile(times, 50), percentile(times, 99)) {
                let _ = writeln!(
                    text,
                    "load: {what:<20} {}, p50 {half:.1} ms, p99 {most:.1} ms",
                    times.len()
                );
            }
        }
        if self.total() == 0 {
            text.push_str("load: FAILED: not one answer\n");
        }
        if self.is_flood_let_through() {
            text.push_str(
                "load: FAILED: the flood was never denied; does the webstore limit addresses?\n",
            );
        }
        for (what, times) in self.wrong.iter().take(TOLD) {
            let _ = writeln!(text, "load: FAILED: {what}, {times} times");
        }
        if self.wrong.len() > TOLD {
            let _ = writeln!(text, "load: FAILED: and {} more", self.wrong.len() - TOLD);
        }
        if self
            .wrong
            .keys()
            .any(|what| what.contains("429 instead of"))
        {
            text.push_str(
                "load: honest visitors were denied: does the webstore trust the forwarding header of this \
                 address? It does with --config load/webstore.toml.\n",
            );
        }
        text
    }
}

/// The time below which so many of 100 lie, in milliseconds.
fn percentile(times: &[u32], percent: usize) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(at).map(|micros| f64::from(*micros) / 1_000.0)
}

fn index(kind: Kind) -> usize {
    Kind::ALL
        .iter()
        .position(|known| *known == kind)
        .unwrap_or(0)
}

fn statuses(counts: impl Iterator<Item = (u16, u64)>) -> String {
    let each = counts.map(|(status, count)| format!("{status}: {count}"));
    each.collect::<Vec<_>>().join("  ")
}

fn list(expected: &[u16]) -> String {
    let each = expected.iter().map(u16::to_string);
    each.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_time_below_which_so_many_lie() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7_000], 99), Some(7.0));
        let hundred: Vec<u32> = (1..=100).rev().map(|n| n * 1_000).collect();
        assert_eq!(percentile(&hundred, 50), Some(50.0));
        assert_eq!(percentile(&hundred, 99), Some(99.0));
    }
}
