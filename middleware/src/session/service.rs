use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, mem};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, Request, Response};
use tower_service::Service;

use super::core::{Core, Looked, Settled};
use super::future::{Asked, ResponseFuture};
use super::{cookie, refusal};
use crate::body::Body;
use crate::http::waiting::{After, Resumed};
use crate::model::Reason;
use crate::task::ticker;

/// A service whose requests have their [`Session`](super::Session); see [`SessionLayer`](super::SessionLayer).
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    /// `None` where sessions are off.
    core: Option<Arc<Core>>,
}

impl<S> Authenticate<S> {
    pub(super) fn new(inner: S, core: Option<Arc<Core>>) -> Self {
        Self { inner, core }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Authenticate<S>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>> + Clone,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Some(core) = &self.core else {
            return ResponseFuture::inner(self.inner.call(request), None);
        };
        ticker::start(core);
        // Taken out: a stack further in has sessions of its own.
        if let Some(settled) = request.extensions_mut().remove::<Settled>() {
            return match act(core, settled, &mut self.inner, request) {
                Resumed::Pass(future, after) => ResponseFuture::inner(future, after),
                Resumed::Refuse(response) => {
                    // A reservation that the inner service made in `poll_ready` goes with the service that is dropped.
                    self.inner = self.inner.clone();
                    ResponseFuture::refused(response)
                }
            };
        }
        let (parts, body) = request.into_parts();
        let looked = match core.look(&parts) {
            Looked::Settled(settled) => ControlFlow::Break(settled),
            Looked::Unproved(unproved) => core.ask(unproved),
        };
        let mut request = Request::from_parts(parts, body);
        match looked {
            ControlFlow::Break(settled) => {
                settled.leave(request.extensions_mut(), false);
                self.call(request)
            }
            ControlFlow::Continue(question) => {
                // The service that was polled ready goes with the request; a clone waits for the next.
                let next = self.inner.clone();
                let service = mem::replace(&mut self.inner, next);
                ResponseFuture::asked(Asked {
                    question,
                    service,
                    request,
                    core: Arc::clone(core),
                })
            }
        }
    }
}

/// What is done to the response of a request without a session. Boxed by its owner, so that the future stays small: most
/// requests have none.
pub(super) struct Anonymous {
    clear: Option<HeaderValue>,
}

/// Lets a request pass with what was found, or refuses it.
pub(super) fn act<S, ReqBody, B>(
    core: &Arc<Core>,
    settled: Settled,
    service: &mut S,
    mut request: Request<ReqBody>,
) -> Resumed<S::Future, Box<Anonymous>, Response<Body<B>>>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>>,
{
    let cleared = |clear: bool| core.cookie.filter(|_| clear).and_then(cookie::clear);
    let refuse = |reason, request: Request<ReqBody>| {
        let (parts, _) = request.into_parts();
        refusal::response(reason, &parts).map(Body::refusal)
    };
    match settled {
        Settled::Session(session, claim) => {
            core.heed_use(&session, request.headers(), request.extensions());
            let extensions = request.extensions_mut();
            session.own(extensions);
            extensions.insert(session);
            extensions.insert(claim);
            Resumed::Pass(service.call(request), None)
        }
        Settled::Anonymous { clear: false } => Resumed::Pass(service.call(request), None),
        Settled::Anonymous { clear: true } => {
            let anonymous = Anonymous {
                clear: cleared(true),
            };
            Resumed::Pass(service.call(request), Some(Box::new(anonymous)))
        }
        Settled::Refused(reason) => Resumed::Refuse(refuse(reason, request)),
        Settled::Forged(guess) => {
            let mut response = refuse(Reason::SESSION_INVALID, request);
            if let Some(guess) = guess {
                response.extensions_mut().insert(guess);
            }
            Resumed::Refuse(response)
        }
    }
}

impl Anonymous {
    fn mark<B>(self, response: &mut Response<B>) {
        // The handler's own cookie, of a login, stands.
        if let Some(clear) = self.clear
            && !sets(response, &clear)
        {
            let headers = response.headers_mut();
            headers.append(SET_COOKIE, clear);
            // No cache is to clear the cookies of others.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

impl<B> After<Response<B>> for Box<Anonymous> {
    fn heed(self, response: &mut Response<B>) {
        self.mark(response);
    }
}

/// Whether a response sets the same cookie.
fn sets<B>(response: &Response<B>, clear: &HeaderValue) -> bool {
    let name = |value: &HeaderValue| {
        let end = value.as_bytes().iter().position(|byte| *byte == b'=');
        value.as_bytes()[..end.unwrap_or(0)].to_vec()
    };
    let own = name(clear);
    let mut lines = response.headers().get_all(SET_COOKIE).iter();
    lines.any(|line| name(line) == own)
}

impl<S: fmt::Debug> fmt::Debug for Authenticate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("inner", &self.inner)
            .field("on", &self.core.is_some())
            .finish()
    }
}
