use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tokio::sync::watch;
use tower_service::Service;

use super::answer::{Refused, text};
use super::body::SessionsBody;
use super::call::{Call, Prefix};
use super::events::Watch;
use super::{act, login};
use crate::model::Reason;
use crate::session::require::is_recent;
use crate::session::store::Claim;
use crate::session::{Session, Sessions};

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The endpoints as a service, behind the session layer; see the [module](self::super). Clones are one service.
///
/// It runs on Tokio.
#[derive(Clone)]
pub struct SessionsApi {
    sessions: Sessions,
    pub(super) prefix: Prefix,
    reauth_within: Option<Duration>,
    closed: Arc<watch::Sender<bool>>,
}

impl SessionsApi {
    /// The endpoints of the sessions that this handle knows: it must be the handle of the layer around the service.
    #[must_use]
    pub fn new(sessions: &Sessions) -> Self {
        Self {
            sessions: sessions.clone(),
            prefix: Prefix::Unknown,
            reauth_within: None,
            closed: Arc::new(watch::Sender::new(false)),
        }
    }

    /// The same service for requests whose path still has all of its prefix, such as `/account/devices`: that is then the list,
    /// `/account/devices/current` the request's session, `/account/devices/login` the login, and nothing else is answered.
    ///
    /// Without it, the last name of the path tells, and `/` and `…/sessions` are the list.
    #[must_use]
    pub fn at(mut self, prefix: &str) -> Self {
        self.prefix = Prefix::At(prefix.trim_end_matches('/').into());
        self
    }

    /// Has only a user that logged in this short a time ago end its sessions: others are answered 401 with the type
    /// `tag:palisade,2026:reauthentication-required`. It may always end the session of the request.
    #[must_use]
    pub fn reauth_within(mut self, within: Duration) -> Self {
        self.reauth_within = Some(within);
        self
    }

    /// Ends the streams of this service and refuses new ones: a server that drains would wait for them for ever.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let (parts, body) = request.into_parts();
        let called = self.called(&parts);
        let (call, of) = match called {
            Ok(called) => called,
            Err(refused) => return Answer::Ready(refused.response(&parts).map(SessionsBody::text)),
        };
        let api = self.clone();
        Answer::Pending(Box::pin(async move {
            let is_head = parts.method == Method::HEAD;
            let text = match (call, of) {
                (Call::Login, _) => login::login(&api.sessions, &parts, body).await,
                (Call::Events, Some((_, claim))) if !is_head => match api.events(claim).await {
                    Ok(stream) => return stream,
                    Err(refused) => Err(refused),
                },
                (Call::Events, _) => Ok(text(StatusCode::OK, EVENTS, Bytes::new())),
                (_, Some((session, _))) => {
                    act::act(&api.sessions, call, &session, &parts, body).await
                }
                (_, None) => Err(Refused::Reason(Reason::SESSION_REQUIRED)),
            };
            let response = text.unwrap_or_else(|refused| refused.response(&parts));
            response.map(|text| {
                // With the length of the answer to a GET.
                let text = if is_head { Bytes::new() } else { text };
                SessionsBody::text(text)
            })
        }))
    }

    /// The call, and whose it is, if the request may make it.
    fn called(&self, parts: &Parts) -> Result<(Call, Option<(Session, Claim)>), Refused> {
        let call = self.prefix.call(parts.uri.path()).ok_or(Refused::NO_PATH)?;
        if !call.takes(&parts.method) {
            return Err(match call {
                Call::One(None) => Refused::NO_PATH,
                call => Refused::Method(call.methods()),
            });
        }
        if call == Call::Login {
            return Ok((call, None));
        }
        let session = parts.extensions.get::<Session>();
        let claim = parts.extensions.get::<Claim>();
        let Some((session, claim)) = session.zip(claim) else {
            return Err(Refused::Reason(Reason::SESSION_REQUIRED));
        };
        let needs_login = match call {
            Call::TerminateAll => true,
            Call::One(id) => id != Some(session.id),
            _ => false,
        };
        if needs_login
            && let Some(within) = self.reauth_within
            && !is_recent(session, within)
        {
            return Err(Refused::Reason(Reason::REAUTHENTICATION_REQUIRED));
        }
        Ok((call, Some((session.clone(), claim.clone()))))
    }

    async fn events(&self, claim: Claim) -> Result<Response<SessionsBody>, Refused> {
        let closed = self.closed.subscribe();
        if *closed.borrow() {
            return Err(Refused::Unavailable("the service ends"));
        }
        let watch = Watch::begin(self.sessions.core(), claim, closed).await?;
        let mut response = text(StatusCode::OK, EVENTS, Bytes::new());
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        // A proxy such as nginx would otherwise collect seconds of it.
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        headers.insert(unbuffered, HeaderValue::from_static("no"));
        Ok(response.map(|_| SessionsBody::events(watch)))
    }
}

impl<B> Service<Request<B>> for SessionsApi
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<SessionsBody>;
    type Error = Infallible;
    type Future = SessionsFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> SessionsFuture {
        SessionsFuture(self.answer(request))
    }
}

impl fmt::Debug for SessionsApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsApi")
            .field("prefix", &self.prefix)
            .field("reauth_within", &self.reauth_within)
            .finish_non_exhaustive()
    }
}

/// The answer of a [`SessionsApi`].
#[must_use = "futures do nothing unless polled"]
pub struct SessionsFuture(Answer);

enum Answer {
    Ready(Response<SessionsBody>),
    Pending(Pin<Box<dyn Future<Output = Response<SessionsBody>> + Send>>),
    Done,
}

impl Future for SessionsFuture {
    type Output = Result<Response<SessionsBody>, Infallible>;

    /// A caller must not poll it again after it was done; it then stays pending.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.0 {
            Answer::Pending(pending) => std::task::ready!(pending.as_mut().poll(cx)),
            answer => match std::mem::replace(answer, Answer::Done) {
                Answer::Ready(response) => response,
                Answer::Pending(_) | Answer::Done => return Poll::Pending,
            },
        };
        self.0 = Answer::Done;
        Poll::Ready(Ok(response))
    }
}

impl fmt::Debug for SessionsFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsFuture").finish_non_exhaustive()
    }
}
