//! What each request adds: relaxed atomic additions, and for one that was refused or failed a short lock.

use std::time::{Duration, Instant};

use super::stream::Requests;
use super::top::{COUNTERS, Top};
use crate::observe::{Class, Exchange, PolicyResult};
use crate::store::Outcome;
use crate::stripes::Striped;

/// Counts of requests and of calls to the store, and the clients that are counted apart.
#[derive(Debug)]
pub(super) struct Feed {
    start: Instant,
    requests: Striped<8>,
    calls: Striped<3>,
    /// Who is refused by limits.
    pub(super) limited: Top,
    /// Whose requests fail by their own doing.
    pub(super) suspicious: Top,
}

const BEGUN: usize = 0;
const OK: usize = 1;
const CLIENT_ERROR: usize = 2;
const DENIED: usize = 3;
const BANNED: usize = 4;
const SERVER_ERROR: usize = 5;
const CANCELLED: usize = 6;
const MICROS: usize = 7;

const CALLS: usize = 0;
const FAILED: usize = 1;
const CALL_MICROS: usize = 2;

/// The sums at one moment.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) requests: Requests,
    pub(super) active: u64,
    pub(super) seconds: f64,
}

impl Feed {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            requests: Striped::default(),
            calls: Striped::default(),
            limited: Top::new(COUNTERS as u16),
            suspicious: Top::new(COUNTERS as u16),
        }
    }

    /// The minute that a client is counted in now.
    pub(super) fn minute(&self) -> u64 {
        self.start.elapsed().as_secs() / 60
    }

    pub(super) fn begin(&self) {
        self.requests.add(BEGUN, 1);
    }

    pub(super) fn end(&self, exchange: &Exchange<'_>) {
        let counter = match (exchange.result, exchange.class()) {
            (PolicyResult::Banned, _) => BANNED,
            (_, Class::Refused) => DENIED,
            (_, Class::Ok) => OK,
            (_, Class::ClientError) => CLIENT_ERROR,
            (_, Class::Cancelled) => CANCELLED,
            (_, Class::ServerError) => SERVER_ERROR,
        };
        self.requests.add(counter, 1);
        self.requests.add(MICROS, micros(exchange.took));
        let top = match counter {
            DENIED => &self.limited,
            CLIENT_ERROR => &self.suspicious,
            _ => return,
        };
        top.count(exchange.client.network, self.minute());
    }

    pub(super) fn call(&self, outcome: Outcome, took: Duration) {
        // What the breaker kept from the store was no call.
        if outcome == Outcome::Rejected {
            return;
        }
        self.calls.add(CALLS, 1);
        if outcome != Outcome::Ok {
            self.calls.add(FAILED, 1);
        }
        self.calls.add(CALL_MICROS, micros(took));
    }

    pub(super) fn sums(&self) -> Sums {
        let sum = |counter| self.requests.sum(counter);
        let mut requests = Requests {
            ok: sum(OK),
            client_error: sum(CLIENT_ERROR),
            denied: sum(DENIED),
            banned: sum(BANNED),
            server_error: sum(SERVER_ERROR),
            cancelled: sum(CANCELLED),
            total: 0,
        };
        let Requests {
            ok,
            client_error,
            denied,
            banned,
            server_error,
            cancelled,
            ..
        } = requests;
        requests.total = ok + client_error + denied + banned + server_error + cancelled;
        Sums {
            requests,
            // Read after those that ended, so that none of them is missing among those that began.
            active: sum(BEGUN).saturating_sub(requests.total),
            seconds: seconds(sum(MICROS)),
        }
    }

    /// Calls to the store, failed ones among them, and their seconds.
    pub(super) fn calls(&self) -> (u64, u64, f64) {
        let failed = self.calls.sum(FAILED);
        let calls = self.calls.sum(CALLS).max(failed);
        (calls, failed, seconds(self.calls.sum(CALL_MICROS)))
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
