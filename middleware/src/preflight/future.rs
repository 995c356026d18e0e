use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tower_service::Service;

use crate::http::waiting::{Ask, Resumed, Waiting};
use crate::model::Answer;

pin_project! {
    /// The response of a [`Preflight`](super::Preflight) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: Waiting<Asking<S, ReqBody>, S::Future, (), S::Response>,
    }
}

/// The answers that are under way for a request, all at once.
pub(super) type Answers = SmallVec<[Box<dyn Answer>; 2]>;

/// A request about which the store was asked.
pub(super) struct Asking<S, ReqBody> {
    pub(super) answers: Answers,
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

    pub(super) fn asking(asking: Asking<S, ReqBody>) -> Self {
        let state = Waiting::asked(asking);
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

impl<S, ReqBody> Ask for Asking<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    type Answer = ();
    type Future = S::Future;
    type After = ();
    type Response = S::Response;

    /// Takes whatever has come; ready when all has.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let extensions = self.request.extensions_mut();
        let mut earlier = false;
        self.answers.retain(|answer| {
            let waits = answer.poll(cx, extensions, earlier).is_pending();
            earlier |= waits;
            waits
        });
        if self.answers.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn resume(mut self, (): ()) -> Resumed<S::Future, (), S::Response> {
        Resumed::Pass(self.service.call(self.request), None)
    }
}
