//! The panel: requests by how they ended, and the clients that were refused or failed most.
//!
//! A request adds relaxed atomic additions, and one that was refused or failed a short lock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::top::{COUNTERS, MINUTES, Ranking, Top};
use crate::model::panel::{Fields, Panel};
use crate::model::{Class, Exchange, Network, ObserveExchange, PolicyResult};
use crate::sync::Striped;

/// Clients of each list.
const LISTED: usize = 10;

const BEGUN: usize = 0;
const OK: usize = 1;
const CLIENT_ERROR: usize = 2;
const DENIED: usize = 3;
const BANNED: usize = 4;
const SERVER_ERROR: usize = 5;
const CANCELLED: usize = 6;
const MICROS: usize = 7;
const REFUSED: usize = 8;

/// Counts of requests, and the clients that are counted apart.
#[derive(Debug)]
pub(crate) struct Feed {
    start: Instant,
    requests: Striped<9>,
    /// Clients that limits refuse.
    limited: Top,
    /// Clients whose requests fail by their own doing.
    suspicious: Top,
}

impl Feed {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            requests: Striped::default(),
            limited: Top::new(COUNTERS as u16),
            suspicious: Top::new(COUNTERS as u16),
        })
    }

    /// The minute that a client is counted in now.
    fn minute(&self) -> u64 {
        self.start.elapsed().as_secs() / 60
    }

    fn requests(&self) -> Requests {
        let sum = |counter| self.requests.sum(counter);
        let requests = Requests {
            total: 0,
            ok: sum(OK),
            client_error: sum(CLIENT_ERROR),
            denied: sum(DENIED),
            banned: sum(BANNED),
            refused: sum(REFUSED),
            server_error: sum(SERVER_ERROR),
            cancelled: sum(CANCELLED),
        };
        let refused = requests.denied + requests.banned + requests.refused;
        let answered = requests.ok + requests.client_error + requests.server_error;
        Requests {
            total: answered + refused + requests.cancelled,
            ..requests
        }
    }
}

impl ObserveExchange for Arc<Feed> {
    fn begin(&self) {
        self.requests.add(BEGUN, 1);
    }

    fn observe(&self, exchange: &Exchange<'_>) {
        let counter = match (exchange.result, exchange.class()) {
            (PolicyResult::Banned, _) => BANNED,
            (result, Class::Refused) if result.is_refused() => DENIED,
            // By a layer further in than the limits, which may have admitted it.
            (_, Class::Refused) => REFUSED,
            (_, Class::Ok) => OK,
            (_, Class::ClientError) => CLIENT_ERROR,
            (_, Class::Cancelled) => CANCELLED,
            (_, Class::ServerError) => SERVER_ERROR,
        };
        self.requests.add(counter, 1);
        self.requests.add_time(MICROS, exchange.took);
        let top = match counter {
            DENIED => &self.limited,
            CLIENT_ERROR => &self.suspicious,
            _ => return,
        };
        top.count(exchange.client.network, self.minute());
    }
}

/// The panel.
pub(crate) struct ObservePanel {
    feed: Arc<Feed>,
    /// The clients that are banned now.
    banned: Box<dyn Fn() -> HashSet<Network> + Send + Sync>,
}

impl ObservePanel {
    pub(crate) fn new(
        feed: Arc<Feed>,
        banned: impl Fn() -> HashSet<Network> + Send + Sync + 'static,
    ) -> Self {
        let banned = Box::new(banned);
        Self { feed, banned }
    }
}

impl Panel for ObservePanel {
    fn name(&self) -> &'static str {
        "observe"
    }

    fn script(&self) -> &'static str {
        include_str!("panel.js")
    }

    fn hello(&self, fields: &mut Fields) {
        let top = Bounds {
            counters: COUNTERS,
            seconds: 60 * MINUTES as u64,
        };
        fields.add("top", &top);
    }

    fn sample(&self, fields: &mut Fields) {
        let requests = self.feed.requests();
        // Read after those that ended, so that none of them is missing among those that began.
        let begun = self.feed.requests.sum(BEGUN);
        fields.add("requests", &requests);
        fields.add("active", &begun.saturating_sub(requests.total));
        fields.add("seconds", &self.feed.requests.seconds(MICROS));
    }

    fn now(&self, fields: &mut Fields) {
        let (minute, banned) = (self.feed.minute(), (self.banned)());
        let list = |top: &Top| List::new(top.ranking(minute, LISTED), &banned);
        fields.add("limited", &list(&self.feed.limited));
        fields.add("suspicious", &list(&self.feed.suspicious));
    }
}

/// Requests that ended. The parts add up to `total`.
#[derive(Debug, Clone, Copy, Serialize)]
struct Requests {
    total: u64,
    /// Statuses below 400.
    ok: u64,
    /// 4xx of the service's own.
    client_error: u64,
    /// Refused by a limit, or for a store that failed.
    denied: u64,
    /// Refused for a ban.
    banned: u64,
    /// Refused by another layer than the limits and the bans.
    refused: u64,
    /// 5xx, and no response at all.
    server_error: u64,
    /// The client left before the response.
    cancelled: u64,
}

/// Bounds of the lists of clients.
#[derive(Debug, Serialize)]
struct Bounds {
    /// Counters kept in each minute.
    counters: usize,
    /// Seconds that the lists look back.
    seconds: u64,
}

/// The clients with the highest counts.
#[derive(Debug, Serialize)]
struct List {
    /// Highest first, at most 10.
    clients: Vec<Listed>,
    /// Everything that was counted in the time that the list looks back.
    total: u64,
    /// No count is too high by more than this, and no client that the summaries do not know has more.
    error: u64,
    /// No client that is missing from the list has more than this: the error, or the first count that is not listed.
    missing: u64,
}

/// One of them.
#[derive(Debug, Serialize)]
struct Listed {
    /// Address or network, such as `192.0.2.1` or `2001:db8::/64`.
    client: String,
    /// At most this many: never too low.
    count: u64,
    /// By how much it may be too high.
    error: u64,
    /// Whether the client is banned now.
    banned: bool,
}

impl List {
    fn new(ranking: Ranking, banned: &HashSet<Network>) -> Self {
        let clients = ranking.clients.into_iter().map(|it| Listed {
            banned: banned.contains(&it.client),
            client: it.client.to_string(),
            count: it.count,
            error: it.error,
        });
        Self {
            clients: clients.collect(),
            total: ranking.total,
            error: ranking.error,
            missing: ranking.missing,
        }
    }
}
