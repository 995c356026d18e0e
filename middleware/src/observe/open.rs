//! One exchange under way, from the request to whatever ends it.

use std::time::Instant;

use bytes::Bytes;
use http::{Method, Response};

use super::layer::Observers;
use crate::body;
use crate::body::{Body, ObserveBody};
use crate::http::grpc;
use crate::http::grpc::Call;
use crate::model::{Client, End, Exchange, Notes, PolicyResult, Rejected};
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
    call: Call,
}

impl Open {
    pub(super) fn begin(
        observers: &Observers,
        method: Method,
        client: Client,
        notes: Notes,
        call: Call,
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
            call,
        }))
    }

    /// Runs a part of the service. Should it unwind, the exchange ended in a panic, wherever that is caught.
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> T {
        self.polling(true);
        let output = part();
        self.polling(false);
        output
    }

    /// The service is done; the observers are told before this returns, or at the end of a gRPC call's body.
    pub(super) fn finish<B, E>(mut self, result: &mut Result<Response<Body<B>>, E>)
    where
        B: http_body::Body<Data = Bytes>,
    {
        let begun = &mut *self.0;
        match result {
            Ok(response) => {
                begun.status = Some(response.status());
                begun.rejected = response.extensions().get().cloned();
                if begun.call.respond(response) {
                    response.body_mut().observe_call(self);
                } else {
                    begun.end = End::Responded;
                }
            }
            Err(_) => begun.end = End::Failed,
        }
    }
}

impl ObserveBody for Open {
    fn polling(&mut self, is_polling: bool) {
        self.0.end = if is_polling {
            End::Panicked
        } else {
            End::Cancelled
        };
    }

    fn end(&mut self, end: body::End) {
        self.0.end = End::Responded;
        self.0.call.end(match end {
            body::End::Complete(status) => status,
            body::End::Failed => None,
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let begun = &mut *self.0;
        if let Some(user) = begun.notes.noted_user() {
            begun.client.user = Some(user.clone());
        }
        let rejected = begun.rejected.as_ref();
        let refused = rejected.map_or(PolicyResult::None, |rejected| rejected.reason.result);
        let exchange = Exchange {
            method: &begun.method,
            client: &begun.client,
            status: begun.status,
            end: begun.end,
            took: begun.started.elapsed(),
            // The response does not say whether its denial was the local log's.
            result: begun.notes.noted_result().max(refused),
            reason: rejected.map(|rejected| rejected.reason),
            policies: rejected.map_or(&[], |rejected| &rejected.policies),
            segment: begun.notes.noted_segment(),
            grpc_status: begun.call.status(if begun.end == End::Cancelled {
                grpc::CANCELLED
            } else {
                grpc::UNKNOWN
            }),
        };
        for observer in begun.observers.iter() {
            shielded("exchange", || observer.observe(&exchange));
        }
    }
}
