//! The admin listener, on a port that only operators and Prometheus reach: `telemetry.admin().serve(listener, shutdown)`.
//! [`telemetry`](crate::telemetry) has an example.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the metrics in Prometheus's text format; 404 if telemetry has no exporter of its own |
//! | `/healthz` | 200, as long as the process serves |
//! | `/readyz` | 200 or 503 with a text, as [`Admin::readiness`] says; 200 unless set |
//! | `/sessions`, `/sessions/{user}/…` | the sessions of any user, for operators with a token, if `Admin::sessions` adds it (feature `session-api`) |
//! | `/` | the live page, if `Admin::page` adds it (feature `ops`) |
//!
//! All of these are answered under an IP address, `localhost`, or a name that was allowed ([`Admin::allow_host`], and of the page
//! `OpsBuilder::allow_host`); any other `Host` is 421, so that no web site can read them through a browser that visits it (DNS
//! rebinding). A program that sends no `Host` at all (HTTP/1.0) is answered the texts.
//!
//! It is a [`Server`]: a failure of the listener is logged and does not end it. [`Admin`] says what bounds the connections.
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;
use tower_service::Service;

use crate::ConfigError;
use crate::http::hosts::Hosts;
#[cfg(feature = "ops")]
use crate::ops::{Ops, OpsBody, OpsService};
#[cfg(feature = "ops")]
use crate::server::Lasting;
use crate::server::{RequestBody, Server};
#[cfg(feature = "session-api")]
use crate::session::{Sessions, api::Operators};
use crate::task::shielded;
use crate::telemetry::{Prometheus, Telemetry};

/// Connections at a time, each of which may hold one scrape's text, beside the page's eight streams.
const CONNECTIONS: usize = 16 + 8;
/// For the head of a request. A client that sends it byte by byte is cut off then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole connection, its answer read: three times what Prometheus waits by default (`scrape_timeout`, 10 s),
/// since scrapes queue.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// For answers under way when the server is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";

/// Whether the service can take requests, and why not: the answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// 200 if true, else 503.
    pub ready: bool,
    /// Short plain text for the operator, the body of the answer.
    pub detail: Cow<'static, str>,
}

impl Readiness {
    /// The service takes requests.
    #[must_use]
    pub fn ready() -> Self {
        Self {
            ready: true,
            detail: "ready".into(),
        }
    }

    /// The service should get no requests now, and why.
    #[must_use]
    pub fn not_ready(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            ready: false,
            detail: detail.into(),
        }
    }
}

/// Serves GET and HEAD of `/metrics`, `/healthz` and `/readyz` on a listener that only operators should reach.
///
/// HTTP/1.1, one request a connection, at most 24 connections at a time, 5 s for a request's head and 30 s for
/// a connection as a whole. The live page's eight streams last as long as they are read. Where all places are taken, a
/// connection that waits for its peer is closed for the next.
#[derive(Clone)]
#[must_use = "nothing is served until `serve` is awaited"]
pub struct Admin {
    prometheus: Option<Prometheus>,
    readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    hosts: Hosts,
    #[cfg(feature = "ops")]
    page: Option<OpsService>,
    #[cfg(feature = "session-api")]
    operators: Option<Operators>,
}

/// The live page's body stands beside the texts.
#[cfg(feature = "ops")]
type Body = http_body_util::Either<Full<Bytes>, OpsBody>;
#[cfg(not(feature = "ops"))]
type Body = Full<Bytes>;

impl Telemetry {
    /// The admin server. Without an exporter its `/metrics` is 404.
    pub fn admin(&self) -> Admin {
        Admin::new(self.prometheus().cloned())
    }
}

impl Admin {
    fn new(prometheus: Option<Prometheus>) -> Self {
        Self {
            prometheus,
            readiness: Arc::new(Readiness::ready),
            hosts: Hosts::default(),
            #[cfg(feature = "ops")]
            page: None,
            #[cfg(feature = "session-api")]
            operators: None,
        }
    }

    /// A name under which the listener is asked, beside IP addresses and `localhost`, without a port: `webstore` where Prometheus
    /// scrapes `webstore:9464`. The page answers to it too.
    ///
    /// # Errors
    /// No name of 1 to 253 characters of `a-z0-9-_` between dots.
    pub fn allow_host(mut self, name: &str) -> Result<Self, ConfigError> {
        self.hosts.add("admin.hosts", name)?;
        Ok(self)
    }

    /// Serves the [live page](crate::ops) at `/`, and its files and actions beside it. The listener answers to the page's
    /// names too.
    #[cfg(feature = "ops")]
    pub fn page(mut self, ops: &Ops) -> Self {
        self.page = Some(ops.service().at("/"));
        self
    }

    /// Serves the calls by which operators see and end sessions, if `sessions.operator_token_file` is set. They need
    /// `Authorization: Bearer` with the token in that file:
    ///
    /// | call | answer |
    /// |---|---|
    /// | `GET /sessions?user=ada` | the user's sessions that live, as the user's own list shows them |
    /// | `DELETE /sessions/{user}/{session_id}` | 204; 404 where no such session lives |
    /// | `POST /sessions/{user}/terminate-all` `{"reason": "…"}` | `{"terminated": 3}` |
    ///
    /// A user is named by its id, percent-encoded, or by the form of it in logs and keys.
    #[cfg(feature = "session-api")]
    pub fn sessions(mut self, sessions: &Sessions) -> Self {
        self.operators = Operators::new(sessions);
        self
    }

    /// The answer of `/readyz`; always ready by default. Called for each such request, so it must not block;
    /// if it panics, the answer is 503.
    pub fn readiness(mut self, check: impl Fn() -> Readiness + Send + Sync + 'static) -> Self {
        self.readiness = Arc::new(check);
        self
    }

    /// Serves until `shutdown` is ready, then finishes the answers under way, 5 s at most.
    ///
    /// Dropping the future closes everything at once. Failures of the listener are logged, not returned: they
    /// pass, as too many open files do.
    pub async fn serve(
        #[cfg_attr(not(feature = "ops"), allow(unused_mut))] mut self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) {
        #[cfg(feature = "ops")]
        if let Some(page) = self.page.take() {
            // A clone may serve another listener, whose streams end with that.
            let mut page = page.apart();
            self.hosts.extend(page.hosts());
            *page.hosts() = self.hosts.clone();
            self.page = Some(page);
        }
        #[cfg(feature = "ops")]
        let page = self.page.clone();
        let stop = async {
            shutdown.await;
            #[cfg(feature = "ops")]
            if let Some(page) = &page {
                page.close();
            }
        };
        let server = Server::for_operators(CONNECTIONS, HEAD_TIMEOUT, CONNECTION_TIMEOUT);
        let service = Answering(Arc::new(self));
        if server.drain(DRAIN).serve(listener, service, stop).await.cut > 0 {
            tracing::warn!(
                target: "palisade::telemetry",
                event = "admin_drain_cut",
                "admin connections were still open after the drain and are closed"
            );
        }
    }

    async fn answer(&self, request: Request<RequestBody>) -> Response<Body> {
        #[cfg(feature = "ops")]
        if let Some(page) = &self.page
            && page.answers(request.uri().path())
        {
            // Only the page is given a request's body.
            let mut page = page.clone();
            let mut response = match page.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if response.body().is_stream() {
                response.extensions_mut().insert(Lasting);
            }
            return response.map(Body::Right);
        }
        #[cfg(feature = "session-api")]
        if let Some(operators) = &self.operators
            && Operators::answers(request.uri().path())
        {
            let (parts, body) = request.into_parts();
            if let Some(response) = self.misdirected(&parts) {
                return beside(response);
            }
            let response = operators.answer(Request::from_parts(parts, body)).await;
            return beside(response.map(Full::new));
        }
        let response = self.answer_text(&request.into_parts().0).await;
        beside(response)
    }

    /// The answer to a request under a name that is not allowed.
    fn misdirected(&self, request: &Parts) -> Option<Response<Full<Bytes>>> {
        let host = self.hosts.asked(request).err()?;
        let is_named = request.headers.contains_key(HOST) || !host.is_empty();
        is_named.then(|| {
            text(
                StatusCode::MISDIRECTED_REQUEST,
                "`Host` may be an IP address, `localhost`, or a name that the service allows (`Admin::allow_host`)",
            )
        })
    }

    async fn answer_text(&self, request: &Parts) -> Response<Full<Bytes>> {
        if let Some(response) = self.misdirected(request) {
            return response;
        }
        let path = request.uri.path();
        let known = match path {
            "/metrics" => self.prometheus.is_some(),
            "/healthz" | "/readyz" => true,
            _ => false,
        };
        if !known {
            return text(StatusCode::NOT_FOUND, "no such path");
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match (path, &self.prometheus) {
            ("/metrics", Some(prometheus)) => metrics(prometheus).await,
            ("/readyz", _) => {
                let said = shielded("readiness", || (self.readiness)());
                let Readiness { ready, detail } =
                    said.unwrap_or_else(|| Readiness::not_ready("the readiness check panicked"));
                let status = if ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                text(
                    status,
                    match detail {
                        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
                        Cow::Owned(text) => text.into(),
                    },
                )
            }
            _ => text(StatusCode::OK, "ok"),
        }
    }
}

/// A text, where the live page's bodies may stand beside it.
fn beside(response: Response<Full<Bytes>>) -> Response<Body> {
    #[cfg(feature = "ops")]
    let response = response.map(Body::Left);
    response
}

/// The listener's answers as a service.
#[derive(Clone)]
struct Answering(Arc<Admin>);

impl Service<Request<RequestBody>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let admin = Arc::clone(&self.0);
        Box::pin(async move { Ok(admin.answer(request).await) })
    }
}

async fn metrics(prometheus: &Prometheus) -> Response<Full<Bytes>> {
    match prometheus.scrape().await {
        Ok(body) => answer(StatusCode::OK, Prometheus::CONTENT_TYPE, body),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(
                target: "palisade::telemetry",
                event = "metrics_failed",
                %error,
                cause,
                "/metrics failed"
            );
            text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    answer(status, TEXT, body.into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("prometheus", &self.prometheus)
            .finish_non_exhaustive()
    }
}
