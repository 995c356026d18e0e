//! The port of the customer segments: what is known of customers, over all processes.

use std::future::{Future, ready};
use std::sync::{Arc, Mutex};

use redis::Value;
use tokio::time::{Instant, timeout};

use super::customer_replies::{Hash, applied, export};
use super::customer_scripts::Rules;
use super::failure::Failure;
use super::scripts::{Call, MalformedReply};
use super::sweep_customers::Walk;
use super::{Core, RedisStore};
use crate::model::{Operation, Outcome, StoreError, StoreErrorKind, UserId};
use crate::segment::{
    Applied, Change, CustomerStore, Export, Fetched, KeepCustomers, Keeping, Later, Record, Sweep,
    Timestamp,
};

impl CustomerStore for RedisStore {
    fn keep_customers(&self, keeping: &Keeping) -> Arc<dyn KeepCustomers> {
        Arc::new(BoundCustomers {
            core: Arc::clone(&self.0),
            rules: Arc::new(Rules::of(keeping)),
            walk: Arc::new(Mutex::new(Walk::new())),
            keeping: keeping.clone(),
        })
    }
}

/// The store for the settings of one layer.
struct BoundCustomers {
    core: Arc<Core>,
    rules: Arc<Rules>,
    keeping: Keeping,
    /// Where the sweep of this process stands.
    walk: Arc<Mutex<Walk>>,
}

/// Most changes in a call: a server applies so many in about a millisecond, during which it serves nobody else.
const BATCH: usize = 100;

impl KeepCustomers for BoundCustomers {
    fn fetch(&self, customer: &UserId) -> Fetched {
        // First, so that an open breaker costs a request no more than this.
        if let Some(rejected) = self.core.reject(Operation::Fetch) {
            return Fetched::Ready(Err(rejected));
        }
        let core = Arc::clone(&self.core);
        let call = core.customers.fetch(customer);
        Fetched::Pending(Box::pin(async move {
            core.observed(Operation::Fetch, core.fetch(call)).await
        }))
    }

    fn apply(&self, changes: &[Change]) -> Later<Vec<Applied>> {
        if let Some(rejected) = self.core.reject(Operation::Record) {
            return Box::pin(ready(Err(rejected)));
        }
        let (core, rules) = (Arc::clone(&self.core), Arc::clone(&self.rules));
        let changes = changes.to_vec();
        Box::pin(async move {
            let mut all = Vec::with_capacity(changes.len());
            for changes in changes.chunks(BATCH) {
                let applying = core.apply(&rules, changes);
                all.extend(core.observed(Operation::Record, applying).await?);
            }
            Ok(all)
        })
    }

    fn erase(&self, customer: &UserId, at: Timestamp) -> Later<bool> {
        if let Some(rejected) = self.core.reject(Operation::Record) {
            return Box::pin(ready(Err(rejected)));
        }
        let (core, customer) = (Arc::clone(&self.core), customer.clone());
        Box::pin(async move {
            let erasing = core.erase(&customer, at);
            core.observed(Operation::Record, erasing).await
        })
    }

    fn export(&self, customer: &UserId) -> Later<Option<Export>> {
        if let Some(rejected) = self.core.reject(Operation::Fetch) {
            return Box::pin(ready(Err(rejected)));
        }
        let core = Arc::clone(&self.core);
        let call = core.customers.export(customer);
        Box::pin(async move { core.observed(Operation::Fetch, core.export(call)).await })
    }

    fn sweep(&self, now: Timestamp) -> Later<Option<Sweep>> {
        if let Some(rejected) = self.core.reject(Operation::Sweep) {
            return Box::pin(ready(Err(rejected)));
        }
        let (core, rules) = (Arc::clone(&self.core), Arc::clone(&self.rules));
        let (walk, keeping) = (Arc::clone(&self.walk), self.keeping.clone());
        Box::pin(async move {
            let started = Instant::now();
            let result = core.sweep(&rules, &keeping, &walk, now).await;
            core.note(Operation::Sweep, started, &result);
            // Not told to the breaker: the requests' connection is another one.
            Ok(result?)
        })
    }

    fn end_sweep(&self) -> Later<()> {
        if let Some(rejected) = self.core.reject(Operation::Sweep) {
            return Box::pin(ready(Err(rejected)));
        }
        let (core, walk) = (Arc::clone(&self.core), Arc::clone(&self.walk));
        Box::pin(async move {
            let started = Instant::now();
            let result = core.end_sweep(&walk).await;
            core.note(Operation::Sweep, started, &result);
            Ok(result?)
        })
    }
}

impl Core {
    /// The error of a call that is not made while the breaker is open.
    pub(super) fn reject(&self, operation: Operation) -> Option<StoreError> {
        self.health.breaker.is_open().then(|| {
            self.observe(operation, Outcome::Rejected, std::time::Duration::ZERO);
            StoreError::new(StoreErrorKind::Rejected)
        })
    }

    pub(super) fn note<T>(
        &self,
        operation: Operation,
        started: Instant,
        result: &Result<T, Failure>,
    ) {
        let outcome = result
            .as_ref()
            .map_or_else(Failure::outcome, |_| Outcome::Ok);
        self.observe(operation, outcome, started.elapsed());
    }

    /// Waits for a call on the requests' connection.
    async fn observed<T>(
        self: &Arc<Self>,
        operation: Operation,
        asked: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = asked.await;
        self.note(operation, started, &result);
        result.map_err(|failure| {
            // The breaker is the requests': what only these scripts meet must not turn their limits local.
            if failure.is_of_the_connection() {
                self.note_failure(&failure);
            }
            failure.into()
        })
    }

    async fn answer(&self, call: &(impl Call + Sync)) -> Result<Value, Failure> {
        match timeout(self.deadline, self.connections.call(call)).await {
            Ok(answer) => answer,
            Err(_) => {
                // What does not answer may never: the next call starts on another connection.
                self.connections.forget();
                Err(Failure::Timeout)
            }
        }
    }

    async fn fetch(&self, call: impl Call + Sync) -> Result<Option<Record>, Failure> {
        let Some(Value::Array(fields)) = self.read(call).await? else {
            return Ok(None);
        };
        Ok(match Hash::decode(&fields)? {
            Hash::Known(record) => Some(record),
            Hash::Absent => None,
            Hash::Broken => {
                self.health.count_broken_logs(1);
                None
            }
        })
    }

    async fn export(&self, call: impl Call + Sync) -> Result<Option<Export>, Failure> {
        let Some(reply) = self.read(call).await? else {
            return Ok(None);
        };
        let (export, broken) = export(reply)?;
        self.health.count_broken_logs(broken);
        Ok(export)
    }

    /// Reads from a hash; `None` from a key that holds something else.
    async fn read(&self, call: impl Call + Sync) -> Result<Option<Value>, Failure> {
        match self.answer(&call).await {
            Ok(reply @ Value::Array(_)) => Ok(Some(reply)),
            Ok(_) => Err(MalformedReply.into()),
            Err(Failure::Server(error)) if error.code() == Some("WRONGTYPE") => {
                self.health.count_broken_logs(1);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn apply(&self, rules: &Rules, changes: &[Change]) -> Result<Vec<Applied>, Failure> {
        let reply = self.answer(&self.customers.apply(rules, changes)).await?;
        let (applied, broken) = applied(reply, changes.len())?;
        self.health.count_broken_logs(broken);
        Ok(applied)
    }

    async fn erase(&self, customer: &UserId, at: Timestamp) -> Result<bool, Failure> {
        match self.answer(&self.customers.erase(customer, at)).await? {
            Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            _ => Err(MalformedReply.into()),
        }
    }
}
