//! From a response to the store, off the request's path.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, Request, StatusCode, Uri};

use super::event::Reporter;
use super::login::{Login, LoginAttempt, Logins};
use super::store::{
    Counts, Evidence, FailedRequest, FailureStore, Incident, LocalFailureStore, Rule,
};
use super::tally::{FailureResult, SuspicionTally};
use super::thing::{Sought, Things};
use super::{Ban, BanReason, IncidentKind, Subject, Warden};
use crate::log::{Fallback, Losses, News, now};
use crate::model::{Client, Exemptions, Guess, Network, Route, RouteFilter, UserId};
use crate::task::queue::{Queue, Work, leave};

/// Everything that the requests of one layer share.
pub(super) struct Recorder {
    pub(super) rules: Box<[Rule]>,
    pub(super) exempt: Exemptions,
    /// `None` unless a kind of logins is on.
    pub(super) logins: Option<Logins>,
    /// Routes on which alone a kind counts.
    pub(super) narrowed: Box<[(IncidentKind, Box<[RouteFilter]>)]>,
    /// The kinds that ban by the number of failures, whatever failed.
    pub(super) plain: Box<[IncidentKind]>,
    /// `None` unless failures are told apart.
    pub(super) things: Option<Things>,
    /// Whether the response must know what a request asked for.
    pub(super) seeks: bool,
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
    /// Whether the method has no body for credentials.
    pub(super) is_safe: bool,
    /// `None` unless failures are told apart.
    pub(super) sought: Option<Sought>,
    /// As [`FailedRequest::left_out`].
    pub(super) left_out: u8,
}

impl Recorder {
    /// What a request asks for, if its response must know.
    #[inline]
    pub(super) fn seek<B>(&self, client: &Client, request: &Request<B>) -> Option<Sought> {
        let is_verified = client.user.is_some();
        self.seeks.then(|| Sought::of(request, is_verified))
    }

    /// The kinds that leave out the failures of this route.
    #[inline]
    pub(super) fn leaves_out(&self, method: &Method, route: &Route, uri: &Uri) -> u8 {
        let others = self.narrowed.iter().filter(|(_, routes)| {
            let mut routes = routes.iter();
            !routes.any(|filter| filter.matches(method, route, uri))
        });
        others.fold(0, |kinds, (kind, _)| kinds | kind.bit())
    }

    /// Queues a failure or a login that some kind counts; `is_login` if its handler told of one. It never waits: a full queue
    /// drops one.
    pub(super) fn note(
        self: &Arc<Self>,
        status: StatusCode,
        login: Option<&Login>,
        is_login: bool,
        sender: Sender,
    ) {
        let Sender {
            client,
            user,
            route,
            is_safe,
            sought,
            left_out,
        } = sender;
        let is_guess = is_login || (status == StatusCode::UNAUTHORIZED && !is_safe);
        let mut request = FailedRequest::new(client, status, route);
        request.left_out = left_out;
        request.is_of_user = user.is_some() && !is_guess;
        if login.is_none() && !self.rules.iter().any(|rule| request.counts(rule.kind)) {
            return;
        }
        if let Some(sought) = &sought
            && status == StatusCode::NOT_FOUND
            && self.exempt.covers_missing(sought.path())
        {
            return;
        }
        if let Some(things) = &self.things {
            let sought = sought.as_ref();
            request.thing = things.of(status, &request.route, sought, is_guess, is_login);
        }
        let attempt = |login| {
            Some(LoginAttempt::of(
                login,
                client,
                &self.logins.as_ref()?.secret,
            ))
        };
        request.login = login.and_then(attempt);
        let logged_in = login.and_then(Login::user).cloned();
        self.leave(request, logged_in.or(user));
    }

    /// Queues a credential that this service did not make: a failed login, whatever its response's status.
    pub(super) fn note_guess(self: &Arc<Self>, Guess(thing): Guess, sender: Sender) {
        let mut request = FailedRequest::new(sender.client, StatusCode::UNAUTHORIZED, sender.route);
        request.left_out = sender.left_out;
        request.thing = thing;
        if self.rules.iter().any(|rule| request.counts(rule.kind)) {
            self.leave(request, None);
        }
    }

    fn leave(self: &Arc<Self>, request: FailedRequest, user: Option<UserId>) {
        let noted = Noted {
            request,
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

    async fn count(&self, requests: &[FailedRequest]) -> Found {
        match &self.stores {
            Stores::Embedded(_) => self.count_here(requests),
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
                    Ok(counts) => self.count_refused(requests, counts, &**local),
                    Err(_) => self.count_here(requests),
                }
            }
        }
    }

    /// Counts in this process what the shared store had no room for, so that whoever floods it with clients is still found by
    /// the process that he meets.
    fn count_refused(
        &self,
        requests: &[FailedRequest],
        counts: Counts,
        local: &dyn LocalFailureStore,
    ) -> Found {
        let Counts { incidents, refused } = counts;
        let mut found = Found {
            incidents,
            here: BTreeSet::from_iter(refused.iter().map(|(place, _)| *place)),
            is_shared: true,
        };
        let left = found.here.iter().filter_map(|place| {
            let kinds = || refused.iter().filter(|(at, _)| at == place);
            let mut request = requests.get(*place)?.clone();
            request.left_out |= !kinds().fold(0, |bits, (_, kind)| bits | kind.bit());
            if !kinds().any(|(_, kind)| kind.is_of_logins()) {
                request.login = None;
            }
            Some((*place, request))
        });
        let (places, left): (Vec<_>, Vec<_>) = left.unzip();
        if left.is_empty() {
            return found;
        }
        for mut incident in local.count_now(&self.rules, &left) {
            if let Some(place) = places.get(incident.request) {
                incident.request = *place;
                found.incidents.push(incident);
            }
        }
        found
    }

    fn count_here(&self, requests: &[FailedRequest]) -> Found {
        match &self.stores {
            Stores::Embedded(store) => Found {
                incidents: store.count_now(&self.rules, requests),
                here: BTreeSet::new(),
                is_shared: false,
            },
            Stores::Shared { local, .. } => Found {
                incidents: local.count_now(&self.rules, requests),
                here: (0..requests.len()).collect(),
                is_shared: false,
            },
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

    /// What counts towards bans.
    fn evidence(
        &self,
        warden: &Warden,
        batch: &Batch,
        of: impl Fn(usize) -> bool,
    ) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        let requests = batch.requests.iter().enumerate();
        let requests = requests.zip(&batch.circumstances);
        for ((_, request), (user, _)) in requests.filter(|((place, _), _)| of(*place)) {
            for rule in self.rules.iter().filter(|rule| warden.bans_for(rule.kind)) {
                let thing = match (rule.kind, request.login) {
                    (IncidentKind::PasswordSpraying, Some(login)) if !login.succeeded => {
                        login.account.item()
                    }
                    (kind, _) if !request.counts(kind) => continue,
                    (kind, _) => match &self.things {
                        Some(things) if self.plain.contains(&kind) => things.unlike_any(),
                        _ => request.thing,
                    },
                };
                let subject = match user {
                    Some(user) if request.is_of_user => user.clone().into(),
                    _ => request.client.into(),
                };
                evidence.push(Evidence {
                    subject,
                    kind: rule.kind,
                    threshold: rule.threshold,
                    thing,
                });
            }
        }
        evidence
    }

    /// Counts and logs a ban that was imposed for this reason; of a user, with the client that it last came from. The ban as it
    /// stands may be an earlier one that lasts longer.
    pub(super) fn announce(&self, reason: BanReason, ban: &Ban, client: Option<Network>) {
        self.tally.ban(reason);
        self.reporter.report_ban(reason, ban, client);
    }

    fn announce_all(&self, bans: &[Ban], batch: &Batch) {
        for ban in bans {
            let client = match &ban.subject {
                Subject::Network(client) => Some(*client),
                Subject::User(user) => batch.last_client(user),
            };
            self.announce(ban.reason, ban, client);
        }
    }
}

/// Failures that are counted together, with the parts that the store does not need.
struct Batch {
    requests: Vec<FailedRequest>,
    circumstances: Vec<(Option<UserId>, SystemTime)>,
}

impl Batch {
    fn last_client(&self, user: &UserId) -> Option<Network> {
        let senders = self.requests.iter().zip(&self.circumstances);
        let mut latest_first = senders.rev();
        let (request, _) = latest_first.find(|(_, (known, _))| known.as_ref() == Some(user))?;
        Some(request.client)
    }
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
        let found = self.count(&batch.requests).await;
        taken.counted(&found);
        self.report(&batch, &found.incidents);
        if let Some(warden) = &self.warden {
            let shared = self.evidence(warden, &batch, |place| !found.is_refused(place));
            self.announce_all(&warden.convict(shared).await, &batch);
            let here = self.evidence(warden, &batch, |place| found.is_refused(place));
            self.announce_all(&warden.convict_here(here), &batch);
        }
    }

    fn finish_here(&self, batch: Vec<Noted>) {
        let batch = Batch::from(batch);
        let mut taken = Taken::new(&self.tally, &batch);
        let found = self.count_here(&batch.requests);
        taken.counted(&found);
        self.report(&batch, &found.incidents);
        if let Some(warden) = &self.warden {
            let evidence = self.evidence(warden, &batch, |_| true);
            self.announce_all(&warden.convict_here(evidence), &batch);
        }
    }
}

/// Failures taken from the queue, with their result so far: dropped, if the task ends before they are counted.
struct Taken<'a> {
    tally: &'a SuspicionTally,
    failures: usize,
    /// How many were counted, and how many of them in this process alone; `None` until then.
    counted: Option<(usize, usize)>,
}

/// What failures came to.
struct Found {
    incidents: Vec<Incident>,
    /// The places of those that were counted in this process, in whole or in part, although others share the store.
    here: BTreeSet<usize>,
    /// Whether the shared store answered.
    is_shared: bool,
}

impl Found {
    /// Whether the shared store answered, and had no room for the client of this request.
    fn is_refused(&self, place: usize) -> bool {
        self.is_shared && self.here.contains(&place)
    }
}

impl<'a> Taken<'a> {
    fn new(tally: &'a SuspicionTally, batch: &Batch) -> Self {
        Self {
            tally,
            failures: batch.requests.len(),
            counted: None,
        }
    }

    fn counted(&mut self, found: &Found) {
        let here = found.here.len();
        self.counted = Some((self.failures - here, here));
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some((shared, here)) = self.counted else {
            return self.tally.add(FailureResult::Dropped, self.failures);
        };
        self.tally.add(FailureResult::Counted, shared);
        self.tally.add(FailureResult::CountedLocally, here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(octet: u8, status: u16) -> Noted {
        Noted {
            request: FailedRequest::new(
                Network::of([192, 0, 2, octet].into(), 64),
                StatusCode::from_u16(status).unwrap(),
                Route::UNMATCHED,
            ),
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
        assert!(size <= 128, "{size} bytes");
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
