//! From a response to the store, off the request's path.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;

use super::event::Reporter;
use super::login::{Login, LoginAttempt, Logins};
use super::store::{FailedRequest, FailureStore, Incident, LocalFailureStore, Rule};
use super::tally::{FailureResult, SuspicionTally};
use super::{Ban, BanReason, IncidentKind, Warden};
use crate::log::{Fallback, Losses, News, now};
use crate::model::{Exemptions, Network, Route, UserId};
use crate::task::queue::{Queue, Work, leave};

/// Everything that the requests of one layer share.
pub(super) struct Recorder {
    pub(super) rules: Box<[Rule]>,
    pub(super) exempt: Exemptions,
    /// `None` unless a kind of logins is on.
    pub(super) logins: Option<Logins>,
    pub(super) stores: Stores,
    pub(super) queue: Queue<Noted>,
    pub(super) losses: Losses,
    pub(super) tally: Arc<SuspicionTally>,
    pub(super) reporter: Reporter,
    /// Where bans are on.
    pub(super) warden: Option<Warden>,
    /// Whether the shared store counts.
    pub(super) fallback: Fallback,
}

pub(super) enum Stores {
    Embedded(Box<dyn LocalFailureStore>),
    Shared {
        store: Box<dyn FailureStore>,
        local: Box<dyn LocalFailureStore>,
    },
}

/// A failure as the response showed it.
#[derive(Debug)]
pub(super) struct Noted {
    request: FailedRequest,
    user: Option<UserId>,
    at: SystemTime,
}

/// The sender of a request, kept until the response shows whether it failed.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) client: Network,
    pub(super) user: Option<UserId>,
    pub(super) route: Route,
}

impl Recorder {
    /// Queues a failure or a login that some kind counts. It never waits: a full queue drops one.
    pub(super) fn note(
        self: &Arc<Self>,
        status: StatusCode,
        login: Option<&Login>,
        sender: Sender,
    ) {
        if login.is_none() && !self.rules.iter().any(|rule| rule.kind.counts(status)) {
            return;
        }
        let Sender {
            client,
            user,
            route,
        } = sender;
        let attempt = |login| {
            Some(LoginAttempt::of(
                login,
                client,
                &self.logins.as_ref()?.secret,
            ))
        };
        let noted = Noted {
            request: FailedRequest {
                client,
                status,
                route,
                login: login.and_then(attempt),
            },
            user,
            at: SystemTime::now(),
        };
        if leave(self, noted).is_ok() {
            return;
        }
        self.tally.add(FailureResult::Dropped, 1);
        if let Some(dropped) = self.losses.count(now()) {
            tracing::warn!(
                target: "palisade::suspicion",
                event = "failures_dropped",
                dropped,
                "failed requests come faster than they can be counted: so many were dropped since this was last said"
            );
        }
    }

    async fn count(&self, requests: &[FailedRequest]) -> (FailureResult, Vec<Incident>) {
        match &self.stores {
            Stores::Embedded(store) => (
                FailureResult::Counted,
                store.count_now(&self.rules, requests),
            ),
            Stores::Shared { store, local } => {
                let answer = store.count(&self.rules, requests).await;
                match self.fallback.heed(answer.as_ref().err()) {
                    Some(News::Failed(error, cause)) => tracing::warn!(
                        target: "palisade::suspicion",
                        event = "suspicion_fallback",
                        %error,
                        cause,
                        "failed requests are counted in this process alone: the shared store does not count them"
                    ),
                    Some(News::Restored) => tracing::info!(
                        target: "palisade::suspicion",
                        event = "suspicion_restored",
                        "failed requests are counted by the shared store again"
                    ),
                    None => {}
                }
                match answer {
                    Ok(incidents) => (FailureResult::Counted, incidents),
                    Err(_) => (
                        FailureResult::CountedLocally,
                        local.count_now(&self.rules, requests),
                    ),
                }
            }
        }
    }

    fn count_here(&self, requests: &[FailedRequest]) -> (FailureResult, Vec<Incident>) {
        match &self.stores {
            Stores::Embedded(store) => (
                FailureResult::Counted,
                store.count_now(&self.rules, requests),
            ),
            Stores::Shared { local, .. } => (
                FailureResult::CountedLocally,
                local.count_now(&self.rules, requests),
            ),
        }
    }

    fn report(&self, batch: &Batch, incidents: &[Incident]) {
        for incident in incidents {
            self.tally.report(incident.rule.kind);
            let Some((request, (user, at))) = batch
                .requests
                .get(incident.request)
                .zip(batch.circumstances.get(incident.request))
            else {
                continue;
            };
            self.reporter.report(incident, request, user.as_ref(), *at);
        }
    }

    /// The bans for these incidents and the store that imposes each: one for each client, however many incidents it has.
    fn convicted(
        &self,
        batch: &Batch,
        incidents: &[Incident],
    ) -> Vec<(&Warden, Network, IncidentKind)> {
        let mut convicted = Vec::new();
        let Some(warden) = &self.warden else {
            return convicted;
        };
        for incident in incidents {
            let kind = incident.rule.kind;
            if let Some(request) = batch.requests.get(incident.request)
                && warden.bans_for(kind)
                && convicted
                    .iter()
                    .all(|(_, known, _)| *known != request.client)
            {
                convicted.push((warden, request.client, kind));
            }
        }
        convicted
    }

    /// Counts and logs a ban that was imposed for this reason. The ban as it stands may be an earlier one that lasts longer.
    pub(super) fn announce(&self, reason: BanReason, ban: &Ban) {
        self.tally.ban(reason);
        self.reporter.report_ban(reason, ban);
    }
}

/// Failures that are counted together, with the parts that the store does not need.
struct Batch {
    requests: Vec<FailedRequest>,
    circumstances: Vec<(Option<UserId>, SystemTime)>,
}

impl From<Vec<Noted>> for Batch {
    fn from(noted: Vec<Noted>) -> Self {
        let (requests, circumstances) = noted
            .into_iter()
            .map(|Noted { request, user, at }| (request, (user, at)))
            .unzip();
        Self {
            requests,
            circumstances,
        }
    }
}

impl Work for Recorder {
    type Item = Noted;

    fn queue(&self) -> &Queue<Noted> {
        &self.queue
    }

    /// A guess at a password or a token, which no flood of another kind may hide.
    fn is_precious(noted: &Noted) -> bool {
        noted.request.login.is_some() || noted.request.status == StatusCode::UNAUTHORIZED
    }

    async fn finish(&self, batch: Vec<Noted>) {
        let batch = Batch::from(batch);
        let mut taken = Taken::new(&self.tally, &batch);
        let (result, incidents) = self.count(&batch.requests).await;
        taken.result = result;
        self.report(&batch, &incidents);
        for (warden, client, kind) in self.convicted(&batch, &incidents) {
            if let Some(ban) = warden.convict(client, kind).await {
                self.announce(BanReason::Incident(kind), &ban);
            }
        }
    }

    fn finish_here(&self, batch: Vec<Noted>) {
        let batch = Batch::from(batch);
        let mut taken = Taken::new(&self.tally, &batch);
        let (result, incidents) = self.count_here(&batch.requests);
        taken.result = result;
        self.report(&batch, &incidents);
        for (warden, client, kind) in self.convicted(&batch, &incidents) {
            if let Some(ban) = warden.convict_here(client, kind) {
                self.announce(BanReason::Incident(kind), &ban);
            }
        }
    }
}

/// Failures taken from the queue, with their result so far: dropped, if the task ends before they are counted.
struct Taken<'a> {
    tally: &'a SuspicionTally,
    result: FailureResult,
    failures: usize,
}

impl<'a> Taken<'a> {
    fn new(tally: &'a SuspicionTally, batch: &Batch) -> Self {
        Self {
            tally,
            result: FailureResult::Dropped,
            failures: batch.requests.len(),
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.tally.add(self.result, self.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn push(queue: &Queue<Noted>, noted: Noted) -> (bool, bool) {
        let is_precious = Recorder::is_precious(&noted);
        let (starts, left) = queue.push(noted, is_precious);
        (starts, left.is_err())
    }

    fn all(queue: &Queue<Noted>) -> Vec<(String, u16)> {
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
            assert!(!push(&queue, noted(octet, status)).1);
        }
        for (octet, status) in [(4, 404), (5, 401), (6, 401), (7, 401), (8, 404)] {
            assert!(push(&queue, noted(octet, status)).1);
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
            let pushed = push(&queue, noted(n as u8, *status));
            assert_eq!(pushed, (n == 0, false));
        }
        let taken: Vec<u16> = all(&queue).into_iter().map(|(_, status)| status).collect();
        assert_eq!(taken, statuses);
        assert!(push(&queue, noted(1, 404)).0, "nobody takes any more");
    }
}
