//! What the stream says. Names are a contract with the page alone, which comes from the same build.

use serde::Serialize;

/// What does not change, and the last minutes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Hello {
    /// The name that the service gave itself.
    pub(super) service: String,
    /// Of the library.
    pub(super) version: &'static str,
    /// When the process began to watch, in milliseconds since 1970.
    pub(super) started: u64,
    /// Whether a stack feeds the page; without one nothing is counted, whatever the service serves.
    pub(super) fed: bool,
    /// `memory` or `redis`.
    pub(super) store: &'static str,
    /// The active limits, in their order.
    pub(super) policies: Vec<Limit>,
    /// What is reported, `kind` with its threshold such as `5 in 5m`.
    pub(super) watches: Vec<Watch>,
    /// How long the first ban lasts, as text; `None` where bans are off.
    pub(super) bans: Option<BanSetting>,
    /// The funnel's stages, in their order.
    pub(super) stages: Vec<String>,
    /// Whether visitors are counted beside responses.
    pub(super) visitors: bool,
    /// Whether customers are told apart.
    pub(super) segments: bool,
    /// Whether the page may lift bans.
    pub(super) actions: bool,
    /// The bounds of the two lists of clients: how many are kept, and over which time, in seconds.
    pub(super) top: TopBounds,
    /// One sample a second, oldest first, at most 300.
    pub(super) history: Vec<Sample>,
}

/// An active limit.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Limit {
    pub(super) name: String,
    /// What is counted apart: `ip`, `user` or `custom`.
    pub(super) key: &'static str,
    /// Such as `200/1m`.
    pub(super) quota: String,
    /// Quotas of segments: segment and quota.
    pub(super) by_segment: Vec<(&'static str, String)>,
    /// Method and template, such as `POST /{country}/orders`; empty: every route.
    pub(super) routes: Vec<String>,
    /// `local`, `open` or `closed`.
    pub(super) on_store_failure: &'static str,
    pub(super) dry_run: bool,
}

/// What is reported.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Watch {
    pub(super) kind: &'static str,
    /// Failures, or distinct accounts or networks.
    pub(super) count: u32,
    /// Such as `5m`.
    pub(super) window: String,
}

/// How bans are.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BanSetting {
    /// The first, such as `10m`.
    pub(super) first: String,
    pub(super) longest: String,
    pub(super) dry_run: bool,
}

/// Bounds of the lists of clients.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct TopBounds {
    /// Counters kept in each minute.
    pub(super) counters: usize,
    /// Seconds that the lists look back.
    pub(super) seconds: u64,
}

/// A moment: totals since start.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Sample {
    /// Milliseconds since 1970.
    pub(super) at: u64,
    /// Milliseconds since start on a clock that is never set; rates divide by its differences.
    pub(super) uptime: u64,
    /// Requests that ended, by what became of them.
    pub(super) requests: Requests,
    /// Now under way.
    pub(super) active: u64,
    /// Seconds that requests took to their response's head, since start; `requests.total` of them.
    pub(super) seconds: f64,
    /// By policy, in the order of [`Hello::policies`].
    pub(super) decisions: Vec<Decisions>,
    /// Responses that reached each stage, in the order of [`Hello::stages`].
    pub(super) stages: Vec<u64>,
    /// Visitors that reached each stage; empty where they are not counted.
    pub(super) visitors: Vec<u64>,
}

/// Requests that ended. The parts add up to `total`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Requests {
    pub(super) total: u64,
    /// Statuses below 400.
    pub(super) ok: u64,
    /// 4xx of the service's own.
    pub(super) client_error: u64,
    /// Refused by a limit, or for a store that failed.
    pub(super) denied: u64,
    /// Refused for a ban.
    pub(super) banned: u64,
    /// 5xx, and no response at all.
    pub(super) server_error: u64,
    /// The client left before the response.
    pub(super) cancelled: u64,
}

/// What a policy decided.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Decisions {
    pub(super) admitted: u64,
    pub(super) denied: u64,
    pub(super) dry_run_denied: u64,
    pub(super) fallback_admitted: u64,
    pub(super) fallback_denied: u64,
}

/// What is so now.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Now {
    pub(super) sample: Sample,
    pub(super) store: StoreNow,
    /// Customers by segment: `returning`, `at_risk`, `churned`, `vip` and how many; `None` unless this process holds the sweep.
    pub(super) population: Option<Vec<(&'static str, u64)>>,
    /// Actions of customers since start, by segment.
    pub(super) segments: Vec<(&'static str, u64)>,
    /// Clients that were denied most.
    pub(super) limited: Top,
    /// Clients whose requests failed most (401, 404, other 4xx; no refusals).
    pub(super) suspicious: Top,
    /// The newest security events, newest first, at most 50.
    pub(super) events: Vec<SecurityEvent>,
    /// Bans that last, those that end last first, at most 100; `None` where bans are off.
    pub(super) bans: Option<Bans>,
    /// Incidents since start, by kind.
    pub(super) incidents: Vec<(&'static str, u64)>,
}

/// How the store fares.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct StoreNow {
    /// `ok`, or `failing` while the breaker is open.
    pub(super) state: &'static str,
    /// The kind of the last failure, since start.
    pub(super) last_error: Option<&'static str>,
    pub(super) corrupt_keys: u64,
    /// Calls since start, and how many of them failed.
    pub(super) calls: u64,
    pub(super) failed: u64,
    /// Seconds that calls took, since start.
    pub(super) seconds: f64,
}

/// The clients with the highest counts.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Top {
    /// Highest first, at most 10.
    pub(super) clients: Vec<TopClient>,
    /// Everything that was counted in the time that the list looks back.
    pub(super) total: u64,
    /// No count is too high by more than this, and no client that the summaries do not know has more.
    pub(super) error: u64,
    /// No client that is missing from the list has more than this: the error, or the first count that is not listed.
    pub(super) missing: u64,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TopClient {
    /// Address or network, such as `192.0.2.1` or `2001:db8::/64`.
    pub(super) client: String,
    /// At most this many: never too low.
    pub(super) count: u64,
    /// By how much it may be too high.
    pub(super) error: u64,
    /// Whether the client is banned now.
    pub(super) banned: bool,
}

/// One event of the security log, as it was written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SecurityEvent {
    /// Rises by one with each event.
    pub(super) number: u64,
    /// Milliseconds since 1970.
    pub(super) at: u64,
    /// `suspicious_activity`, `client_banned` or `ban_lifted`.
    pub(super) event: &'static str,
    /// The kind of the incident, or the ban's reason; empty for a lift.
    pub(super) kind: &'static str,
    /// The client, or its hash where the log has hashes.
    pub(super) client: String,
    /// Plain text: the evidence in a few words.
    pub(super) detail: String,
}

/// The bans.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Bans {
    pub(super) list: Vec<BanNow>,
    /// All that are known of, of which `list` is the first 100.
    pub(super) total: usize,
    /// Whether the store failed to tell: `list` is then what was last known, and what this process imposed alone since.
    pub(super) stale: bool,
}

/// A ban that lasts.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BanNow {
    /// The name to lift it by.
    pub(super) client: String,
    pub(super) reason: &'static str,
    pub(super) strikes: u32,
    /// Milliseconds since 1970.
    pub(super) since: u64,
    pub(super) until: u64,
}
