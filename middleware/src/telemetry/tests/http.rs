use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::super::{HttpMetrics, Measure, ResponseFuture, Telemetry};
use super::exposition::{Exposition, scrape, telemetry};
use crate::body;

const COUNT: &str = "http_server_request_duration_seconds_count";
const ACTIVE: &str = "http_server_active_requests";

static_assertions::assert_impl_all!(super::super::HttpMetricsLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(HttpMetrics<()>: Send, Sync, Clone);
static_assertions::assert_impl_all!(ResponseFuture<()>: Send);
static_assertions::assert_impl_all!(body::Body<(), Measure>: Send);

/// Says what it was told to say, then waits for ever or panics.
#[derive(Default)]
struct Script {
    frames: VecDeque<Option<Result<Frame<Bytes>, &'static str>>>,
    panics: bool,
    tells_its_end: bool,
}

impl Script {
    fn data(mut self, text: &'static str) -> Self {
        self.frames.push_back(Some(Ok(Frame::data(text.into()))));
        self
    }

    fn trailers(mut self) -> Self {
        self.frames
            .push_back(Some(Ok(Frame::trailers(HeaderMap::new()))));
        self
    }

    fn error(mut self) -> Self {
        self.frames.push_back(Some(Err("disk full")));
        self
    }

    fn panic(mut self) -> Self {
        self.panics = true;
        self
    }

    /// `is_end_stream` is true after the last frame.
    fn telling_its_end(mut self) -> Self {
        self.tells_its_end = true;
        self
    }

    fn end(mut self) -> Self {
        self.frames.push_back(None);
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let frame = self.frames.pop_front();
        assert!(frame.is_some() || !self.panics, "the body's own");
        frame.map_or(Poll::Pending, Poll::Ready)
    }

    fn is_end_stream(&self) -> bool {
        self.tells_its_end && self.frames.is_empty()
    }
}

fn request(method: &str) -> Request<()> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Request::builder().method(method).body(()).unwrap()
}

/// The response to a GET of a service that always answers thus, as far as its head.
async fn respond<B: Body<Data = Bytes>>(
    telemetry: &Telemetry,
    response: Response<B>,
) -> Response<body::Body<B, Measure>> {
    respond_to(telemetry, "GET", response).await
}

async fn respond_to<B: Body<Data = Bytes>>(
    telemetry: &Telemetry,
    method: &str,
    response: Response<B>,
) -> Response<body::Body<B, Measure>> {
    let mut response = Some(response);
    let service = service_fn(move |_| ready(Ok::<_, Infallible>(response.take().unwrap())));
    let service = telemetry.http_layer().layer(service);
    service.oneshot(request(method)).await.unwrap()
}

/// The one request that ended so far, nothing being in flight any more.
fn assert_ended_once(scrape: &Exposition, labels: &[(&str, &str)]) {
    let expected = [
        ("http_request_method", "GET"),
        ("http_route", "unmatched"),
        ("network_protocol_version", "1.1"),
        ("url_scheme", "http"),
    ];
    let mut expected = [&expected, labels].concat();
    expected.sort_unstable();
    assert_eq!(scrape.labels(COUNT), [expected]);
    assert_eq!(scrape.values(COUNT, &[]), [1.0]);
    assert_none_in_flight(scrape);
}

fn assert_none_in_flight(scrape: &Exposition) {
    let active = scrape.values(ACTIVE, &[]);
    assert_eq!(active, [0.0; 11], "all methods, one scheme");
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_body_has_ended() {
    let telemetry = telemetry();
    let body = Script::default().data("hello").end();
    let mut response = respond(&telemetry, Response::new(body)).await;
    let get = [("http_request_method", "GET"), ("url_scheme", "http")];
    assert_eq!(scrape(&telemetry).await.values(ACTIVE, &get), [1.0]);

    let body = response.body_mut();
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, "hello");
    assert_eq!(scrape(&telemetry).await.values(ACTIVE, &get), [1.0]);
    assert!(body.frame().await.is_none());

    let ended = scrape(&telemetry).await;
    assert_ended_once(&ended, &[("http_response_status_code", "200")]);
    drop(response);
    assert_ended_once(
        &scrape(&telemetry).await,
        &[("http_response_status_code", "200")],
    );
}

#[tokio::test]
async fn a_future_dropped_before_its_response_is_a_cancelled_request() {
    let telemetry = telemetry();
    let wait = service_fn(|_| pending::<Result<Response<Empty<Bytes>>, Infallible>>());
    let mut service = telemetry.http_layer().layer(wait);
    let mut future = Box::pin(service.call(request("GET")));
    assert!(futures_poll(future.as_mut()).is_pending());
    assert!(scrape(&telemetry).await.values(COUNT, &[]).is_empty());
    drop(future);
    assert_ended_once(&scrape(&telemetry).await, &[("error_type", "cancelled")]);
}

#[tokio::test]
async fn a_future_that_was_never_polled_is_a_cancelled_request() {
    let telemetry = telemetry();
    let wait = service_fn(|_| pending::<Result<Response<Empty<Bytes>>, Infallible>>());
    drop(telemetry.http_layer().layer(wait).call(request("GET")));
    assert_ended_once(&scrape(&telemetry).await, &[("error_type", "cancelled")]);
}

#[tokio::test]
async fn a_body_dropped_before_its_end_is_a_cancelled_request_with_the_status_that_was_sent() {
    let telemetry = telemetry();
    let body = Script::default().data("hello").data("world").end();
    let mut response = respond(&telemetry, Response::new(body)).await;
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    assert_ended_once(
        &scrape(&telemetry).await,
        &[
            ("error_type", "cancelled"),
            ("http_response_status_code", "200"),
        ],
    );
}

#[tokio::test]
async fn a_body_dropped_after_what_the_server_reads_is_no_cancellation() {
    let announced = Response::builder()
        .header(CONTENT_LENGTH, 10)
        .body(Script::default().data("hello").data("world"))
        .unwrap();
    for (response, frames) in [
        (announced, 2),
        (Response::new(Script::default().data("hello").trailers()), 2),
        (
            Response::new(
                Script::default()
                    .data("hello")
                    .data("world")
                    .telling_its_end(),
            ),
            2,
        ),
    ] {
        let telemetry = telemetry();
        let mut response = respond(&telemetry, response).await;
        for _ in 0..frames {
            assert!(scrape(&telemetry).await.values(COUNT, &[]).is_empty());
            response.body_mut().frame().await.unwrap().unwrap();
        }
        drop(response);
        assert_ended_once(
            &scrape(&telemetry).await,
            &[("http_response_status_code", "200")],
        );
    }
}

#[tokio::test]
async fn a_body_of_known_size_ends_with_its_last_byte() {
    let telemetry = telemetry();
    let body = Full::new(Bytes::from("hello"));
    let mut response = respond(&telemetry, Response::new(body)).await;
    assert_eq!(response.body().size_hint().exact(), Some(5));
    response.body_mut().frame().await.unwrap().unwrap();
    assert!(response.body().is_end_stream());
    drop(response);
    assert_ended_once(
        &scrape(&telemetry).await,
        &[("http_response_status_code", "200")],
    );
}

#[tokio::test]
async fn a_response_without_a_body_ends_with_its_head() {
    let announced = Response::builder().header(CONTENT_LENGTH, 0);
    for response in [
        Response::new(Script::default().telling_its_end()),
        announced.body(Script::default()).unwrap(),
    ] {
        let telemetry = telemetry();
        let response = respond(&telemetry, response).await;
        let labels = [("http_response_status_code", "200")];
        assert_ended_once(&scrape(&telemetry).await, &labels);
        drop(response);
        assert_ended_once(&scrape(&telemetry).await, &labels);
    }
}

#[tokio::test]
async fn a_body_that_http_does_not_allow_is_no_cancellation_when_dropped_unread() {
    for (method, status) in [
        ("HEAD", StatusCode::OK),
        ("CONNECT", StatusCode::OK),
        ("GET", StatusCode::NO_CONTENT),
        ("GET", StatusCode::NOT_MODIFIED),
        ("GET", StatusCode::SWITCHING_PROTOCOLS),
    ] {
        let telemetry = telemetry();
        let response = Response::builder()
            .status(status)
            .body(Script::default().data("unread"))
            .unwrap();
        drop(respond_to(&telemetry, method, response).await);
        let scrape = scrape(&telemetry).await;
        let counts = scrape.labels(COUNT);
        assert_eq!(counts.len(), 1, "{method} {status}");
        assert!(!counts[0].iter().any(|(key, _)| *key == "error_type"));
        assert_none_in_flight(&scrape);
    }
}

#[tokio::test]
async fn a_body_that_fails_is_a_body_error() {
    let telemetry = telemetry();
    let body = Script::default().data("hello").error();
    let response = respond(&telemetry, Response::new(body)).await;
    assert_eq!(response.collect().await.unwrap_err(), "disk full");
    assert_ended_once(
        &scrape(&telemetry).await,
        &[
            ("error_type", "body_error"),
            ("http_response_status_code", "200"),
        ],
    );
}

#[tokio::test]
async fn an_error_of_the_service_passes_through_and_is_a_service_error() {
    let telemetry = telemetry();
    let fail = service_fn(|_| ready(Err::<Response<Empty<Bytes>>, _>("no route to host")));
    let service = telemetry.http_layer().layer(fail);
    let error = service.oneshot(request("GET")).await.unwrap_err();
    assert_eq!(error, "no route to host");
    assert_ended_once(
        &scrape(&telemetry).await,
        &[("error_type", "service_error")],
    );
}

#[tokio::test]
async fn a_5xx_status_is_its_own_error_type_and_a_4xx_is_none() {
    for (status, labels) in [("503", &[("error_type", "503")][..]), ("429", &[])] {
        let telemetry = telemetry();
        let response = Response::builder().status(status);
        let response = response.body(Empty::<Bytes>::new()).unwrap();
        respond(&telemetry, response).await;
        let labels = [labels, &[("http_response_status_code", status)]].concat();
        assert_ended_once(&scrape(&telemetry).await, &labels);
    }
}

#[tokio::test]
async fn a_panic_of_the_service_is_released_and_counted_wherever_it_is_caught() {
    let polled = service_fn(|_| async {
        if true {
            panic!("the handler's own");
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let telemetry = telemetry();
    let service = telemetry.http_layer().layer(polled);
    let task = tokio::spawn(service.oneshot(request("GET")));
    assert!(task.await.unwrap_err().is_panic());
    assert_ended_once(&scrape(&telemetry).await, &[("error_type", "panic")]);
}

#[tokio::test]
async fn a_panic_in_the_call_itself_is_released_and_counted() {
    let called = service_fn(|_: Request<()>| {
        if true {
            panic!("the handler's own");
        }
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let telemetry = telemetry();
    let service = telemetry.http_layer().layer(called);
    let task = tokio::spawn(service.oneshot(request("GET")));
    assert!(task.await.unwrap_err().is_panic());
    assert_ended_once(&scrape(&telemetry).await, &[("error_type", "panic")]);
}

#[tokio::test]
async fn a_panic_in_the_body_is_released_and_counted() {
    let telemetry = telemetry();
    let response = respond(
        &telemetry,
        Response::new(Script::default().data("hello").panic()),
    )
    .await;
    let task = tokio::spawn(response.collect());
    assert!(task.await.unwrap_err().is_panic());
    assert_ended_once(
        &scrape(&telemetry).await,
        &[
            ("error_type", "panic"),
            ("http_response_status_code", "200"),
        ],
    );
}

fn futures_poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}
