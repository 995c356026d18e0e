//! The port of the suspicions: what clients' failures add up to, over all processes.

use std::future::{Future, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::count_distinct::{DistinctCall, Finding, Findings, Steps};
use super::count_failures::{CountCall, CountFailures, Failures, Report, Reports};
use super::failure::Failure;
use super::logins::BoundLogins;
use super::scripts::MalformedReply;
use super::{Core, RedisStore};
use crate::model::{Operation, Outcome, StoreError, StoreErrorKind};
use crate::suspicion::{
    AccountHash, AccountState, CountFailures as Count, Counting, FailedRequest, FailureStore,
    Incident, LookingUp, Watch,
};

impl FailureStore for RedisStore {
    fn bind_failures(&self, watches: &[Watch]) -> Arc<dyn Count> {
        let logins = BoundLogins::new(&self.0.prefix, watches);
        let watches = watches
            .iter()
            .filter(|watch| !watch.kind.is_of_logins())
            .map(|watch| (*watch, self.0.prefix.of_kind(watch.kind)));
        Arc::new(BoundFailures {
            core: Arc::clone(&self.0),
            watches: watches.collect(),
            logins,
        })
    }
}

/// The store for the kinds of one layer.
struct BoundFailures {
    core: Arc<Core>,
    /// What the keys of each kind start with.
    watches: Box<[(Watch, Box<str>)]>,
    logins: BoundLogins,
}

impl Count for BoundFailures {
    fn count(&self, requests: &[FailedRequest]) -> Counting {
        if requests.len() > CountFailures::MAX_REQUESTS {
            let error = StoreError::new(StoreErrorKind::Failed);
            let error = error.with_source("more than 250 failed requests in one call");
            return Box::pin(ready(Err(error)));
        }
        let mut failures = Failures::with_room_for(requests.len(), self.watches.len());
        // Which request and which kind each key is of.
        let mut origins = Vec::with_capacity(requests.len() * self.watches.len());
        for (place, request) in requests.iter().enumerate() {
            failures.push_request(&request.route);
            for (watch, prefix) in &self.watches {
                if watch.kind.counts(request.status) {
                    failures.push(prefix, request.client, watch.threshold);
                    origins.push((place, *watch));
                }
            }
        }
        let logins = self.logins.counting(requests);
        if origins.is_empty() && logins.is_none() {
            return Box::pin(ready(Ok(Vec::new())));
        }
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            let steps = logins.as_ref().map(|logins| &logins.steps);
            let (reports, findings) = core.count(&failures, steps).await?;
            let incidents = reports.into_iter().filter_map(|report| {
                let Report {
                    key,
                    count,
                    span,
                    routes,
                } = report;
                let (request, watch) = *origins.get(key)?;
                Some(Incident {
                    request,
                    watch,
                    count,
                    estimated: false,
                    span,
                    routes,
                })
            });
            let mut incidents: Vec<_> = incidents.collect();
            if let Some(logins) = &logins {
                incidents.extend(findings.iter().filter_map(|found| logins.incident(found)));
            }
            Ok(incidents)
        })
    }

    fn account(&self, account: AccountHash) -> LookingUp {
        let Some(steps) = self.logins.looking_up(account) else {
            return Box::pin(ready(Ok(AccountState::default())));
        };
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            if Handle::try_current().is_err() {
                let error = StoreError::new(StoreErrorKind::Failed);
                return Err(error.with_source("called outside a tokio runtime"));
            }
            let findings = core
                .attempt(Operation::Account, core.ask_distinct(&steps))
                .await?;
            core.note_broken_trails(findings.broken_trails);
            match &findings.findings[..] {
                [state] => Ok(state.into()),
                _ => Err(Failure::from(MalformedReply).into()),
            }
        })
    }
}

impl Core {
    /// Counts failures and logins in one round trip: both calls leave before either is answered, failures first.
    async fn count(
        self: &Arc<Self>,
        failures: &Failures,
        logins: Option<&Steps>,
    ) -> Result<(Vec<Report>, Vec<Finding>), StoreError> {
        let asking = async {
            let Some(logins) = logins else {
                return Ok((self.ask_failures(failures).await?, Findings::default()));
            };
            if failures.keys() == 0 {
                return Ok((Reports::default(), self.ask_distinct(logins).await?));
            }
            // Else each would make a connection of its own, and the order would be lost.
            self.connections.ensure().await?;
            let (reports, findings) =
                both(self.ask_failures(failures), self.ask_distinct(logins)).await;
            Ok((reports?, findings?))
        };
        let (reports, findings) = self.attempt(Operation::Count, asking).await?;
        self.note_broken_trails(reports.broken_trails + findings.broken_trails);
        Ok((reports.reports, findings.findings))
    }

    /// Waits for an answer until the deadline, unless the breaker is open.
    async fn attempt<T>(
        self: &Arc<Self>,
        operation: Operation,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        if self.health.breaker.is_open() {
            self.observe(operation, Outcome::Rejected, Duration::ZERO);
            return Err(StoreError::new(StoreErrorKind::Rejected));
        }
        let asked = Instant::now();
        let result = match timeout(self.deadline, asking).await {
            Ok(result) => result,
            Err(_) => {
                // What does not answer may never: the next call starts on another connection.
                self.connections.forget();
                Err(Failure::Timeout)
            }
        };
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(failure) => failure.outcome(),
        };
        self.observe(operation, outcome, asked.elapsed());
        result.map_err(|failure| {
            // The breaker is the requests': what only this script meets (an ACL that does not cover its keys, say) must
            // not turn their limits local, nor its successes hide their failures.
            if failure.is_of_the_connection() {
                self.note_failure(&failure);
            }
            failure.into()
        })
    }

    fn note_broken_trails(&self, broken: u64) {
        if broken > 0 {
            self.health.count_broken_logs(broken);
        }
    }

    async fn ask_failures(&self, failures: &Failures) -> Result<Reports, Failure> {
        let call = CountCall {
            script: &self.count_failures,
            failures,
        };
        let reply = self.connections.call(&call).await?;
        Ok(Reports::decode(reply, failures.keys())?)
    }

    async fn ask_distinct(&self, steps: &Steps) -> Result<Findings, Failure> {
        let call = DistinctCall {
            script: &self.count_distinct,
            steps,
        };
        let reply = self.connections.call(&call).await?;
        Ok(Findings::decode(reply, steps.len())?)
    }
}

/// Both outputs; the first future is polled first.
async fn both<A: Future, B: Future>(first: A, second: B) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut two) = (None, None);
    poll_fn(|cx| {
        if one.is_none()
            && let Poll::Ready(output) = first.as_mut().poll(cx)
        {
            one = Some(output);
        }
        if two.is_none()
            && let Poll::Ready(output) = second.as_mut().poll(cx)
        {
            two = Some(output);
        }
        match (one.take(), two.take()) {
            (Some(one), Some(two)) => Poll::Ready((one, two)),
            waiting => {
                (one, two) = waiting;
                Poll::Pending
            }
        }
    })
    .await
}
