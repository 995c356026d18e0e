use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Asker;
use crate::model::{Network, Segment};
use crate::rate_limit::Question;
use crate::segment::Looked;
use crate::waiting::{Ask, Settlement, Waiting};

pin_project! {
    /// The response of a [`Preflight`](super::Preflight) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: Waiting<Asked<S, ReqBody>, S::Future, (), S::Response>,
    }
}

/// The calls that are under way for a request; both at once.
pub(super) struct Awaited {
    pub(super) network: Network,
    /// The ban and the limits.
    pub(super) question: Option<Question>,
    pub(super) customer: Option<Pin<Box<dyn Future<Output = Option<Segment>> + Send>>>,
}

/// A request about which the store was asked.
pub(super) struct Asked<S, ReqBody> {
    pub(super) awaited: Awaited,
    pub(super) asker: Arc<Asker>,
    pub(super) service: S,
    pub(super) request: Request<ReqBody>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future) -> Self {
        let state = Waiting::inner(future, None);
        Self { state }
    }

    pub(super) fn asked(asked: Asked<S, ReqBody>) -> Self {
        let state = Waiting::asked(asked);
        Self { state }
    }
}

impl<S, ReqBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll(cx)
    }
}

impl<S, ReqBody> Ask for Asked<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    type Answer = ();
    type Future = S::Future;
    type After = ();
    type Response = S::Response;

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_answers(cx)
    }

    fn settle(mut self, (): ()) -> Settlement<S::Future, (), S::Response> {
        Settlement::Pass(self.service.call(self.request), None)
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
