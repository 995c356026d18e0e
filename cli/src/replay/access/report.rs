use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use palisade::rate_limit::Policy;
use palisade::suspicion::{IncidentKind, Threshold};
use serde::{Serialize, Serializer};

use super::clients::Clients;
use super::limits::counts_by_user;
use super::peaks::{Peaks, SuggestedLimits};
use super::replay::{Outcome, PolicyOutcome};
use crate::replay::log::Log;

/// What the limits would have done; its fields are the keys of the JSON form.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) lines: u64,
    pub(super) parsed: u64,
    pub(super) unparsed: u64,
    /// The reasons why lines could not be read, and how many lines each.
    pub(super) unparsed_because: BTreeMap<String, u64>,
    #[serde(skip)]
    pub(super) first_unparsed: Option<String>,
    /// Lines whose forwarding header was not heeded, since their address is no trusted proxy's.
    pub(super) forwarded_ignored: u64,
    /// What --trusted-proxy names and no line has an address of.
    pub(super) unmet_proxies: Vec<String>,
    /// What --route names and no request met.
    pub(super) unmet_routes: Vec<String>,
    pub(super) span: Span,
    pub(super) clients: usize,
    pub(super) admitted: u64,
    pub(super) denied: u64,
    #[serde(serialize_with = "by_name")]
    pub(super) policies: Vec<PolicyReport>,
    #[serde(serialize_with = "by_kind")]
    pub(super) suspicious: Vec<KindReport>,
    /// The first banned first; empty without bans.
    pub(super) bans: Vec<Banned>,
}

/// The times of the first and the last request.
#[derive(Debug, Serialize)]
pub(super) struct Span {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

#[derive(Debug, Serialize)]
pub(super) struct PolicyReport {
    #[serde(skip)]
    pub(super) name: String,
    pub(super) quota: String,
    pub(super) window_seconds: f64,
    /// Requests that it applied to.
    pub(super) requests: u64,
    /// Requests that it found no room for.
    pub(super) denied: u64,
    /// Whether these passed nevertheless.
    pub(super) dry_run: bool,
    /// Clients that sent a request that it applied to.
    pub(super) clients_seen: usize,
    pub(super) clients_limited: usize,
    pub(super) suggested_limits: Option<SuggestedLimits>,
    /// Those limited, the most denied first.
    pub(super) clients: Vec<Limited>,
}

/// A client that a policy denied something.
#[derive(Debug, Serialize)]
pub(super) struct Limited {
    pub(super) client: String,
    pub(super) denied: u64,
    /// The time of the first request denied.
    pub(super) first: Timestamp,
}

/// The clients whose failures add up to something.
#[derive(Debug)]
pub(super) struct KindReport {
    pub(super) kind: IncidentKind,
    /// `None` where the kind is not counted.
    pub(super) threshold: Option<Threshold>,
    /// The first convicted first.
    pub(super) clients: Vec<Convicted>,
}

/// A client with an incident.
#[derive(Debug, Serialize)]
pub(super) struct Convicted {
    pub(super) client: String,
    /// The time of the first incident.
    pub(super) first: Timestamp,
    pub(super) incidents: u64,
    /// The client's requests that had passed the limits by then, the one that convicted included.
    pub(super) requests_before: u64,
}

/// A client or a user that was banned.
#[derive(Debug, Serialize)]
pub(super) struct Banned {
    /// The address, or `user:` and the id.
    pub(super) client: String,
    /// What for, the first time.
    pub(super) reason: &'static str,
    /// The time of the first ban.
    pub(super) first: Timestamp,
    pub(super) bans: u64,
    /// The requests while it was banned; in dry run they passed nevertheless.
    pub(super) requests_refused: u64,
}

fn by_kind<S: Serializer>(kinds: &[KindReport], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(kinds.iter().map(|kind| (kind.kind.as_str(), &kind.clients)))
}

fn by_name<S: Serializer>(policies: &[PolicyReport], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(policies.iter().map(|policy| (&policy.name, policy)))
}

/// Gathers what two replays say: one under the limits as they are, one with none enforced.
pub(super) struct Gathering<'a> {
    clients: &'a Clients<'a>,
    admitted: u64,
    denied: u64,
    policies: Vec<Gathered<'a>>,
}

struct Gathered<'a> {
    policy: &'a Policy,
    by_user: bool,
    requests: u64,
    denied: u64,
    /// By client, how often and first when it was denied.
    limited: HashMap<usize, (u64, i64)>,
    peaks: Peaks,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(
        policies: impl Iterator<Item = &'a Policy>,
        clients: &'a Clients<'a>,
    ) -> Self {
        let policies = policies.map(|policy| {
            let by_user = counts_by_user(policy);
            Gathered {
                policy,
                by_user,
                requests: 0,
                denied: 0,
                limited: HashMap::new(),
                peaks: Peaks::new(policy.get_quota().window(), clients.known(by_user)),
            }
        });
        Self {
            clients,
            admitted: 0,
            denied: 0,
            policies: policies.collect(),
        }
    }

    /// Takes what came of a request under the limits as they are.
    pub(super) fn limited(&mut self, outcome: &Outcome<'_>) {
        if outcome.admitted {
            self.admitted += 1;
        } else {
            self.denied += 1;
        }
        for (gathered, said) in self.policies.iter_mut().zip(outcome.policies) {
            if *said != PolicyOutcome::Denied {
                continue;
            }
            gathered.denied += 1;
            if let Some(client) = self.clients.number(outcome.entry, gathered.by_user) {
                let at = outcome.entry.at;
                gathered.limited.entry(client).or_insert((0, at)).0 += 1;
            }
        }
    }

    /// Takes what came of a request with no limit enforced: then every policy that applies says something.
    pub(super) fn unlimited(&mut self, outcome: &Outcome<'_>) {
        for (gathered, said) in self.policies.iter_mut().zip(outcome.policies) {
            if *said == PolicyOutcome::Silent {
                continue;
            }
            gathered.requests += 1;
            if let Some(client) = self.clients.number(outcome.entry, gathered.by_user) {
                // A configuration gives every policy a fixed cost.
                let cost = gathered.policy.get_cost().unwrap_or(1);
                gathered.peaks.count(client, outcome.entry.at, cost);
            }
        }
    }

    pub(super) fn report(
        self,
        log: &Log,
        suspicious: Vec<KindReport>,
        bans: Vec<Banned>,
    ) -> Report {
        let parsed = log.entries.len() as u64;
        let time = |entry: Option<&crate::replay::log::Entry>| {
            timestamp(entry.map_or(0, |entry| entry.at))
        };
        let clients = self.clients;
        let unparsed = log.unreadable.iter();
        Report {
            lines: log.lines,
            parsed,
            unparsed: log.lines - parsed,
            unparsed_because: unparsed
                .map(|(why, lines)| (why.to_string(), *lines))
                .collect(),
            first_unparsed: log.first_unreadable.clone(),
            forwarded_ignored: log.forwarded_ignored,
            unmet_proxies: Vec::new(),
            unmet_routes: Vec::new(),
            span: Span {
                first: time(log.entries.first()),
                last: time(log.entries.last()),
            },
            clients: clients.networks(),
            admitted: self.admitted,
            denied: self.denied,
            policies: self
                .policies
                .into_iter()
                .map(|policy| policy.report(clients))
                .collect(),
            suspicious,
            bans,
        }
    }
}

impl Gathered<'_> {
    fn report(self, clients: &Clients<'_>) -> PolicyReport {
        let mut limited: Vec<Limited> = self
            .limited
            .into_iter()
            .map(|(client, (denied, first))| Limited {
                client: clients.name(client, self.by_user),
                denied,
                first: timestamp(first),
            })
            .collect();
        limited.sort_by(|a, b| (b.denied, a.first, &a.client).cmp(&(a.denied, b.first, &b.client)));
        let quota = self.policy.get_quota();
        PolicyReport {
            name: self.policy.get_name().to_owned(),
            quota: quota.to_string(),
            window_seconds: quota.window().as_secs_f64(),
            requests: self.requests,
            denied: self.denied,
            dry_run: self.policy.is_dry_run(),
            clients_seen: self.peaks.clients(),
            clients_limited: limited.len(),
            suggested_limits: self.peaks.suggest(),
            clients: limited,
        }
    }
}

/// The parser makes only seconds that a timestamp can hold.
pub(super) fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
