use std::net::Ipv4Addr;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::{fmt, mem};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use super::decide::{Answer, Conclusion, Decider};
use super::future::{Asked, ResponseFuture};
use super::preflight::Prepared;
use crate::body::Body;
use crate::model::{Client, MatchedRoute, Notes, ResolveRoute};

/// A service behind rate limits; see [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone)]
pub struct RateLimit<S> {
    inner: S,
    decider: Arc<Decider>,
}

impl<S> RateLimit<S> {
    pub(super) fn new(inner: S, decider: Arc<Decider>) -> Self {
        Self { inner, decider }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for RateLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>> + Clone,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture<S, ReqBody> {
        let (mut parts, body) = request.into_parts();
        let answer = match parts.extensions.remove::<Prepared>() {
            Some(Prepared(concluded)) => concluded.map_or(Answer::Free, Answer::Concluded),
            None => match parts.extensions.get::<Client>() {
                Some(client) => self.decider.ask(None, &parts, client),
                None => self.decider.ask(None, &parts, &unidentified(&parts)),
            },
        };
        match answer {
            Answer::Free => {
                ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)), None)
            }
            Answer::Concluded(concluded) => self.carry_out(concluded, parts, body),
            Answer::Answered { result, met, sent } => {
                let concluded = self.decider.decide_by(&met, sent, result);
                self.carry_out(concluded, parts, body)
            }
            Answer::Asked { pending, met, sent } => {
                // The service that was polled ready goes with the request; a clone waits for the next.
                let next = self.inner.clone();
                let ready = mem::replace(&mut self.inner, next);
                let request = Request::from_parts(parts, body);
                ResponseFuture::asked(Asked {
                    pending,
                    met,
                    sent,
                    service: ready,
                    request,
                    decider: Arc::clone(&self.decider),
                })
            }
        }
    }
}

impl<S> RateLimit<S> {
    fn carry_out<ReqBody, B>(
        &mut self,
        concluded: Conclusion,
        mut parts: Parts,
        body: ReqBody,
    ) -> ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>, Response = Response<Body<B>>> + Clone,
    {
        if let Some(notes) = parts.extensions.get::<Notes>() {
            notes.result(concluded.result());
        }
        match concluded {
            Conclusion::Pass {
                headers, decision, ..
            } => {
                parts.extensions.insert(decision);
                ResponseFuture::inner(
                    self.inner.call(Request::from_parts(parts, body)),
                    Some(headers),
                )
            }
            Conclusion::Refuse(refusal) => {
                // A reservation that the inner service made in `poll_ready` goes with the service that is dropped.
                self.inner = self.inner.clone();
                ResponseFuture::refused(self.decider.respond(refusal, &parts).map(Body::refusal))
            }
        }
    }
}

/// Without a client layer all requests are one client's: limited together, rather than not at all.
#[cold]
fn unidentified(request: &Parts) -> Client {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            target: "palisade::rate_limit",
            event = "rate_limit_without_client",
            "rate limits found no `Client` in the request's extensions, so all requests count as one client; add \
             `IdentifyLayer` outside of `RateLimitLayer`"
        );
    });
    let mut client = Client::new(Ipv4Addr::UNSPECIFIED.into(), 64);
    if let Some(route) = MatchedRoute.resolve(&request.method, &request.uri, &request.extensions) {
        client.route = route;
    }
    client
}

impl<S: fmt::Debug> fmt::Debug for RateLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
