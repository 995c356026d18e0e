use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::recorder::{Recorder, Sender};
use crate::model::{Rejected, Reply, StoreError};
use crate::waiting::{After, Ask, Settlement, Waiting};

pin_project! {
    /// The response of a [`Suspicion`](super::Suspicion) service.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: Waiting<Asked<S, ReqBody>, S::Future, Watched, S::Response>,
    }
}

/// A request whose client the store was asked for a ban.
pub(super) struct Asked<S, ReqBody> {
    pub(super) pending: Reply<Option<Duration>>,
    pub(super) service: S,
    pub(super) request: Request<ReqBody>,
    pub(super) watched: Watched,
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
        let state = Waiting::inner(future, watched);
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

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll(cx)
    }
}

impl<S, ReqBody, ResBody> Ask for Asked<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    type Answer = Result<Option<Duration>, StoreError>;
    type Future = S::Future;
    type After = Watched;
    type Response = S::Response;

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Self::Answer> {
        Pin::new(&mut self.pending).poll(cx)
    }

    fn settle(self, answer: Self::Answer) -> Settlement<S::Future, Watched, S::Response> {
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
            return Settlement::Refuse(warden.respond(left, &parts).map(ResBody::from));
        }
        Settlement::Pass(service.call(request), Some(watched))
    }
}

impl<ResBody> After<Response<ResBody>> for Watched {
    fn heed(self, response: &mut Response<ResBody>) {
        let Self { sender, recorder } = self;
        let extensions = response.extensions();
        let login = recorder
            .logins
            .as_ref()
            .and_then(|logins| logins.told(extensions));
        let status = response.status();
        if (status.is_client_error() || login.is_some()) && extensions.get::<Rejected>().is_none() {
            recorder.note(status, login, sender);
        }
    }
}
