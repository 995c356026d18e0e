//! The port: what the layer needs from a store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Kind, Threshold};
use crate::client::{Network, Route};
use crate::rate_limit::StoreError;

/// Keeps the logs of failures.
///
/// The contract that every store is held to, for each client and kind on the store's clock: an episode begins with
/// the failure that makes the count in its window `(t-w, t]` reach the threshold, which is an incident; while it lasts,
/// the first failure a whole window or more after the last incident is another; it ends when fewer than half the
/// threshold are left in the window.
pub trait FailureStore: Send + Sync + 'static {
    /// Prepares the logs of these kinds; binds of one kind share its logs.
    fn bind_failures(&self, watches: &[Watch]) -> Arc<dyn CountFailures>;
}

/// A store bound to the kinds of one layer.
pub trait CountFailures: Send + Sync + 'static {
    /// Counts each request for every kind that counts its status, all in one round trip.
    ///
    /// The future times out by itself. A call that failed may have been executed.
    fn count(&self, requests: &[FailedRequest]) -> Counting;
}

/// The answer of a store, under way.
pub type Counting = Pin<Box<dyn Future<Output = Result<Vec<Incident>, StoreError>> + Send>>;

/// A store inside the process: it counts at once and cannot fail.
pub trait LocalFailureStore: Send + Sync + 'static {
    /// As [`FailureStore::bind_failures`].
    fn bind_failures_local(&self, watches: &[Watch]) -> Arc<dyn CountFailuresNow>;
}

/// A local store bound to the kinds of one layer.
pub trait CountFailuresNow: Send + Sync + 'static {
    /// As [`CountFailures::count`].
    fn count_now(&self, requests: &[FailedRequest]) -> Vec<Incident>;
}

/// A kind and when it is suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The kind.
    pub kind: Kind,
    /// How many failures in which window.
    pub threshold: Threshold,
}

/// A request that the service answered with a client error.
#[derive(Debug, Clone)]
pub struct FailedRequest {
    /// Whose request it was.
    pub client: Network,
    /// What the service answered.
    pub status: StatusCode,
    /// The route's template, kept as evidence.
    pub route: Route,
}

/// A failure that is to be reported, with the evidence that the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The request that made it an incident, by its place in the call.
    pub request: usize,
    /// What the kind of failures and its threshold are.
    pub watch: Watch,
    /// Failures since the episode began, those that led to it included.
    pub count: u64,
    /// From the first of them to this one.
    pub span: Duration,
    /// The last distinct routes of the client's failures of this kind, the latest last; at most [`Incident::ROUTES`].
    pub routes: Vec<Route>,
}

impl Incident {
    /// How many routes are kept as evidence.
    pub const ROUTES: usize = 8;
}

/// A route as evidence shows it: at most 128 bytes.
pub(crate) fn shown(route: &Route) -> &str {
    let text = route.as_str();
    let mut end = text.len().min(128);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
