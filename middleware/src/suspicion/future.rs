use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Answering;
use super::recorder::{Recorder, Sender};
use crate::rate_limit::{Rejected, StoreError};

pin_project! {
    /// The response of a [`Suspicion`](super::Suspicion) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        /// The store was asked for a ban, and the request waits with the service that is ready for it.
        ///
        /// Boxed, so that the future of a request that need not wait stays small.
        Asked { asked: Option<Box<Asked<S, ReqBody>>> },
        Inner { #[pin] future: S::Future, watched: Option<Watched> },
        Refused { response: Option<S::Response> },
    }
}

struct Asked<S, ReqBody> {
    pending: Answering<Option<Duration>>,
    service: S,
    request: Request<ReqBody>,
    watched: Watched,
}

/// A request whose response is looked at.
pub(super) struct Watched {
    pub(super) sender: Sender,
    pub(super) recorder: Arc<Recorder>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future, watched: Option<Watched>) -> Self {
        Self {
            state: State::Inner { future, watched },
        }
    }

    pub(super) fn refused(response: S::Response) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn asked(
        pending: Answering<Option<Duration>>,
        service: S,
        request: Request<ReqBody>,
        watched: Watched,
    ) -> Self {
        let asked = Asked {
            pending,
            service,
            request,
            watched,
        };
        Self {
            state: State::Asked {
                asked: Some(Box::new(asked)),
            },
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Inner { future, watched } => {
                    let response = ready!(future.poll(cx))?;
                    let status = response.status();
                    let extensions = response.extensions();
                    let login = watched
                        .as_ref()
                        .and_then(|watched| watched.recorder.logins.as_ref()?.told(extensions));
                    if (status.is_client_error() || login.is_some())
                        && extensions.get::<Rejected>().is_none()
                        && let Some(Watched { sender, recorder }) = watched.take()
                    {
                        recorder.note(status, login, sender);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Refused { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        // Polled again after it was done, which no caller may do.
                        None => Poll::Pending,
                    };
                }
                StateProj::Asked { asked } => {
                    let Some(waiting) = asked else {
                        return Poll::Pending;
                    };
                    let answer = ready!(waiting.pending.as_mut().poll(cx));
                    let Some(asked) = asked.take() else {
                        return Poll::Pending;
                    };
                    asked.settle(answer)
                }
            };
            state.set(next);
        }
    }
}

impl<S, ReqBody, ResBody> Asked<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    fn settle(self, answer: Result<Option<Duration>, StoreError>) -> State<S, ReqBody> {
        let Self {
            mut service,
            request,
            watched,
            ..
        } = self;
        if let Some(warden) = &watched.recorder.warden
            && let Some(left) = warden.settle(watched.sender.client, answer)
            && warden.turns_away()
        {
            let (parts, _) = request.into_parts();
            let response = warden.respond(left, &parts).map(ResBody::from);
            return State::Refused {
                response: Some(response),
            };
        }
        State::Inner {
            future: service.call(request),
            watched: Some(watched),
        }
    }
}
