use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::decide::{AllMet, Decider, Pending, Settled};
use super::headers::Rendered;
use crate::observe::Notes;

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit) service.
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
        /// The store was asked, and the request waits with the service that is ready for it.
        ///
        /// Boxed, so that the future of a request that need not wait stays small: it is moved several times.
        Asked { asked: Option<Box<Asked<S, ReqBody>>> },
        Inner { #[pin] future: S::Future, headers: Option<Rendered> },
        Refused { response: Option<S::Response> },
    }
}

struct Asked<S, ReqBody> {
    pending: Pending,
    met: AllMet,
    sent: Duration,
    service: S,
    request: Request<ReqBody>,
    decider: Arc<Decider>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future, headers: Option<Rendered>) -> Self {
        Self {
            state: State::Inner { future, headers },
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
        pending: Pending,
        met: AllMet,
        sent: Duration,
        service: S,
        request: Request<ReqBody>,
        decider: Arc<Decider>,
    ) -> Self {
        let asked = Asked {
            pending,
            met,
            sent,
            service,
            request,
            decider,
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
                StateProj::Inner { future, headers } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(headers) = headers.take() {
                        headers.append_to(response.headers_mut());
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
                    let result = ready!(waiting.pending.as_mut().poll(cx));
                    let Some(asked) = asked.take() else {
                        return Poll::Pending;
                    };
                    asked.settle(result)
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
    fn settle(self, result: Result<super::Verdict, super::StoreError>) -> State<S, ReqBody> {
        let Self {
            met,
            sent,
            mut service,
            mut request,
            decider,
            ..
        } = self;
        let settled = decider.settle(&met, sent, result);
        if let Some(notes) = request.extensions().get::<Notes>() {
            notes.result(settled.result());
        }
        match settled {
            Settled::Pass {
                headers, decision, ..
            } => {
                request.extensions_mut().insert(decision);
                State::Inner {
                    future: service.call(request),
                    headers: Some(headers),
                }
            }
            Settled::Refuse(refusal) => {
                let (parts, _) = request.into_parts();
                let response = decider.respond(refusal, &parts).map(ResBody::from);
                State::Refused {
                    response: Some(response),
                }
            }
        }
    }
}
