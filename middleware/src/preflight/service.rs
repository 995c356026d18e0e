use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, mem};

use http::request::Parts;
use http::{Extensions, Request};
use tower_service::Service;

use super::future::{Asked, Awaited, ResponseFuture};
use super::layer::Asker;
use crate::model::{Client, Network};
use crate::rate_limit::{Gate, Preparation, Resolved};
use crate::segment::{Looked, Lookup};
use crate::suspicion::{Screened, Screening};

/// A service whose layers' questions to the store are asked together; see [`PreflightLayer`](super::PreflightLayer).
#[derive(Clone)]
pub struct Preflight<S> {
    inner: S,
    asker: Option<Arc<Asker>>,
}

impl<S> Preflight<S> {
    pub(super) fn new(inner: S, asker: Option<Arc<Asker>>) -> Self {
        Self { inner, asker }
    }
}

impl<S, ReqBody> Service<Request<ReqBody>> for Preflight<S>
where
    S: Service<Request<ReqBody>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture<S, ReqBody> {
        let Some(asker) = &self.asker else {
            return ResponseFuture::inner(self.inner.call(request));
        };
        let (mut parts, body) = request.into_parts();
        let awaited = asker.ask(&mut parts);
        let request = Request::from_parts(parts, body);
        match awaited {
            None => ResponseFuture::inner(self.inner.call(request)),
            Some(awaited) => {
                let asker = Arc::clone(asker);
                // The service that was polled ready goes with the request; a clone waits for the next.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                ResponseFuture::asked(Asked {
                    awaited,
                    asker,
                    service: ready,
                    request,
                })
            }
        }
    }
}

impl Asker {
    /// Puts the known answers into the request's extensions and asks for the others. `None` if there are no others.
    ///
    /// Without a `Client`, each layer asks for itself.
    fn ask(&self, parts: &mut Parts) -> Option<Awaited> {
        let client = parts.extensions.get::<Client>()?;
        let network = client.network;
        let gate = match &self.rate_limit {
            None => None,
            Some(_) => match self.suspicion.screening(&parts.method, client) {
                // It will be refused: nothing is charged, and nobody visits.
                Screening::Banned => return None,
                Screening::Open => None,
                Screening::Unknown { enforced } => Some(Gate {
                    client: network,
                    enforced,
                }),
            },
        };
        let mut customer = match self.segment.lookup(client) {
            Lookup::Anonymous => None,
            Lookup::Known(segment) => {
                // The limits read it, and the segment's layer knows it then.
                if self.by_segment {
                    parts.extensions.insert(segment);
                }
                parts.extensions.insert(Looked(Some(segment)));
                None
            }
            Lookup::Pending(pending) => Some(pending),
        };
        let mut question = None;
        if let (Some(rate_limit), Some(client)) =
            (&self.rate_limit, parts.extensions.get::<Client>())
        {
            match rate_limit.prepare(gate, parts, client) {
                Preparation::Done(resolved) => {
                    if gate.is_some() && resolved.banned.is_none() {
                        // Denied without a question, so that no flood reaches the store: nor about its ban.
                        parts.extensions.insert(Screened(None));
                    }
                    if resolved.is_refused() {
                        // Nobody will ask for the customer. The question has not left: it does when it is polled.
                        customer = None;
                    }
                    self.leave(resolved, network, &mut parts.extensions);
                }
                Preparation::Asked(asked) => question = Some(asked),
            }
        }
        (question.is_some() || customer.is_some()).then_some(Awaited {
            network,
            question,
            customer,
        })
    }

    /// Leaves the store's answer about the client where suspicion and the limits find it.
    pub(super) fn leave(&self, resolved: Resolved, network: Network, extensions: &mut Extensions) {
        let Resolved { banned, prepared } = resolved;
        if let Some(answer) = banned {
            extensions.insert(self.suspicion.screen(network, answer));
        }
        if let Some(prepared) = prepared {
            extensions.insert(prepared);
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Preflight<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preflight")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
