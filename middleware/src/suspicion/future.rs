use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Login;
use super::recorder::{Recorder, Sender};
use crate::body::{Body, End, ObserveBody};
use crate::http::grpc::{Call, UNKNOWN};
use crate::http::waiting::{After, Ask, Resumed, Waiting};
use crate::model::{Barred, Guess, Rejected, Reply, StoreError};

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
    pub(super) pending: Reply<Barred>,
    pub(super) service: S,
    pub(super) request: Request<ReqBody>,
    pub(super) watched: Watched,
}

/// A request whose response is looked at.
pub(super) struct Watched {
    pub(super) sender: Sender,
    pub(super) recorder: Arc<Recorder>,
    pub(super) call: Call,
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
    type Answer = Result<Barred, StoreError>;
    type Future = S::Future;
    type After = Watched;
    type Response = S::Response;

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Self::Answer> {
        Pin::new(&mut self.pending).poll(cx)
    }

    fn resume(self, answer: Self::Answer) -> Resumed<S::Future, Watched, S::Response> {
        let Self {
            mut service,
            request,
            watched,
            ..
        } = self;
        if let Some(warden) = &watched.recorder.warden
            && let Some(left) =
                warden.judge(watched.sender.client, watched.sender.user.as_ref(), answer)
            && warden.turns_away()
        {
            let (parts, _) = request.into_parts();
            return Resumed::Refuse(warden.respond(left, &parts).map(Body::refusal));
        }
        Resumed::Pass(service.call(request), Some(watched))
    }
}

impl<B: http_body::Body<Data = Bytes>> After<Response<Body<B>>> for Watched {
    fn heed(self, response: &mut Response<Body<B>>) {
        let Self {
            sender,
            recorder,
            mut call,
        } = self;
        if let Some(guess) = response.extensions_mut().remove::<Guess>() {
            recorder.note_guess(guess, sender);
            return;
        }
        let has_trailers = call.respond(response);
        let status = call.status(UNKNOWN).and_then(failure_of);
        let status = status.unwrap_or(response.status());
        let extensions = response.extensions();
        let login = recorder
            .logins
            .as_ref()
            .and_then(|logins| logins.told(extensions));
        let is_login = status.is_client_error() && extensions.get::<Login>().is_some();
        let is_noted = status.is_client_error() || login.is_some();
        if !(is_noted || has_trailers) || extensions.get::<Rejected>().is_some() {
            return;
        }
        let (now, later) = match (is_noted, has_trailers) {
            (true, true) => (Some(sender.clone()), Some(sender)),
            (true, false) => (Some(sender), None),
            (false, _) => (None, Some(sender)),
        };
        if let Some(sender) = now {
            recorder.note(status, login, is_login, sender);
        }
        if later.is_some() {
            let later = Called {
                sender: later,
                recorder,
            };
            response.body_mut().observe_call(later);
        }
    }
}

/// A gRPC call whose trailers will tell whether it failed.
struct Called {
    /// `None` once it was told.
    sender: Option<Sender>,
    recorder: Arc<Recorder>,
}

impl ObserveBody for Called {
    fn end(&mut self, end: End) {
        if let End::Complete(Some(status)) = end
            && let Some(status) = failure_of(status)
            && let Some(sender) = self.sender.take()
        {
            self.recorder.note(status, None, false, sender);
        }
    }
}

/// The client's failure that a gRPC status stands for, in terms of HTTP.
///
/// A call that is not implemented is a path that was tried.
fn failure_of(status: u8) -> Option<StatusCode> {
    match status {
        3 | 9 | 11 => Some(StatusCode::BAD_REQUEST),
        5 | 12 => Some(StatusCode::NOT_FOUND),
        6 => Some(StatusCode::CONFLICT),
        7 => Some(StatusCode::FORBIDDEN),
        16 => Some(StatusCode::UNAUTHORIZED),
        _ => None,
    }
}
