use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::{fmt, mem};

use http::{Request, Response};
use tower_service::Service;

use super::Standing;
use super::future::{Looking, ResponseFuture, Visited};
use super::preflight::Looked;
use super::registry::{Registry, Sought, Visit};
use crate::model::{Client, Notes, Segment};
use crate::task::ticker;

/// A service that knows which kind of customer sends its requests; see [`ClassifyLayer`](super::ClassifyLayer).
#[derive(Clone)]
pub struct Classify<S> {
    inner: S,
    registry: Option<Arc<Registry>>,
}

impl<S> Classify<S> {
    pub(super) fn new(inner: S, registry: Option<Arc<Registry>>) -> Self {
        Self { inner, registry }
    }

    /// The visit of an identified customer, not classified yet.
    fn visit<B>(&self, request: &Request<B>) -> Option<Visited> {
        let registry = self.registry.as_ref()?;
        ticker::start(registry);
        let Some(client) = request.extensions().get::<Client>() else {
            warn_of_nobody();
            return None;
        };
        let user = client.user.clone()?;
        Some(Visited {
            visit: Visit {
                user,
                segment: None,
                action: registry.actions.on(request.method(), &client.route),
                country: client.country,
            },
            registry: Arc::clone(registry),
        })
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Classify<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> ResponseFuture<S, ReqBody> {
        let Some(mut visited) = self.visit(&request) else {
            return ResponseFuture::inner(self.inner.call(request), None);
        };
        let (segment, is_touched) = match request.extensions_mut().remove::<Looked>() {
            // Taken out: a stack further in has customers of its own.
            Some(Looked(segment)) => (segment, false),
            None => match visited.registry.seek(&visited.visit.user, true) {
                (Sought::Now(standing), is_touched) => {
                    (standing.map(Standing::segment), is_touched)
                }
                (Sought::Later(pending), _) => {
                    // The service that was polled ready goes with the request; a clone waits for the next.
                    let next = self.inner.clone();
                    let ready = mem::replace(&mut self.inner, next);
                    return ResponseFuture::looking(Looking {
                        pending,
                        service: ready,
                        request,
                        visited,
                    });
                }
            },
        };
        visited.enter(segment, is_touched, &mut request);
        ResponseFuture::inner(self.inner.call(request), Some(visited))
    }
}

impl Visited {
    /// The customer is classified, and active from now on.
    pub(super) fn enter<B>(
        &mut self,
        segment: Option<Segment>,
        is_touched: bool,
        request: &mut Request<B>,
    ) {
        self.visit.segment = segment;
        match segment {
            Some(segment) => {
                if let Some(notes) = request.extensions().get::<Notes>() {
                    notes.segment(segment);
                }
                // Preflight may have left it for the limits.
                if request.extensions().get() != Some(&segment) {
                    request.extensions_mut().insert(segment);
                }
            }
            None => self.registry.tally.unclassify(),
        }
        if !is_touched {
            self.registry.touch(&self.visit.user);
        }
    }
}

#[cold]
fn warn_of_nobody() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            target: "palisade::segment",
            event = "segments_without_client",
            "customers cannot be told without a `Client` in the request's extensions; add `IdentifyLayer` outside of \
             `ClassifyLayer`"
        );
    });
}

impl<S: fmt::Debug> fmt::Debug for Classify<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classify")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
