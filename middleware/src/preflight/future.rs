use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Extensions, Request};
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tower_service::Service;

use super::either_way::Either;
use super::layer::Layers;
use super::service::ask;
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

/// Takes whatever has come.
pub(super) fn poll_all(answers: &mut Answers, cx: &mut Context<'_>, extensions: &mut Extensions) {
    let mut earlier = false;
    answers.retain(|answer| {
        let waits = answer.poll(cx, extensions, earlier).is_pending();
        earlier |= waits;
        waits
    });
}

/// A request about which the store was asked.
pub(super) struct Asking<S, ReqBody> {
    pub(super) answers: Answers,
    /// Until it is known whose request it is.
    pub(super) either: Option<Box<Either>>,
    pub(super) layers: Arc<Layers>,
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
        if let Some(either) = &mut self.either {
            let found = ready!(either.poll(cx, &mut self.parts));
            if let Some(either) = self.either.take() {
                self.answers = either.go(found, &mut self.parts);
            }
        }
        loop {
            poll_all(&mut self.answers, cx, &mut self.parts.extensions);
            if !self.answers.is_empty() {
                return Poll::Pending;
            }
            if self.next == self.layers.each.len() {
                return Poll::Ready(());
            }
            (self.answers, _) = ask(&self.layers, &mut self.next, &mut self.parts);
        }
    }

    fn resume(mut self, (): ()) -> Resumed<S::Future, (), S::Response> {
        let request = Request::from_parts(self.parts, self.body);
        Resumed::Pass(self.service.call(request), None)
    }
}
