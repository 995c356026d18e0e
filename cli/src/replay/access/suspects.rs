use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use http::StatusCode;
use palisade::rate_limit::Exemptions;
use palisade::suspicion::store::{Evidence, FailedRequest, LocalBanStore, LocalFailureStore, Rule};
use palisade::suspicion::{IncidentKind, Subject, Watch};

use super::clients::Clients;
use super::limits::{Banning, Limits};
use super::replay::{Outcome, Replay};
use super::report::{Banned, Convicted, KindReport, timestamp};
use crate::replay::log::Log;

/// What the failures of each client add up to, as the layer would count them, at the time of the log.
///
/// The statuses are those of the log. What the limits denied never reached the service: its status is no failure,
/// since the layer would have answered in the service's place, and never counts its own refusals.
pub(super) struct Suspects<'a> {
    clients: &'a Clients<'a>,
    watches: &'a [(IncidentKind, Watch)],
    rules: Vec<Rule>,
    exempt: &'a Exemptions,
    failures: Box<dyn LocalFailureStore>,
    /// By client, how many requests have passed.
    passed: Vec<u64>,
    /// By kind (its place in [`IncidentKind::BY_STATUS`]) and client.
    convicted: BTreeMap<(usize, usize), Conviction>,
    banning: Option<&'a Banning>,
    store: Box<dyn LocalBanStore>,
    /// Makes things of what failed.
    hasher: RandomState,
    serial: Cell<u64>,
    banned: BTreeMap<Subject, Banned>,
}

struct Conviction {
    first: i64,
    incidents: u64,
    requests_before: u64,
}

impl<'a> Suspects<'a> {
    pub(super) fn new(limits: &'a Limits, replay: &Replay, clients: &'a Clients<'a>) -> Self {
        let settings = &limits.config.suspicion;
        let rule = |(kind, watch): &(IncidentKind, Watch)| match watch.distinct {
            Some(true) => Rule::of_distinct(*kind, watch.threshold),
            _ => Rule::new(*kind, watch.threshold),
        };
        Self {
            clients,
            watches: &settings.watches,
            failures: Box::new(replay.store()),
            rules: settings.watches.iter().map(rule).collect(),
            exempt: &settings.exempt,
            passed: vec![0; clients.networks()],
            convicted: BTreeMap::new(),
            banning: limits.bans.as_ref(),
            store: Box::new(replay.store()),
            hasher: RandomState::new(),
            serial: Cell::new(0),
            banned: BTreeMap::new(),
        }
    }

    /// Takes what came of a request, while the replay's clock shows its time.
    pub(super) fn count(&mut self, log: &Log, outcome: &Outcome<'_>) {
        let entry = outcome.entry;
        let Some(number) = self.clients.number(entry, false) else {
            return;
        };
        if let Some(subject) = &outcome.banned
            && let Some(banned) = self.banned.get_mut(subject)
        {
            banned.requests_refused += 1;
        }
        let Some(client) = outcome.client.filter(|_| outcome.admitted) else {
            return;
        };
        self.passed[number] += 1;
        let (method, uri) = &log.requests[entry.request as usize];
        if !entry.status.is_client_error() || self.exempt.covers(method, uri, client) {
            return;
        }
        if entry.status == StatusCode::NOT_FOUND && self.exempt.covers_missing(uri.path()) {
            return;
        }
        // A log has no credentials, so each 401 is a guess like no other.
        let thing = match entry.status {
            StatusCode::NOT_FOUND => self.hasher.hash_one(uri.path()),
            StatusCode::UNAUTHORIZED => self.unlike_any(),
            status => self.hasher.hash_one((status.as_u16(), uri.path())),
        };
        let counting: Vec<_> = self
            .watches
            .iter()
            .map(|(kind, watch)| {
                let mut routes = watch.routes.iter();
                let named = watch.routes.is_empty()
                    || routes.any(|route| route.matches(method, &client.route, uri));
                named && kind.counts(entry.status)
            })
            .collect();
        let rules = self.rules.iter().zip(&counting);
        let rules: Vec<Rule> = rules
            .filter(|(_, counts)| **counts)
            .map(|(rule, _)| *rule)
            .collect();
        let mut request = FailedRequest::new(client.network, entry.status, client.route.clone());
        request.thing = thing;
        for incident in self.failures.count_now(&rules, &[request]) {
            let kind = IncidentKind::BY_STATUS
                .iter()
                .position(|kind| *kind == incident.rule.kind);
            let Some(kind) = kind else { continue };
            let conviction = self.convicted.entry((kind, number));
            let conviction = conviction.or_insert(Conviction {
                first: entry.at,
                incidents: 0,
                requests_before: self.passed[number],
            });
            conviction.incidents += 1;
        }
        // As in the layer, a verified user's failure counts towards a ban of the user, unless it is a 401.
        let subject = match &client.user {
            Some(user) if entry.status != StatusCode::UNAUTHORIZED => user.clone().into(),
            _ => Subject::Network(client.network),
        };
        let Some(Banning {
            sentence, kinds, ..
        }) = self.banning
        else {
            return;
        };
        let evidence = self
            .watches
            .iter()
            .zip(counting)
            .filter(|((kind, _), counts)| *counts && kinds.contains(kind));
        let evidence: Vec<_> = evidence
            .map(|((kind, watch), _)| Evidence {
                subject: subject.clone(),
                kind: *kind,
                threshold: watch.threshold,
                thing: if watch.distinct == Some(false) {
                    self.unlike_any()
                } else {
                    thing
                },
            })
            .collect();
        for ban in self.store.convict_now(&evidence, sentence, 0) {
            let subject = ban.subject.clone();
            let banned = self.banned.entry(subject).or_insert_with(|| Banned {
                client: ban.subject.to_string(),
                reason: ban.reason.as_str(),
                first: timestamp(entry.at),
                bans: 0,
                requests_refused: 0,
            });
            banned.bans += 1;
        }
    }

    /// A thing like no other.
    fn unlike_any(&self) -> u64 {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        self.hasher.hash_one(serial)
    }

    /// One entry for each kind there is, counted or not, and who was banned.
    pub(super) fn report(self) -> (Vec<KindReport>, Vec<Banned>) {
        let of_kind = |(place, kind): (usize, IncidentKind)| {
            let range = (place, 0)..(place + 1, 0);
            let mut clients: Vec<Convicted> = self
                .convicted
                .range(range)
                .map(|(&(_, client), conviction)| Convicted {
                    client: self.clients.name(client, false),
                    first: timestamp(conviction.first),
                    incidents: conviction.incidents,
                    requests_before: conviction.requests_before,
                })
                .collect();
            clients.sort_by(|a, b| (a.first, &a.client).cmp(&(b.first, &b.client)));
            let rule = self.rules.iter().find(|rule| rule.kind == kind);
            KindReport {
                kind,
                threshold: rule.map(|rule| rule.threshold),
                clients,
            }
        };
        let kinds = IncidentKind::BY_STATUS
            .into_iter()
            .enumerate()
            .map(of_kind)
            .collect();
        let mut banned: Vec<Banned> = self.banned.into_values().collect();
        banned.sort_by(|a, b| (a.first, &a.client).cmp(&(b.first, &b.client)));
        (kinds, banned)
    }
}
