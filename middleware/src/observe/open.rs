//! One exchange under way, from the request to whatever ends it.

use std::time::Instant;

use http::{Method, Response};

use super::layer::Observers;
use crate::model::{Client, End, Exchange, Notes, PolicyResult, Reason, Rejected};
use crate::task::shielded;

/// An exchange that the observers were told the beginning of.
///
/// Its end is told in `Drop`, so that it is told once on every path.
pub(super) struct Open(Box<Begun>);

/// Boxed by its owner, so that the future stays small: it is moved several times.
struct Begun {
    observers: Observers,
    started: Instant,
    method: Method,
    client: Client,
    notes: Notes,
    end: End,
    status: Option<http::StatusCode>,
    /// Of the response.
    rejected: Option<Rejected>,
}

impl Open {
    pub(super) fn begin(
        observers: &Observers,
        method: Method,
        client: Client,
        notes: Notes,
    ) -> Self {
        for observer in observers.iter() {
            shielded("exchange", || observer.begin());
        }
        Self(Box::new(Begun {
            observers: observers.clone(),
            started: Instant::now(),
            method,
            client,
            notes,
            end: End::Cancelled,
            status: None,
            rejected: None,
        }))
    }

    /// Runs a part of the service. Should it unwind, the exchange ended in a panic, wherever that is caught.
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> T {
        self.0.end = End::Panicked;
        let output = part();
        self.0.end = End::Cancelled;
        output
    }

    /// The service is done; the observers are told before this returns.
    pub(super) fn finish<B, E>(mut self, result: &Result<Response<B>, E>) {
        let begun = &mut *self.0;
        match result {
            Ok(response) => {
                begun.end = End::Responded;
                begun.status = Some(response.status());
                begun.rejected = response.extensions().get().cloned();
            }
            Err(_) => begun.end = End::Failed,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let begun = &*self.0;
        let refused = begun.rejected.as_ref().map(|rejected| rejected.reason);
        let refused = match refused {
            None => PolicyResult::None,
            Some(Reason::QuotaExceeded) => PolicyResult::Denied,
            Some(Reason::StoreUnavailable) => PolicyResult::FallbackDenied,
            Some(Reason::Banned) => PolicyResult::Banned,
        };
        let exchange = Exchange {
            method: &begun.method,
            client: &begun.client,
            status: begun.status,
            end: begun.end,
            took: begun.started.elapsed(),
            // The response does not say whether its denial was the local log's.
            result: begun.notes.noted_result().max(refused),
            policies: begun
                .rejected
                .as_ref()
                .map_or(&[], |rejected| &rejected.policies),
            segment: begun.notes.noted_segment(),
        };
        for observer in begun.observers.iter() {
            shielded("exchange", || observer.observe(&exchange));
        }
    }
}
