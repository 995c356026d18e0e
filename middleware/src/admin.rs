//! The admin listener, on a port that only operators and Prometheus reach: `telemetry.admin().serve(listener, shutdown)`.
//! [`telemetry`](crate::telemetry) has an example.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the metrics in Prometheus's text format; 404 if telemetry has no exporter of its own |
//! | `/healthz` | 200, as long as the process serves |
//! | `/readyz` | 200 or 503 with a text, as [`Admin::readiness`] says; 200 unless set |
//! | `/` | the live page, if `Admin::page` adds it (feature `ops`) |
//!
//! A failure of the listener is logged and does not end it. [`Admin`] says what bounds the connections.
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
#[cfg(feature = "ops")]
use tower_service::Service;

#[cfg(feature = "ops")]
use crate::ops::{Ops, OpsBody, OpsService};
use crate::telemetry::{Prometheus, Telemetry};

/// Connections at a time, each of which may hold one scrape's text; others wait in the listener's backlog.
const CONNECTIONS: usize = 16;
/// For the head of a request. A client that sends it byte by byte is cut off then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole connection, its answer read: three times what Prometheus waits by default (`scrape_timeout`, 10 s),
/// since scrapes queue.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// For answers under way when the server is told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Before accepting again after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
const MAX_HEADERS: usize = 64;
/// The most that is read of a request's head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

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
/// HTTP/1.1, one request a connection, at most 16 connections at a time, 5 s for a request's head and 30 s for
/// a connection as a whole. The live page's streams are beyond these: they last, and have their own bound.
#[derive(Clone)]
#[must_use = "nothing is served until `serve` is awaited"]
pub struct Admin {
    prometheus: Option<Prometheus>,
    readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    #[cfg(feature = "ops")]
    page: Option<OpsService>,
}

/// The live page's body stands beside the texts.
#[cfg(feature = "ops")]
type Body = http_body_util::Either<Full<Bytes>, OpsBody>;
#[cfg(not(feature = "ops"))]
type Body = Full<Bytes>;

/// Whether the client of a connection's event stream has stopped reading it.
type Stalled = Arc<AtomicBool>;

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
            #[cfg(feature = "ops")]
            page: None,
        }
    }

    /// Serves the [live page](crate::ops) at `/`, and its files and actions beside it.
    #[cfg(feature = "ops")]
    pub fn page(mut self, ops: &Ops) -> Self {
        self.page = Some(ops.service().at("/"));
        self
    }

    /// The answer of `/readyz`; always ready by default. Called for each such request, so it must not block.
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
        // A clone may serve another listener, whose streams end with that.
        #[cfg(feature = "ops")]
        {
            self.page = self.page.map(OpsService::apart);
        }
        let mut shutdown = pin!(shutdown);
        let (stop, stopped) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let mut accept = pin!(accept(&listener, &slots));
            let accepted = poll_fn(|cx| {
                // Reaps ended connections, so that the set stays as small as the number of slots.
                while let Poll::Ready(Some(_)) = connections.poll_join_next(cx) {}
                match shutdown.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => accept.as_mut().poll(cx).map(Some),
                }
            });
            let Some((stream, slot)) = accepted.await else {
                break;
            };
            connections.spawn(self.clone().serve_connection(stream, slot, stopped.clone()));
        }
        drop(listener);
        stop.send_replace(true);
        #[cfg(feature = "ops")]
        if let Some(page) = &self.page {
            page.close();
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(
                target: "palisade::telemetry",
                event = "admin_drain_cut",
                "admin connections were still open after the drain and are closed"
            );
        }
    }

    async fn serve_connection(
        self,
        connected: TcpStream,
        slot: OwnedSemaphorePermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        let slot = Mutex::new(Some(slot));
        let asked = AtomicBool::new(false);
        let stream = OnceLock::<Stalled>::new();
        let service = service_fn(async |request| {
            asked.store(true, Ordering::Relaxed);
            let (response, stalled) = self.answer(request).await;
            if let Some(stalled) = stalled {
                // A stream has a place of its own, so that open pages keep no scrape waiting.
                drop(slot.lock().unwrap_or_else(PoisonError::into_inner).take());
                let _ = stream.set(stalled);
            }
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .keep_alive(false)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(connected), service);
        let mut connection = pin!(connection);
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let mut too_long = pin!(tokio::time::sleep(CONNECTION_TIMEOUT));
        let mut stopping = false;
        let served = poll_fn(|cx| {
            stopping = stopping || stop.as_mut().poll(cx).is_ready();
            let served = connection.as_mut().poll(cx).map(Some);
            if served.is_ready() {
                return served;
            }
            // A client that has not asked yet is not waited for.
            if stopping && !asked.load(Ordering::Relaxed) {
                return Poll::Ready(None);
            }
            let over = match stream.get() {
                Some(stalled) => stalled.load(Ordering::Acquire),
                None => too_long.as_mut().poll(cx).is_ready(),
            };
            if over {
                tracing::debug!("admin connection took too long and is closed");
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        if let Some(Err(error)) = served.await {
            tracing::debug!(%error, "admin connection failed");
        }
    }

    /// The answer, and for a stream whether its client still reads it.
    async fn answer(&self, request: Request<Incoming>) -> (Response<Body>, Option<Stalled>) {
        #[cfg(feature = "ops")]
        if let Some(page) = &self.page
            && page.answers(request.uri().path())
        {
            // Only the page is given a request's body.
            let mut page = page.clone();
            let response = match page.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let stalled = response.body().loss();
            return (response.map(Body::Right), stalled);
        }
        let response = self.answer_text(&request).await;
        #[cfg(feature = "ops")]
        let response = response.map(Body::Left);
        (response, None)
    }

    async fn answer_text<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let known = match path {
            "/metrics" => self.prometheus.is_some(),
            "/healthz" | "/readyz" => true,
            _ => false,
        };
        if !known {
            return text(StatusCode::NOT_FOUND, "no such path");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match (path, &self.prometheus) {
            ("/metrics", Some(prometheus)) => metrics(prometheus).await,
            ("/readyz", _) => {
                let Readiness { ready, detail } = (self.readiness)();
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        // Never closed, so the error arm is never taken.
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                tracing::warn!(
                    target: "palisade::telemetry",
                    event = "admin_accept_failed",
                    %error,
                    "the admin listener could not accept a connection"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
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
