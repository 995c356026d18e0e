use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "otel")]
use crate::model::metrics::{Instrument, Metric, Metrics};

/// Why the server gave a connection up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its address has as many as it may.
    Address,
    /// Its place was needed.
    Yielded,
    /// It sent no request in time.
    Silent,
    /// It took nothing of an answer, or sent nothing of a body.
    Stalled,
}

impl Reason {
    const ALL: [(Self, &str); 4] = [
        (Self::Address, "address"),
        (Self::Yielded, "yielded"),
        (Self::Silent, "silent"),
        (Self::Stalled, "stalled"),
    ];
}

/// What [`Server::counts`](super::Server::counts) has counted: the connections that are open, and those that were given up.
#[derive(Debug, Default)]
pub struct ServerCounts {
    open: AtomicU64,
    given_up: [AtomicU64; Reason::ALL.len()],
}

impl ServerCounts {
    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were refused or closed for what their peer did or did not, with the reason.
    pub fn given_up(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.given_up.iter().map(|it| it.load(Ordering::Relaxed));
        Reason::ALL.iter().map(|(_, name)| *name).zip(counts)
    }

    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn give_up(&self, why: Reason) {
        let counts = Reason::ALL.iter().zip(&self.given_up);
        for (_, count) in counts.filter(|((reason, _), _)| *reason == why) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(feature = "otel")]
impl Metrics for ServerCounts {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(
            Instrument::gauge(
                "server.connections",
                "{connection}",
                &[],
                "Connections that are open.",
            ),
            |counts, series| series.add(&[], counts.open()),
        ),
        Metric::new(
            Instrument::counter(
                "server.connections_given_up",
                "{connection}",
                &["reason"],
                "Connections that were refused or closed for what their peer did or did not.",
            ),
            |counts, series| {
                for (reason, count) in counts.given_up() {
                    series.add(&[reason], count);
                }
            },
        ),
    ];
}
