//! The port of the suspicions: what clients' failures add up to, over all processes.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::count_failures::{CountCall, CountFailures, Failures, Report, Reports};
use super::failure::Failure;
use super::{Core, RedisStore};
use crate::rate_limit::{StoreError, StoreErrorKind};
use crate::store::{Operation, Outcome};
use crate::suspicion::{
    CountFailures as Count, Counting, FailedRequest, FailureStore, Incident, Watch,
};

impl FailureStore for RedisStore {
    fn bind_failures(&self, watches: &[Watch]) -> Arc<dyn Count> {
        let watches = watches
            .iter()
            .map(|watch| (*watch, self.0.prefix.of_kind(watch.kind)));
        Arc::new(BoundFailures {
            core: Arc::clone(&self.0),
            watches: watches.collect(),
        })
    }
}

/// The store for the kinds of one layer.
struct BoundFailures {
    core: Arc<Core>,
    /// What the keys of each kind start with.
    watches: Box<[(Watch, Box<str>)]>,
}

impl Count for BoundFailures {
    fn count(&self, requests: &[FailedRequest]) -> Counting {
        if requests.len() > CountFailures::MAX_REQUESTS {
            let error = StoreError::new(StoreErrorKind::Failed);
            let error = error.with_source("more than 250 failed requests in one call");
            return Box::pin(std::future::ready(Err(error)));
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
        if origins.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            let reports = core.count(&failures).await?;
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
                    span,
                    routes,
                })
            });
            Ok(incidents.collect())
        })
    }
}

impl Core {
    async fn count(self: &Arc<Self>, failures: &Failures) -> Result<Vec<Report>, StoreError> {
        if self.health.breaker.is_open() {
            self.observe(
                Operation::Count,
                Outcome::Rejected,
                std::time::Duration::ZERO,
            );
            return Err(StoreError::new(StoreErrorKind::Rejected));
        }
        let asked = Instant::now();
        let result = self.ask_count(failures).await;
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(failure) => failure.outcome(),
        };
        self.observe(Operation::Count, outcome, asked.elapsed());
        match result {
            Ok(reports) => {
                if reports.broken_trails > 0 {
                    self.health.count_broken_logs(reports.broken_trails);
                }
                Ok(reports.reports)
            }
            Err(failure) => {
                // The breaker is the requests': what only this script meets (an ACL that does not cover its keys,
                // say) must not turn their limits local, nor its successes hide their failures.
                if failure.is_of_the_connection() {
                    self.note_failure(&failure);
                }
                Err(failure.into())
            }
        }
    }

    async fn ask_count(&self, failures: &Failures) -> Result<Reports, Failure> {
        let call = CountCall {
            script: &self.count_failures,
            failures,
        };
        let Ok(reply) = timeout(self.deadline, self.connections.call(&call)).await else {
            // What does not answer may never: the next call starts on another connection.
            self.connections.forget();
            return Err(Failure::Timeout);
        };
        Ok(Reports::decode(reply?, failures.keys())?)
    }
}
