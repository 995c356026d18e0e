use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::core::{Core, Question};
use super::service::{Anonymous, act};
use super::store::Proved;
use crate::body::Body;
use crate::http::waiting::{Ask, Resumed, Waiting};
use crate::model::StoreError;

pin_project! {
    /// The response of an [`Authenticate`](super::Authenticate) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: Waiting<Asked<S, ReqBody>, S::Future, Box<Anonymous>, S::Response>,
    }
}

/// A request whose session the store was asked for.
pub(super) struct Asked<S, ReqBody> {
    pub(super) question: Question,
    pub(super) service: S,
    pub(super) request: Request<ReqBody>,
    pub(super) core: Arc<Core>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future, after: Option<Box<Anonymous>>) -> Self {
        let state = Waiting::inner(future, after);
        Self { state }
    }

    pub(super) fn refused(response: S::Response) -> Self {
        let state = Waiting::refused(response);
        Self { state }
    }

    pub(super) fn asked(asked: Asked<S, ReqBody>) -> Self {
        let state = Waiting::asked(asked);
        Self { state }
    }
}

impl<S, ReqBody, B> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>>,
    B: http_body::Body<Data = Bytes>,
{
    type Output = Result<Response<Body<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll(cx)
    }
}

impl<S, ReqBody, B> Ask for Asked<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>>,
    B: http_body::Body<Data = Bytes>,
{
    type Answer = Result<Proved, StoreError>;
    type Future = S::Future;
    type After = Box<Anonymous>;
    type Response = S::Response;

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Self::Answer> {
        Pin::new(&mut self.question.reply).poll(cx)
    }

    fn resume(self, answer: Self::Answer) -> Resumed<S::Future, Box<Anonymous>, S::Response> {
        let Self {
            question,
            mut service,
            mut request,
            core,
        } = self;
        let settled = core.answer(question, answer);
        settled.clone().leave(request.extensions_mut(), false);
        request.extensions_mut().remove::<super::core::Settled>();
        act(&core, settled, &mut service, request)
    }
}
