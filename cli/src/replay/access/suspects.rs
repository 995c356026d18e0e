use std::collections::BTreeMap;

use palisade::rate_limit::Exemptions;
use palisade::suspicion::IncidentKind;
use palisade::suspicion::store::{FailedRequest, LocalBanStore, LocalFailureStore, Rule};

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
    rules: Vec<Rule>,
    exempt: &'a Exemptions,
    failures: Box<dyn LocalFailureStore>,
    /// By client, how many requests have passed.
    passed: Vec<u64>,
    /// By kind (its place in [`IncidentKind::BY_STATUS`]) and client.
    convicted: BTreeMap<(usize, usize), Conviction>,
    banning: Option<&'a Banning>,
    store: Box<dyn LocalBanStore>,
    /// By client.
    banned: BTreeMap<usize, Banned>,
}

struct Conviction {
    first: i64,
    incidents: u64,
    requests_before: u64,
}

impl<'a> Suspects<'a> {
    pub(super) fn new(limits: &'a Limits, replay: &Replay, clients: &'a Clients<'a>) -> Self {
        let settings = &limits.config.suspicion;
        let rules = settings.thresholds.iter();
        let rules: Vec<Rule> = rules
            .map(|&(kind, threshold)| Rule { kind, threshold })
            .collect();
        Self {
            clients,
            failures: Box::new(replay.store()),
            rules,
            exempt: &settings.exempt,
            passed: vec![0; clients.networks()],
            convicted: BTreeMap::new(),
            banning: limits.bans.as_ref(),
            store: Box::new(replay.store()),
            banned: BTreeMap::new(),
        }
    }

    /// Takes what came of a request, while the replay's clock shows its time.
    pub(super) fn count(&mut self, log: &Log, outcome: &Outcome<'_>) {
        let entry = outcome.entry;
        let Some(number) = self.clients.number(entry, false) else {
            return;
        };
        if outcome.banned
            && let Some(banned) = self.banned.get_mut(&number)
        {
            banned.requests_refused += 1;
        }
        let Some(client) = outcome.client.filter(|_| outcome.admitted) else {
            return;
        };
        self.passed[number] += 1;
        let (method, _) = &log.requests[entry.request as usize];
        if !entry.status.is_client_error() || self.exempt.covers(method, client) {
            return;
        }
        let incidents = self.failures.count_now(
            &self.rules,
            &[FailedRequest {
                client: client.network,
                status: entry.status,
                route: client.route.clone(),
                login: None,
            }],
        );
        // One ban for each response, as the layer imposes.
        let mut banning = self.banning;
        for incident in incidents {
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
            // As in the layer, what passes a ban in a dry run is no repeat offence.
            let is_banned = self.store.banned_for_now(client.network).is_some();
            let bans = banning.take_if(|it| !is_banned && it.kinds.contains(&incident.rule.kind));
            if let Some(Banning { sentence, .. }) = bans {
                let ban = self
                    .store
                    .impose_now(client.network, incident.rule.kind, sentence, 0);
                let banned = self.banned.entry(number).or_insert_with(|| Banned {
                    client: self.clients.name(number, false),
                    reason: ban.reason.as_str(),
                    first: timestamp(entry.at),
                    bans: 0,
                    requests_refused: 0,
                });
                banned.bans += 1;
            }
        }
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
