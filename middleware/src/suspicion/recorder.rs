//! From a response to the store, off the request's path.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use tokio::runtime::Handle;

use super::event::Reporter;
use super::login::{Login, LoginAttempt, Logins};
use super::queue::{Noted, Queue};
use super::store::{CountFailures, CountFailuresNow, FailedRequest, Incident, Watch};
use super::tally::{Fate, Tally};
use super::{Ban, BanReason, Kind, Warden};
use crate::client::{Network, Route, UserId};
use crate::outage::Outage;
use crate::rate_limit::{Exemptions, StoreErrorKind};

/// Everything that the requests of one layer share.
pub(super) struct Recorder {
    pub(super) watches: Box<[Watch]>,
    pub(super) exempt: Exemptions,
    /// `None` unless a kind of logins is on.
    pub(super) logins: Option<Logins>,
    pub(super) store: Bound,
    pub(super) queue: Queue,
    pub(super) tally: Arc<Tally>,
    pub(super) reporter: Reporter,
    /// Where bans are on.
    pub(super) warden: Option<Warden>,
    /// Whether the shared store failed when it was last asked.
    pub(super) local: Outage,
}

pub(super) enum Bound {
    Embedded(Arc<dyn CountFailuresNow>),
    Shared {
        store: Arc<dyn CountFailures>,
        local: Arc<dyn CountFailuresNow>,
    },
}

/// Who sent a request, until its response tells whether that matters.
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
        if login.is_none() && !self.watches.iter().any(|watch| watch.kind.counts(status)) {
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
        let pushed = self.queue.push(Noted {
            request: FailedRequest {
                client,
                status,
                route,
                login: login.and_then(attempt),
            },
            user,
            at: SystemTime::now(),
        });
        if pushed.starts {
            self.start();
        }
        if pushed.dropped {
            self.tally.settle(Fate::Dropped, 1);
        }
        if let Some(dropped) = pushed.tell {
            tracing::warn!(
                target: "palisade::suspicion",
                event = "failures_dropped",
                dropped,
                "failed requests come faster than they can be counted: so many were dropped since this was last said"
            );
        }
    }

    fn start(self: &Arc<Self>) {
        let drain = Drain {
            recorder: Arc::clone(self),
            ended: false,
            in_flight: (Fate::Dropped, 0),
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(drain.run())),
            Err(_) => drain.run_here(),
        }
    }

    async fn count(&self, requests: &[FailedRequest]) -> (Fate, Vec<Incident>) {
        match &self.store {
            Bound::Embedded(store) => (Fate::Counted, store.count_now(requests)),
            Bound::Shared { store, local } => match store.count(requests).await {
                Ok(incidents) => {
                    if self.local.succeed() {
                        tracing::info!(
                            target: "palisade::suspicion",
                            event = "suspicion_restored",
                            "failed requests are counted by the shared store again"
                        );
                    }
                    (Fate::Counted, incidents)
                }
                Err(error) => {
                    // Once for each change of state; what an open breaker refuses is the breaker's to tell.
                    if error.kind() != StoreErrorKind::Rejected && self.local.fail() {
                        let cause = error.source().map(ToString::to_string);
                        tracing::warn!(
                            target: "palisade::suspicion",
                            event = "suspicion_fallback",
                            %error,
                            cause,
                            "failed requests are counted in this process alone: the shared store does not count them"
                        );
                    }
                    (Fate::CountedLocally, local.count_now(requests))
                }
            },
        }
    }

    fn count_here(&self, requests: &[FailedRequest]) -> (Fate, Vec<Incident>) {
        match &self.store {
            Bound::Embedded(store) => (Fate::Counted, store.count_now(requests)),
            Bound::Shared { local, .. } => (Fate::CountedLocally, local.count_now(requests)),
        }
    }

    fn report(&self, batch: &Batch, incidents: &[Incident]) {
        for incident in incidents {
            self.tally.report(incident.watch.kind);
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

    /// Who is to be banned for these incidents, and by whom: each client once, whatever its failures are at once.
    fn convicted(&self, batch: &Batch, incidents: &[Incident]) -> Vec<(&Warden, Network, Kind)> {
        let mut convicted = Vec::new();
        let Some(warden) = &self.warden else {
            return convicted;
        };
        for incident in incidents {
            let kind = incident.watch.kind;
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

    /// Counts and logs a ban that was imposed for this; the ban as it stands may be another one that lasts longer.
    pub(super) fn announce(&self, reason: BanReason, ban: &Ban) {
        self.tally.ban(reason);
        self.reporter.report_ban(reason, ban);
    }
}

/// Failures that are counted together, with what the store need not know of them.
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

/// Takes batches until none waits. Dropped midway (its runtime shut down, a panic), it leaves a queue that works, and
/// counts what it had taken as dropped.
struct Drain {
    recorder: Arc<Recorder>,
    ended: bool,
    /// Failures taken from the queue and not settled, with what became of them so far.
    in_flight: (Fate, usize),
}

impl Drain {
    async fn run(mut self) {
        while let Some(batch) = self.take() {
            let recorder = &self.recorder;
            let (fate, incidents) = recorder.count(&batch.requests).await;
            self.in_flight.0 = fate;
            recorder.report(&batch, &incidents);
            for (warden, client, kind) in recorder.convicted(&batch, &incidents) {
                if let Some(ban) = warden.convict(client, kind).await {
                    recorder.announce(BanReason::Incident(kind), &ban);
                }
            }
            self.settle();
            // Memory counts without a wait, and a flood must not keep this thread from its requests.
            tokio::task::yield_now().await;
        }
        self.ended = true;
    }

    /// Without a runtime there is no other place than this one. It is some request's, which counts one batch and leaves
    /// more, if there is any, to the next.
    fn run_here(mut self) {
        if let Some(batch) = self.take() {
            let recorder = &self.recorder;
            let (fate, incidents) = recorder.count_here(&batch.requests);
            self.in_flight.0 = fate;
            recorder.report(&batch, &incidents);
            for (warden, client, kind) in recorder.convicted(&batch, &incidents) {
                if let Some(ban) = warden.convict_here(client, kind) {
                    recorder.announce(BanReason::Incident(kind), &ban);
                }
            }
            self.settle();
        } else {
            self.ended = true;
        }
    }

    fn take(&mut self) -> Option<Batch> {
        let batch = Batch::from(self.recorder.queue.next()?);
        self.in_flight = (Fate::Dropped, batch.requests.len());
        Some(batch)
    }

    fn settle(&mut self) {
        let (fate, failures) = std::mem::replace(&mut self.in_flight, (Fate::Dropped, 0));
        if failures > 0 {
            self.recorder.tally.settle(fate, failures);
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if !self.ended {
            self.recorder.queue.abandoned();
        }
        self.settle();
    }
}
