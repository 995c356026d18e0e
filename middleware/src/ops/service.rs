use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use super::act;
use super::answer::{problem, text, unavailable, with};
use super::body::OpsBody;
use super::guard::{Refusal, check};
use super::hub::Hub;
use super::line::STREAMS;
use super::part::{HTML, Part};
use super::path::{Place, Prefix};
use crate::http::hosts::Hosts;
use crate::model::panel::shown;
use crate::task::ticker;

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The live page as a service, from [`Ops::service`](super::Ops::service). Clones are one service.
///
/// It runs on Tokio, whose clock it needs. At most eight streams of events are open at once, of all services of one
/// [`Ops`](super::Ops) together.
#[derive(Clone)]
pub struct OpsService {
    hub: Arc<Hub>,
    prefix: Prefix,
    hosts: Hosts,
    closed: Arc<AtomicBool>,
}

impl OpsService {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            hosts: hub.hosts.clone(),
            hub,
            prefix: Prefix::Unknown,
            closed: Arc::default(),
        }
    }

    /// The same service for requests whose path still has all of its prefix, such as `/internal/ops`: it then answers for
    /// nothing else, and redirects the prefix itself to the page.
    ///
    /// Without it the prefix is whatever comes before the names of the page's files, and `/` is the page.
    #[must_use]
    pub fn at(mut self, prefix: &str) -> Self {
        self.prefix = Prefix::At(prefix.trim_end_matches('/').into());
        self
    }

    /// Ends the streams of this service and refuses new ones: a server that drains would wait for them for ever.
    ///
    /// The admin listener does so by itself.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.hub.line.wake();
    }

    /// A service that is [closed](Self::close) apart from this one.
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn apart(mut self) -> Self {
        self.closed = Arc::default();
        self
    }

    /// The names that it answers to.
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn hosts(&mut self) -> &mut Hosts {
        &mut self.hosts
    }

    /// Whether a path, with a known prefix, is one of the page's.
    #[cfg_attr(not(feature = "otel"), allow(dead_code))]
    pub(crate) fn answers(&self, path: &str) -> bool {
        self.prefix
            .place_of(path, |name| self.hub.part(name))
            .is_some()
    }

    fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        ticker::start(&self.hub);
        let (parts, body) = request.into_parts();
        let place = self.prefix.place(&parts, |name| self.hub.part(name));
        let is_page = matches!(place, Some(Place::Part(Part::Page) | Place::Redirect(_)));
        if let Err(refusal) = check(&self.hosts, &parts, is_page) {
            return Answer::Ready(refused(&refusal));
        }
        let Some(place) = place else {
            return Answer::Ready(self.unknown(&parts));
        };
        let action = match place {
            Place::Part(Part::Action(panel)) => Some(panel),
            _ => None,
        };
        let allowed = match parts.method {
            Method::POST => action.is_some(),
            Method::GET | Method::HEAD => action.is_none(),
            _ => false,
        };
        if !allowed {
            let methods = if action.is_some() {
                "POST"
            } else {
                "GET, HEAD"
            };
            return Answer::Ready(not_allowed(methods));
        }
        if let Some(panel) = action {
            return match act::admit(&self.hub, &parts) {
                Ok(()) => Answer::Pending(Box::pin(act::act(Arc::clone(&self.hub), panel, body))),
                Err(refusal) => Answer::Ready(*refusal),
            };
        }
        let mut response = self.show(place, &parts);
        if parts.method == Method::HEAD {
            // With the length of the answer to a GET.
            *response.body_mut() = OpsBody::text(Bytes::new());
        }
        Answer::Ready(response)
    }

    fn show(&self, place: Place<Part>, parts: &Parts) -> Response<OpsBody> {
        let ok = |kind, body| text(StatusCode::OK, HeaderValue::from_static(kind), body);
        match place {
            Place::Part(Part::Page) => ok(HTML, self.hub.page().into()),
            Place::Part(Part::File(kind, text)) => ok(kind, Bytes::from_static(text.as_bytes())),
            Place::Part(Part::Events) => self.events(parts),
            Place::Redirect(to) => redirect(&to),
            // Sorted out before.
            Place::Part(Part::Action(_)) => not_allowed("POST"),
        }
    }

    /// For a path that names nothing. Actions come with the panels, and so with the stack.
    fn unknown(&self, parts: &Parts) -> Response<OpsBody> {
        if parts.method == Method::POST && !self.hub.is_fed() {
            return unavailable("no stack feeds this page, so there is nothing to act on");
        }
        problem(StatusCode::NOT_FOUND, "no such path")
    }

    fn events(&self, parts: &Parts) -> Response<OpsBody> {
        if self.closed.load(Ordering::Acquire) {
            return unavailable("the service ends");
        }
        let body = if parts.method == Method::HEAD {
            Some(OpsBody::text(Bytes::new()))
        } else {
            OpsBody::events(&self.hub, &self.closed)
        };
        let Some(body) = body else {
            let detail = format!("{STREAMS} pages are open, which is all there may be: close one");
            return unavailable(&detail);
        };
        let mut response = with(StatusCode::OK, EVENTS, body);
        // A proxy such as nginx would otherwise collect seconds of it.
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        response
            .headers_mut()
            .insert(unbuffered, HeaderValue::from_static("no"));
        response
    }
}

fn refused(refusal: &Refusal) -> Response<OpsBody> {
    match refusal {
        Refusal::Host(host) => {
            let detail = format!(
                "`Host` cannot be `{}`: allowed is an IP address, `localhost`, or a name that the service allows \
                 (`Ops::builder(..).allow_host(..)`)",
                shown(host)
            );
            problem(StatusCode::MISDIRECTED_REQUEST, &detail)
        }
        Refusal::Site(why) => {
            let detail = format!("only the page itself may ask for this: {why}");
            problem(StatusCode::FORBIDDEN, &detail)
        }
    }
}

fn not_allowed(allowed: &'static str) -> Response<OpsBody> {
    let detail = format!("allowed is {allowed}");
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn redirect(to: &str) -> Response<OpsBody> {
    let Ok(location) = HeaderValue::from_str(to) else {
        return problem(StatusCode::NOT_FOUND, "no such path");
    };
    let mut response = with(
        StatusCode::PERMANENT_REDIRECT,
        HeaderValue::from_static(HTML),
        OpsBody::text(Bytes::new()),
    );
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

impl<B> Service<Request<B>> for OpsService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<OpsBody>;
    type Error = Infallible;
    type Future = OpsFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> OpsFuture {
        OpsFuture(self.answer(request))
    }
}

impl fmt::Debug for OpsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsService")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The answer of an [`OpsService`]: at once, but for an action.
#[must_use = "futures do nothing unless polled"]
pub struct OpsFuture(Answer);

enum Answer {
    Ready(Response<OpsBody>),
    Pending(Pin<Box<dyn Future<Output = Response<OpsBody>> + Send>>),
    Done,
}

impl Future for OpsFuture {
    type Output = Result<Response<OpsBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Answer::Pending(pending) = &mut self.0 {
            return pending.as_mut().poll(cx).map(Ok);
        }
        match std::mem::replace(&mut self.0, Answer::Done) {
            Answer::Ready(response) => Poll::Ready(Ok(response)),
            // A caller must not poll it after it was ready.
            Answer::Pending(_) | Answer::Done => Poll::Pending,
        }
    }
}

impl fmt::Debug for OpsFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsFuture").finish_non_exhaustive()
    }
}
