//! Every way in which an exchange ends, told once.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::log::Lines;
use crate::model::{Client, Code, Notes, Reason, Rejected, Route};

/// What an observer was told, and how many exchanges are under way by its count.
#[derive(Clone, Default)]
struct Seen {
    told: Arc<Mutex<Vec<Told>>>,
    under_way: Arc<AtomicI64>,
}

type Told = (End, Option<u16>, PolicyResult, Class, String);

impl ObserveExchange for Seen {
    fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    fn observe(&self, exchange: &Exchange<'_>) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let status = exchange.status.map(|status| status.as_u16());
        let who = format!(
            "{} {} {}",
            exchange.method, exchange.client.address, exchange.client.route
        );
        let told = (exchange.end, status, exchange.result, exchange.class(), who);
        self.told.lock().unwrap().push(told);
    }
}

impl Seen {
    fn layer(&self) -> ObserveLayer {
        ObserveLayer::new(vec![Box::new(self.clone())])
    }

    /// The only exchange so far, which has ended.
    fn only(&self) -> Told {
        assert_eq!(self.under_way.load(Ordering::Relaxed), 0);
        let told = self.told.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }
}

const WHO: &str = "PUT 192.0.2.7 /things/{id}";

fn request() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::PUT;
    let mut client = Client::new([192, 0, 2, 7].into(), 64);
    client.route = Route::from("/things/{id}");
    request.extensions_mut().insert(client);
    request
}

fn response(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test]
async fn a_response_is_told_with_its_status_and_class() {
    for (status, class) in [
        (200, Class::Ok),
        (304, Class::Ok),
        (404, Class::ClientError),
        (429, Class::ClientError),
        (500, Class::ServerError),
        (503, Class::ServerError),
    ] {
        let seen = Seen::default();
        let handler = service_fn(move |_| async move { Ok::<_, ()>(response(status)) });
        let service = seen.layer().layer(handler);
        assert_eq!(
            service.oneshot(request()).await.unwrap().status().as_u16(),
            status
        );
        let expected = (
            End::Responded,
            Some(status),
            PolicyResult::None,
            class,
            WHO.to_owned(),
        );
        assert_eq!(seen.only(), expected);
    }
}

/// Of a layer that this room does not know.
const CLOSED: Reason = Reason::new(
    "closed",
    StatusCode::SERVICE_UNAVAILABLE,
    Code::Unavailable,
    ("temporary-reduced-capacity", "Closed"),
    PolicyResult::None,
);

#[tokio::test]
async fn a_refusal_is_told_with_its_reason_and_policies() {
    for (reason, noted, result) in [
        (Reason::QUOTA_EXCEEDED, None, PolicyResult::Denied),
        (
            Reason::QUOTA_EXCEEDED,
            Some(PolicyResult::FallbackDenied),
            PolicyResult::FallbackDenied,
        ),
        (
            Reason::STORE_UNAVAILABLE,
            None,
            PolicyResult::FallbackDenied,
        ),
        (Reason::BANNED, None, PolicyResult::Banned),
        (CLOSED, None, PolicyResult::None),
    ] {
        let named = Arc::new(Mutex::new(Vec::new()));
        let names = Arc::clone(&named);
        let seen = Seen::default();
        let layer = ObserveLayer::new(vec![
            Box::new(seen.clone()),
            Box::new(move |exchange: &Exchange<'_>| {
                names.lock().unwrap().extend(exchange.policies.to_vec());
                assert_eq!(exchange.reason, Some(reason));
                let verdict = if reason == CLOSED {
                    "closed"
                } else {
                    result.as_str()
                };
                assert_eq!(exchange.verdict(), verdict);
            }),
        ]);
        let service = layer.layer(service_fn(move |request: Request<()>| async move {
            if let (Some(noted), Some(notes)) = (noted, request.extensions().get::<Notes>()) {
                notes.result(noted);
            }
            // As gRPC is answered: the status says nothing.
            let mut refusal = response(200);
            let policies = [Arc::from("ip")].into_iter().collect();
            let rejected = Rejected { reason, policies };
            refusal.extensions_mut().insert(rejected);
            Ok::<_, ()>(refusal)
        }));
        service.oneshot(request()).await.unwrap();
        let (end, status, told, class, _) = seen.only();
        assert_eq!((end, status), (End::Responded, Some(200)));
        assert_eq!((told, class), (result, Class::Refused));
        assert_eq!(*named.lock().unwrap(), [Arc::from("ip")]);
    }
}

#[tokio::test]
async fn what_inner_layers_noted_is_told_even_of_a_request_that_fails() {
    let segments = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&segments);
    let seen = Seen::default();
    let layer = ObserveLayer::new(vec![
        Box::new(seen.clone()),
        Box::new(move |exchange: &Exchange<'_>| kept.lock().unwrap().push(exchange.segment)),
    ]);
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let notes = request.extensions().get::<Notes>().unwrap();
        notes.result(PolicyResult::FallbackAdmitted);
        notes.segment(crate::model::Segment::Vip);
        Err::<Response<Full<Bytes>>, _>("no route to the host")
    }));
    service.oneshot(request()).await.unwrap_err();
    let expected = (
        End::Failed,
        None,
        PolicyResult::FallbackAdmitted,
        Class::ServerError,
        WHO.to_owned(),
    );
    assert_eq!(seen.only(), expected);
    assert_eq!(
        *segments.lock().unwrap(),
        [Some(crate::model::Segment::Vip)]
    );
}

#[test]
fn a_request_that_is_dropped_before_its_head_is_told_as_cancelled() {
    for polls in [0, 1] {
        let seen = Seen::default();
        let handler = service_fn(|_| std::future::pending::<Result<Response<Full<Bytes>>, ()>>());
        let mut service = seen.layer().layer(handler);
        let mut response = Box::pin(service.call(request()));
        for _ in 0..polls {
            let polled = response
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        assert_eq!(seen.under_way.load(Ordering::Relaxed), 1);
        drop(response);
        let expected = (
            End::Cancelled,
            None,
            PolicyResult::None,
            Class::Cancelled,
            WHO.to_owned(),
        );
        assert_eq!(seen.only(), expected);
    }
}

#[tokio::test]
async fn a_panic_is_told_wherever_it_comes() {
    let expected = (
        End::Panicked,
        None,
        PolicyResult::None,
        Class::ServerError,
        WHO.to_owned(),
    );
    let seen = Seen::default();
    let handler = service_fn(
        |_: Request<()>| -> std::future::Ready<Result<Response<Full<Bytes>>, ()>> {
            panic!("in the call");
        },
    );
    let mut service = seen.layer().layer(handler);
    catch_unwind(AssertUnwindSafe(|| drop(service.call(request())))).unwrap_err();
    assert_eq!(seen.only(), expected);

    let seen = Seen::default();
    let handler = service_fn(
        async |_: Request<()>| -> Result<Response<Full<Bytes>>, ()> {
            tokio::task::yield_now().await;
            panic!("in the future");
        },
    );
    let service = seen.layer().layer(handler);
    tokio::spawn(service.oneshot(request())).await.unwrap_err();
    assert_eq!(seen.only(), expected);
}

#[tokio::test]
async fn an_observer_that_panics_harms_neither_the_request_nor_the_others() {
    struct Bad;
    impl ObserveExchange for Bad {
        fn begin(&self) {
            panic!("at the beginning");
        }
        fn observe(&self, _: &Exchange<'_>) {
            panic!("at the end");
        }
    }
    let seen = Seen::default();
    let layer = ObserveLayer::new(vec![Box::new(Bad), Box::new(seen.clone())]);
    let service = layer.layer(service_fn(async |_| Ok::<_, ()>(response(200))));
    assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(seen.only().0, End::Responded);

    // Nor the process, when it panics while the service's own panic unwinds.
    let seen = Seen::default();
    let layer = ObserveLayer::new(vec![Box::new(Bad), Box::new(seen.clone())]);
    let handler = service_fn(
        async |_: Request<()>| -> Result<Response<Full<Bytes>>, ()> {
            panic!("in the service");
        },
    );
    tokio::spawn(layer.layer(handler).oneshot(request()))
        .await
        .unwrap_err();
    assert_eq!(seen.only().0, End::Panicked);
}

#[tokio::test]
async fn a_request_without_a_client_is_told_as_nobodys() {
    let seen = Seen::default();
    let service = seen
        .layer()
        .layer(service_fn(async |_| Ok::<_, ()>(response(200))));
    service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(seen.only().4, "GET 0.0.0.0 unmatched");
}

#[tokio::test]
async fn without_observers_nothing_is_left_in_the_request() {
    let handler = service_fn(async |request: Request<()>| {
        assert!(request.extensions().get::<Notes>().is_none());
        Ok::<_, ()>(response(200))
    });
    for layer in [ObserveLayer::default(), ObserveLayer::new(Vec::new())] {
        let service = layer.layer(handler);
        assert_eq!(service.oneshot(request()).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_time_is_that_until_the_head() {
    let took = Arc::new(Mutex::new(Duration::ZERO));
    let kept = Arc::clone(&took);
    let observer = move |exchange: &Exchange<'_>| *kept.lock().unwrap() = exchange.took;
    let layer = ObserveLayer::new(vec![Box::new(observer)]);
    let service = layer.layer(service_fn(async |_| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, ()>(response(200))
    }));
    let begun = std::time::Instant::now();
    service.oneshot(request()).await.unwrap();
    let took = *took.lock().unwrap();
    assert!(took >= Duration::from_millis(20) && took <= begun.elapsed());
}

#[tokio::test]
async fn a_future_polled_after_its_end_is_not_told_again() {
    let seen = Seen::default();
    let handler = service_fn(|_| poll_fn(|_| Poll::Ready(Ok::<_, ()>(response(200)))));
    let mut service = seen.layer().layer(handler);
    let mut future = pin!(service.call(request()));
    assert!((&mut future).await.is_ok());
    assert!(future.await.is_ok());
    assert_eq!(seen.only().0, End::Responded);
}

#[tokio::test]
async fn the_access_log_has_the_status_of_a_grpc_call_and_of_no_other_request() {
    let (lines, _guard) = Lines::capture();
    let layer = ObserveLayer::new(vec![Box::new(AccessLog::new(10))]);
    let service = layer.layer(service_fn(async |_| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 5.into());
        let body = Full::<Bytes>::from("message").with_trailers(async { Some(Ok(trailers)) });
        Ok::<_, ()>(Response::new(Box::pin(body)))
    }));
    for (content_type, has_status) in [("application/grpc", true), ("text/plain", false)] {
        let mut request = request();
        *request.method_mut() = Method::POST;
        let content_type = content_type.parse().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        let response = service.clone().oneshot(request).await.unwrap();
        let at_head = lines.take();
        assert_eq!(at_head.is_empty(), has_status, "{at_head:?}");
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "5");
        let told = [at_head, lines.take()].concat();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].contains(" grpc_status=5 "), has_status, "{told:?}");
    }
}
