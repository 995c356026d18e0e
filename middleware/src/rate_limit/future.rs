use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::decide::{AllMet, Conclusion, Decider};
use super::headers::Rendered;
use crate::body::Body;
use crate::http::waiting::{After, Ask, Resumed, Waiting};
use crate::model::{Notes, Pending, StoreError};
use crate::rate_limit::store::Verdict;

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: Waiting<Asked<S, ReqBody>, S::Future, Rendered, S::Response>,
    }
}

/// A request about which the store was asked.
pub(super) struct Asked<S, ReqBody> {
    pub(super) pending: Pending<Verdict>,
    pub(super) met: AllMet,
    pub(super) sent: Duration,
    pub(super) service: S,
    pub(super) request: Request<ReqBody>,
    pub(super) decider: Arc<Decider>,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn inner(future: S::Future, headers: Option<Rendered>) -> Self {
        let state = Waiting::inner(future, headers);
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
{
    type Output = Result<Response<Body<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll(cx)
    }
}

impl<S, ReqBody, B> Ask for Asked<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>>,
{
    type Answer = Result<Verdict, StoreError>;
    type Future = S::Future;
    type After = Rendered;
    type Response = S::Response;

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Self::Answer> {
        self.pending.as_mut().poll(cx)
    }

    fn resume(self, result: Self::Answer) -> Resumed<S::Future, Rendered, S::Response> {
        let Self {
            met,
            sent,
            mut service,
            mut request,
            decider,
            ..
        } = self;
        let concluded = decider.decide_by(&met, sent, result);
        if let Some(notes) = request.extensions().get::<Notes>() {
            notes.result(concluded.result());
        }
        match concluded {
            Conclusion::Pass {
                headers, decision, ..
            } => {
                request.extensions_mut().insert(decision);
                Resumed::Pass(service.call(request), Some(headers))
            }
            Conclusion::Refuse(refusal) => {
                let (parts, _) = request.into_parts();
                Resumed::Refuse(decider.respond(refusal, &parts).map(Body::refusal))
            }
        }
    }
}

impl<ResBody> After<Response<ResBody>> for Rendered {
    fn heed(self, response: &mut Response<ResBody>) {
        self.append_to(response.headers_mut());
    }
}
