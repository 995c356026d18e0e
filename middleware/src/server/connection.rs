use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service;

use super::body::{RequestBody, ResponseBody};
use super::counts::{Reason, ServerCounts};
use super::link::{Limits, Link, Look};
use super::places::Place;
use super::settings::Protocol;
use super::stream::Stream;
use crate::model::Peer;

/// What a client of HTTP/2 may have open at a time.
const STREAMS: u32 = 100;
/// What is kept of an answer for a stream of HTTP/2 whose window is closed.
const SEND_BUFFER: usize = 64 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// For a client of HTTP/2 to hear that its idle connection ends.
const GOODBYE: u64 = 500;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where the server is in its life; from the end on with the moment at which it was told to end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Serving,
    /// Each connection closes with its next response, which says so.
    LastResponses(u64),
    /// Connections without a request close.
    Closing(u64),
}

impl Phase {
    fn stopped(self) -> Option<u64> {
        match self {
            Self::Serving => None,
            Self::LastResponses(at) | Self::Closing(at) => Some(at),
        }
    }
}

/// In a response: it may outlast the lifetime of its connection, as a stream of events does.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "ops"), allow(dead_code))]
pub(crate) struct Lasting;

pub(super) fn builder(protocol: Protocol) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The head's time is the link's affair: hyper's own counts neither a client that sends nothing at first nor HTTP/2.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .keep_alive(!protocol.one_request)
        .max_headers(protocol.max_headers)
        .max_buf_size(protocol.max_head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(protocol.max_head).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER);
    if protocol.one_request {
        builder = builder.http1_only();
    }
    builder
}

pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) link: Arc<Link>,
    pub(super) limits: Limits,
    pub(super) counts: Arc<ServerCounts>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Connection {
    pub(super) async fn serve<S, B>(
        self,
        builder: Arc<Builder<TokioExecutor>>,
        tcp: TcpStream,
        place: Place,
        service: S,
    ) where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self {
            peer,
            link,
            limits,
            counts,
            mut phase,
        } = self;
        let stream = Stream::new(tcp, Arc::clone(&link), limits.stall, place);
        let (answering, watched) = (phase.clone(), Arc::clone(&link));
        let service = service_fn(move |request: Request<Incoming>| {
            let (service, link, phase) = (service.clone(), Arc::clone(&watched), answering.clone());
            respond(service, link, phase, peer, request)
        });
        let mut connection =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let look = link.look(&limits, phase.borrow_and_update().stopped());
        let first = match look {
            Look::Again(at) => at,
            Look::Over(_) => link.now(),
        };
        let mut timer = pin!(tokio::time::sleep_until(link.at(first)));
        let mut said_goodbye = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                () = link.yielded() => {
                    counts.give_up(Reason::Yielded);
                    tracing::debug!("a connection that waits for its peer is closed for another");
                    return;
                }
                changed = phase.changed() => {
                    // The server keeps the other end as long as its connections.
                    if changed.is_err() {
                        return;
                    }
                    let phase = *phase.borrow_and_update();
                    let http2 = link.http2.load(Ordering::Relaxed);
                    if http2 || matches!(phase, Phase::Closing(_)) {
                        connection.as_mut().graceful_shutdown();
                    }
                    // What was sent of a head is not waited for.
                    if matches!(phase, Phase::Closing(_)) && !http2 && link.is_idle() {
                        return;
                    }
                    timer.as_mut().reset(link.at(link.now()));
                }
                () = timer.as_mut() => {
                    match link.look(&limits, phase.borrow().stopped()) {
                        Look::Again(at) => timer.as_mut().reset(link.at(at)),
                        Look::Over(Reason::Silent)
                            if link.http2.load(Ordering::Relaxed) && !said_goodbye =>
                        {
                            said_goodbye = true;
                            connection.as_mut().graceful_shutdown();
                            timer.as_mut().reset(link.at(link.now() + GOODBYE));
                        }
                        Look::Over(why) => {
                            counts.give_up(why);
                            tracing::debug!(?why, "a connection is given up");
                            return;
                        }
                    }
                }
            }
        };
        link.upgrade();
        if let Err(error) = ended {
            // A client that broke off or talked nonsense: its doing, not the operator's concern.
            tracing::debug!(%error, "connection ended early");
        }
    }
}

async fn respond<S, B>(
    mut service: S,
    link: Arc<Link>,
    phase: watch::Receiver<Phase>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody<B>>, S::Error>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
{
    let http2 = request.version() == Version::HTTP_2;
    if http2 {
        link.http2.store(true, Ordering::Relaxed);
    }
    let under_way = link.begin();
    if !has_clear_host(&request) {
        let text = "one `Host` header is needed, and one is allowed\n";
        let mut response = Response::new(ResponseBody::text(text, under_way));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        if !http2 {
            close(&mut response);
        }
        return Ok(response);
    }
    let mut request = request.map(|body| RequestBody::new(body, http2, Arc::clone(&link)));
    request.extensions_mut().insert(Peer(peer));
    poll_fn(|cx| service.poll_ready(cx)).await?;
    let response = service.call(request).await?;
    if response.extensions().get::<Lasting>().is_some() {
        link.lasting.store(true, Ordering::Relaxed);
    }
    let mut response = response.map(|body| ResponseBody::new(body, http2, under_way));
    if !http2
        && *phase.borrow() != Phase::Serving
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        close(&mut response);
    }
    Ok(response)
}

fn close<B>(response: &mut Response<B>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

/// Whether a request says once whom it asks (RFC 9112, section 3.2); a proxy in front could read another of two.
fn has_clear_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => true,
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}
