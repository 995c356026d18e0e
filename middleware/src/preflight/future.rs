use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Asker;
use crate::client::Network;
use crate::rate_limit::Question;
use crate::segment::{Looked, Segment};

pin_project! {
    /// The response of a [`Preflight`](super::Preflight) service.
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
        Inner { #[pin] future: S::Future },
    }
}

/// What is under way for a request; both at once.
pub(super) struct Awaited {
    pub(super) network: Network,
    /// The ban and the limits.
    pub(super) question: Option<Question>,
    pub(super) customer: Option<Pin<Box<dyn Future<Output = Option<Segment>> + Send>>>,
}

struct Asked<S, ReqBody> {
    awaited: Awaited,
    asker: Arc<Asker>,
    service: S,
    request: Request<ReqBody>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future) -> Self {
        Self {
            state: State::Inner { future },
        }
    }

    pub(super) fn asked(
        awaited: Awaited,
        asker: Arc<Asker>,
        service: S,
        request: Request<ReqBody>,
    ) -> Self {
        let asked = Asked {
            awaited,
            asker,
            service,
            request,
        };
        Self {
            state: State::Asked {
                asked: Some(Box::new(asked)),
            },
        }
    }
}

impl<S, ReqBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Inner { future } => return future.poll(cx),
                StateProj::Asked { asked } => {
                    let Some(waiting) = asked else {
                        // Polled again after it was done, which no caller may do.
                        return Poll::Pending;
                    };
                    ready!(waiting.poll_answers(cx));
                    let Some(answered) = asked.take() else {
                        return Poll::Pending;
                    };
                    let Asked {
                        mut service,
                        request,
                        ..
                    } = *answered;
                    State::Inner {
                        future: service.call(request),
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, ReqBody> Asked<S, ReqBody> {
    /// Takes whatever has come; ready when all has.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Awaited {
            network,
            question,
            customer,
        } = &mut self.awaited;
        let extensions = self.request.extensions_mut();
        if let Some(pending) = customer
            && let Poll::Ready(segment) = pending.as_mut().poll(cx)
        {
            *customer = None;
            extensions.insert(Looked(segment));
        }
        if let Some(asked) = question
            && let Poll::Ready(result) = asked.pending.as_mut().poll(cx)
            && let Some(asked) = question.take()
            && let Some(rate_limit) = &self.asker.rate_limit
        {
            let resolved = rate_limit.resolve(asked, result);
            self.asker.leave(resolved, *network, extensions);
        }
        if question.is_some() || customer.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
