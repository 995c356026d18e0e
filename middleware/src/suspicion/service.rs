use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::{fmt, mem};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::Known;
use super::future::{Asked, ResponseFuture, Watched};
use super::recorder::{Recorder, Sender};
use crate::body::Body;
use crate::http::grpc::Call;
use crate::model::{Client, Screened};

/// A service whose failures are counted, and that banned clients do not reach; see [`SuspicionLayer`](super::SuspicionLayer).
#[derive(Clone)]
pub struct Suspicion<S> {
    inner: S,
    recorder: Arc<Recorder>,
}

impl<S> Suspicion<S> {
    pub(super) fn new(inner: S, recorder: Arc<Recorder>) -> Self {
        Self { inner, recorder }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Suspicion<S>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>> + Clone,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let watched = match request.extensions().get::<Client>() {
            Some(client)
                if self
                    .recorder
                    .exempt
                    .covers(request.method(), request.uri(), client) =>
            {
                None
            }
            Some(client) => Some(Watched {
                sender: Sender {
                    client: client.network,
                    user: client.user.clone(),
                    route: client.route.clone(),
                    is_safe: request.method().is_safe(),
                    sought: self.recorder.seek(client, &request),
                    left_out: self.recorder.leaves_out(
                        request.method(),
                        &client.route,
                        request.uri(),
                    ),
                },
                recorder: Arc::clone(&self.recorder),
                call: Call::of(&request),
            }),
            None => {
                warn_of_nobody();
                None
            }
        };
        if self.recorder.warden.is_none() {
            return ResponseFuture::inner(self.inner.call(request), watched);
        }
        match watched {
            Some(watched) => self.guarded(request, watched),
            None => ResponseFuture::inner(self.inner.call(request), None),
        }
    }
}

impl<S> Suspicion<S> {
    /// A request that a ban may refuse.
    fn guarded<ReqBody, B>(
        &mut self,
        mut request: Request<ReqBody>,
        watched: Watched,
    ) -> ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>, Response = Response<Body<B>>> + Clone,
        B: http_body::Body<Data = Bytes>,
    {
        let (client, user) = (watched.sender.client, watched.sender.user.as_ref());
        // Taken out: a stack further in has bans of its own.
        let screened = request.extensions_mut().remove::<Screened>();
        let known = watched.recorder.warden.as_ref().map(|warden| {
            let known = warden.known(client, user, screened.as_ref());
            (warden, known)
        });
        match known {
            Some((warden, Known::Banned(left))) if warden.turns_away() => {
                // A reservation that the inner service made in `poll_ready` goes with the service that is dropped.
                self.inner = self.inner.clone();
                let (parts, _) = request.into_parts();
                ResponseFuture::refused(warden.respond(left, &parts).map(Body::refusal))
            }
            Some((warden, Known::Unknown)) => {
                let pending = warden.ask(client, user);
                // The service that was polled ready goes with the request; a clone waits for the next.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                ResponseFuture::asked(Asked {
                    pending,
                    service: ready,
                    request,
                    watched,
                })
            }
            _ => ResponseFuture::inner(self.inner.call(request), Some(watched)),
        }
    }
}

#[cold]
fn warn_of_nobody() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            target: "palisade::suspicion",
            event = "suspicion_without_client",
            "suspicious activity cannot be told without a `Client` in the request's extensions; add `IdentifyLayer` \
             outside of `SuspicionLayer`"
        );
    });
}

impl<S: fmt::Debug> fmt::Debug for Suspicion<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspicion")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
