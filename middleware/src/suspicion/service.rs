use std::fmt;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::{ResponseFuture, Watched};
use super::recorder::{Recorder, Sender};
use crate::client::Client;

/// A service whose failures are counted; see [`SuspicionLayer`](super::SuspicionLayer).
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Suspicion<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let watched = match request.extensions().get::<Client>() {
            Some(client) if self.recorder.exempt.covers(request.method(), client) => None,
            Some(client) => Some(Watched {
                sender: Sender {
                    client: client.network,
                    user: client.user.clone(),
                    route: client.route.clone(),
                },
                recorder: Arc::clone(&self.recorder),
            }),
            None => {
                warn_of_nobody();
                None
            }
        };
        ResponseFuture::new(self.inner.call(request), watched)
    }
}

#[cold]
fn warn_of_nobody() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            "suspicious activity cannot be told without a `Client` in the request's extensions; add `ClientLayer` \
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
