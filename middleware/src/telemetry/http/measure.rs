use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, StringValue};
use smallvec::SmallVec;

use super::attributes::{Method, Scheme, protocol_version};
use super::metrics::{ACTIVE, DURATION, key};
use crate::body::{self, Body, ObserveBody};
use crate::http::grpc::{self, Call};
use crate::model::{PolicyResult, Rejected, Route};
use crate::telemetry::instruments::Instruments;

/// The two HTTP instruments, shared by all layers of one `Telemetry`.
#[derive(Debug)]
pub(in crate::telemetry) struct HttpInstruments {
    duration: Histogram<f64>,
    active: Arc<Active>,
}

/// Requests in flight, by scheme and method.
#[derive(Debug, Default)]
struct Active {
    requests: [[AtomicI64; Method::COUNT]; Scheme::ALL.len()],
    /// Schemes that no layer serves are not exported.
    served: [AtomicBool; Scheme::ALL.len()],
}

impl Active {
    fn of(&self, method: Method, scheme: Scheme) -> &AtomicI64 {
        &self.requests[scheme as usize][method.index()]
    }
}

impl HttpInstruments {
    pub(in crate::telemetry) fn new(instruments: &Instruments) -> Self {
        let active = Arc::new(Active::default());
        let observed = Arc::clone(&active);
        instruments.up_down_counter(&ACTIVE, move |observer| {
            let served =
                |scheme: &Scheme| observed.served[*scheme as usize].load(Ordering::Relaxed);
            for scheme in Scheme::ALL.into_iter().filter(served) {
                for method in Method::all() {
                    let requests = observed.of(method, scheme).load(Ordering::Relaxed);
                    let values = [method.as_str(), scheme.as_str()];
                    observer.observe(requests, &ACTIVE.attributes(values));
                }
            }
        });
        Self {
            duration: instruments.histogram(&DURATION),
            active,
        }
    }

    /// From now on the gauge has the series of `scheme`.
    pub(super) fn serve(&self, scheme: Scheme) {
        self.active.served[scheme as usize].store(true, Ordering::Relaxed);
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The response was handed over to its end.
    Complete,
    /// The future or the response's body was dropped before its end: the client left, or a timeout outside.
    Cancelled,
    /// The service panicked.
    Panic,
    /// The service returned an error instead of a response.
    ServiceError,
    /// The response's body failed midway.
    BodyError,
}

/// One request being measured, from its arrival to whatever ends it; a part of its response's [`Body`].
///
/// It is recorded when it is dropped, so once on every path.
#[derive(Debug)]
pub struct Measure {
    instruments: Arc<HttpInstruments>,
    started: Instant,
    method: Method,
    scheme: Scheme,
    version: Version,
    route: Route,
    status: Option<StatusCode>,
    end: End,
    call: Call,
    /// Why a layer refused the request, where that is neither a limit's nor a ban's doing.
    closed: Option<&'static str>,
    /// Bytes until the length that the response announced: a server stops reading there.
    remaining: Option<u64>,
}

impl Measure {
    pub(super) fn start<B>(
        instruments: Arc<HttpInstruments>,
        scheme: Scheme,
        request: &Request<B>,
        route: Route,
    ) -> Self {
        let method = Method::of(request.method());
        let active = instruments.active.of(method, scheme);
        active.fetch_add(1, Ordering::Relaxed);
        Self {
            instruments,
            started: Instant::now(),
            method,
            scheme,
            version: request.version(),
            route,
            status: None,
            end: End::Cancelled,
            call: Call::of(request),
            closed: None,
            remaining: None,
        }
    }

    /// Runs a part of the service. Should it unwind, the request ended in a panic, wherever that is caught.
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> T {
        self.polling(true);
        let output = part();
        self.polling(false);
        output
    }

    /// The head of the response is known; returns the measurement that the body needs.
    pub(super) fn respond<B>(mut self, response: &Response<Body<B>>) -> Option<Self>
    where
        B: http_body::Body<Data = Bytes>,
    {
        self.status = Some(response.status());
        if let Some(Rejected { reason, .. }) = response.extensions().get()
            && reason.result == PolicyResult::None
        {
            self.closed = Some(reason.as_str());
        }
        let body = response.body();
        if !self.call.respond(response) {
            // A gRPC call goes on to its trailers, whatever the length.
            self.remaining =
                announced_length(response.headers()).or_else(|| body.size_hint().exact());
        }
        let is_read = self.remaining == Some(0) || body.is_end_stream();
        if is_read || self.has_no_body(response.status()) {
            ObserveBody::end(&mut self, body::End::Complete(None));
            return None;
        }
        Some(self)
    }

    pub(super) fn finish(mut self, end: End) {
        self.end = end;
    }

    /// Whether HTTP allows the response no body (RFC 9112, section 6.3): the server drops one unread.
    fn has_no_body(&self, status: StatusCode) -> bool {
        status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.method == Method::HEAD
            || (self.method == Method::CONNECT && status.is_success())
    }

    fn error_type(&self) -> Option<StringValue> {
        match self.end {
            End::Complete => match self.closed {
                Some(reason) => Some(reason.into()),
                None => {
                    let status = self.status.filter(StatusCode::is_server_error)?;
                    Some(status.as_str().to_owned().into())
                }
            },
            End::Cancelled => Some("cancelled".into()),
            End::Panic => Some("panic".into()),
            End::ServiceError => Some("service_error".into()),
            End::BodyError => Some("body_error".into()),
        }
    }

    fn record(&self) {
        let mut attributes = SmallVec::<[KeyValue; 7]>::new();
        // Pushed in sorted order: the SDK then keeps one copy of the set, not two.
        if let Some(error) = self.error_type() {
            attributes.push(KeyValue::new(key::ERROR_TYPE, error));
        }
        attributes.push(KeyValue::new(key::METHOD, self.method.as_str()));
        if let Some(status) = self.status {
            attributes.push(KeyValue::new(key::STATUS, i64::from(status.as_u16())));
        }
        attributes.push(KeyValue::new(key::ROUTE, self.route.as_str().to_owned()));
        if let Some(version) = protocol_version(self.version) {
            attributes.push(KeyValue::new(key::VERSION, version));
        }
        let otherwise = match self.end {
            End::Cancelled => grpc::CANCELLED,
            _ => grpc::UNKNOWN,
        };
        if let Some(status) = self.call.status(otherwise) {
            attributes.push(KeyValue::new(key::GRPC_STATUS, i64::from(status)));
        }
        attributes.push(KeyValue::new(key::SCHEME, self.scheme.as_str()));
        let seconds = self.started.elapsed().as_secs_f64();
        self.instruments.duration.record(seconds, &attributes);
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl ObserveBody for Measure {
    fn polling(&mut self, is_polling: bool) {
        self.end = if is_polling {
            End::Panic
        } else {
            End::Cancelled
        };
    }

    fn read(&mut self, bytes: u64) -> bool {
        self.remaining = self.remaining.map(|left| left.saturating_sub(bytes));
        self.remaining == Some(0)
    }

    fn end(&mut self, end: body::End) {
        let status;
        (self.end, status) = match end {
            body::End::Complete(status) => (End::Complete, status),
            body::End::Failed => (End::BodyError, None),
        };
        self.call.end(status);
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let active = self.instruments.active.of(self.method, self.scheme);
        active.fetch_sub(1, Ordering::Relaxed);
        self.record();
    }
}
