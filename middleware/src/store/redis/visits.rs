//! The port of the funnel: how far visitors came, over all processes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::failure::Failure;
use super::reach_stage::{Answer, ReachCall, ReachStage, Reaches};
use super::{Core, RedisStore};
use crate::funnel::{CountVisits, Progress, Reach, Reaching, VisitStore};
use crate::model::{Operation, Outcome, StoreError, StoreErrorKind};

impl VisitStore for RedisStore {
    fn bind_visits(&self, window: Duration) -> Arc<dyn CountVisits> {
        Arc::new(BoundVisits {
            core: Arc::clone(&self.0),
            prefix: self.0.prefix.of_visitors(),
            window,
        })
    }
}

/// The store for the window of one layer.
struct BoundVisits {
    core: Arc<Core>,
    /// What the keys of visitors start with.
    prefix: Box<str>,
    window: Duration,
}

impl CountVisits for BoundVisits {
    fn reach(&self, reaches: &[Reach]) -> Reaching {
        if reaches.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        if reaches.len() > ReachStage::MAX_REACHES {
            let error = StoreError::new(StoreErrorKind::Failed);
            let error = error.with_source("more than 1000 reached stages in one call");
            return Box::pin(std::future::ready(Err(error)));
        }
        let mut call = Reaches::with_room_for(reaches.len(), self.window);
        for reach in reaches {
            call.push(&self.prefix, reach);
        }
        let core = Arc::clone(&self.core);
        Box::pin(async move { core.reach(&call).await })
    }
}

impl Core {
    async fn reach(self: &Arc<Self>, reaches: &Reaches) -> Result<Vec<Progress>, StoreError> {
        if self.health.breaker.is_open() {
            self.observe(Operation::Reach, Outcome::Rejected, Duration::ZERO);
            return Err(StoreError::new(StoreErrorKind::Rejected));
        }
        let asked = Instant::now();
        let result = self.ask_reach(reaches).await;
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(failure) => failure.outcome(),
        };
        self.observe(Operation::Reach, outcome, asked.elapsed());
        match result {
            Ok(answer) => {
                if answer.broken_journeys > 0 {
                    self.health.count_broken_logs(answer.broken_journeys);
                }
                Ok(answer.progress)
            }
            Err(failure) => {
                // The breaker is the requests': what only this script meets must not turn their limits local, nor its
                // successes hide their failures.
                if failure.is_of_the_connection() {
                    self.note_failure(&failure);
                }
                Err(failure.into())
            }
        }
    }

    async fn ask_reach(&self, reaches: &Reaches) -> Result<Answer, Failure> {
        let call = ReachCall {
            script: &self.reach_stage,
            reaches,
        };
        let Ok(reply) = timeout(self.deadline, self.connections.call(&call)).await else {
            // What does not answer may never: the next call starts on another connection.
            self.connections.forget();
            return Err(Failure::Timeout);
        };
        Ok(Answer::decode(reply?, reaches.len())?)
    }
}
