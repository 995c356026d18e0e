use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use http::{StatusCode, Version};
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, StringValue};
use smallvec::SmallVec;

use super::attributes::{Method, Scheme, protocol_version};
use super::metrics::{ACTIVE, DURATION, key};
use crate::model::Route;
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

/// One request being measured, from its arrival to whatever ends it.
///
/// Recording is in `Drop`, so that each request is recorded once and released once on every path.
#[derive(Debug)]
pub(super) struct Measure {
    instruments: Arc<HttpInstruments>,
    started: Instant,
    method: Method,
    scheme: Scheme,
    version: Version,
    route: Route,
    status: Option<StatusCode>,
    end: End,
}

impl Measure {
    pub(super) fn start(
        instruments: Arc<HttpInstruments>,
        scheme: Scheme,
        method: &http::Method,
        version: Version,
        route: Route,
    ) -> Self {
        let method = Method::of(method);
        let active = instruments.active.of(method, scheme);
        active.fetch_add(1, Ordering::Relaxed);
        Self {
            instruments,
            started: Instant::now(),
            method,
            scheme,
            version,
            route,
            status: None,
            end: End::Cancelled,
        }
    }

    /// Runs a part of the service. Should it unwind, the request ended in a panic, wherever that is caught.
    pub(super) fn run<T>(&mut self, part: impl FnOnce() -> T) -> T {
        self.end = End::Panic;
        let output = part();
        self.end = End::Cancelled;
        output
    }

    /// The head of the response is known.
    pub(super) fn respond(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    pub(super) fn finish(mut self, end: End) {
        self.end = end;
    }

    /// Whether HTTP allows the response no body (RFC 9112, section 6.3): the server drops one unread.
    pub(super) fn has_no_body(&self, status: StatusCode) -> bool {
        status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.method == Method::HEAD
            || (self.method == Method::CONNECT && status.is_success())
    }

    fn error_type(&self) -> Option<StringValue> {
        match self.end {
            End::Complete => self
                .status
                .filter(StatusCode::is_server_error)
                .map(|status| status.as_str().to_owned().into()),
            End::Cancelled => Some("cancelled".into()),
            End::Panic => Some("panic".into()),
            End::ServiceError => Some("service_error".into()),
            End::BodyError => Some("body_error".into()),
        }
    }

    fn record(&self) {
        let mut attributes = SmallVec::<[KeyValue; 6]>::new();
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
        attributes.push(KeyValue::new(key::SCHEME, self.scheme.as_str()));
        let seconds = self.started.elapsed().as_secs_f64();
        self.instruments.duration.record(seconds, &attributes);
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let active = self.instruments.active.of(self.method, self.scheme);
        active.fetch_sub(1, Ordering::Relaxed);
        self.record();
    }
}
