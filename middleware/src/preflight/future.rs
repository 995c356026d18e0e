use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use http::request::Parts;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tower_service::Service;

use super::service::ask;
use crate::http::waiting::{Ask, Resumed, Waiting};
use crate::model::{self, Answer};

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
    pub(super) layers: Arc<[Box<dyn model::Ask>]>,
    /// The first layer that is still to be asked.
    pub(super) next: usize,
    pub(super) service: S,
    pub(super) parts: Parts,
    pub(super) body: ReqBody,
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

    /// Takes whatever has come, and asks the layers that waited for it; ready when all has come.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut earlier = false;
            self.answers.retain(|answer| {
                let waits = answer
                    .poll(cx, &mut self.parts.extensions, earlier)
                    .is_pending();
                earlier |= waits;
                waits
            });
            if !self.answers.is_empty() {
                return Poll::Pending;
            }
            if self.next == self.layers.len() {
                return Poll::Ready(());
            }
            self.answers = ask(&self.layers, &mut self.next, &mut self.parts);
        }
    }

    fn resume(mut self, (): ()) -> Resumed<S::Future, (), S::Response> {
        let request = Request::from_parts(self.parts, self.body);
        Resumed::Pass(self.service.call(request), None)
    }
}
