//! How a gRPC call ended: told once to suspicion, the metrics and the observers, on every path.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{Method, Request, Response};
use http_body::Body;
use palisade::client::Peer;
use palisade::config::Config;
use palisade::observe::{End, Exchange};
use palisade::stack::Stack;
use palisade::suspicion::IncidentKind;
use palisade::telemetry::{HttpMetricsLayer, Telemetry};
use tower::{Layer, Service, service_fn};

use super::script::{Script, Step};
use super::{ended, measured};

const GRPC: &str = "application/grpc";

type Told = Arc<Mutex<Vec<(End, Option<u8>)>>>;

/// A stack that tells what it saw of the calls.
struct Watched {
    telemetry: Telemetry,
    stack: Stack<HttpMetricsLayer>,
    told: Told,
}

impl Watched {
    /// A single failure is an incident.
    fn new() -> Self {
        let told = Told::default();
        let seen = Arc::clone(&told);
        let config = "[suspicion]\ncredential_stuffing = '1/1h'\nendpoint_scanning = '1/1h'\nabuse = '1/1h'\n";
        let builder = Stack::builder()
            .config(Config::from_toml(config).unwrap())
            .observe(move |exchange: &Exchange<'_>| {
                let told = (exchange.end, exchange.grpc_status);
                seen.lock().unwrap().push(told);
            });
        let (telemetry, stack) = measured(builder);
        Self {
            telemetry,
            stack,
            told,
        }
    }

    /// Answers a call thus, and reads the body until it ends or waits; on a thread without a runtime, where a failure is
    /// counted at once.
    fn answer(&self, content_type: &str, response: Response<Script>) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.answer_here(content_type, response));
        });
    }

    fn answer_here(&self, content_type: &str, response: Response<Script>) {
        let mut response = Some(response);
        let service =
            service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(response.take().unwrap())));
        let service = Cloned(Arc::new(Mutex::new(service)));
        let mut context = Context::from_waker(Waker::noop());
        let call = pin!(self.stack.layer(service).call(request(content_type)));
        let Poll::Ready(Ok(response)) = call.poll(&mut context) else {
            panic!("in memory nothing waits");
        };
        let mut body = response.into_body();
        // A panic is the body's own.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            while !body.is_end_stream() {
                match Pin::new(&mut body).poll_frame(&mut context) {
                    Poll::Pending => return false,
                    // As servers do, which ask no further after trailers.
                    Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => break,
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => break,
                }
            }
            true
        }));
        if ended.unwrap_or(false) {
            // Nobody waits until the body is dropped.
            assert_eq!(self.told.lock().unwrap().len(), 1);
        }
    }

    /// The only call so far: what the observers were told, and which kinds of suspicion counted it.
    fn only(&self) -> (End, Option<u8>, [u64; 3]) {
        let told = self.told.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        let (end, status) = told[0];
        let tally = self.stack.suspicion_tally();
        let kinds = [
            IncidentKind::CredentialStuffing,
            IncidentKind::EndpointScanning,
            IncidentKind::Abuse,
        ];
        (end, status, kinds.map(|kind| tally.incidents(kind)))
    }

    /// The metrics have the status that the observers were told.
    async fn assert_measured_once(&self, status: Option<u8>) {
        assert_eq!(ended(&self.telemetry, &[]).await, 1.0);
        let text = status.map(|status| status.to_string());
        let label = text
            .as_ref()
            .map(|text| [("rpc_grpc_status_code", &**text)]);
        if let Some(label) = label {
            assert_eq!(ended(&self.telemetry, &label).await, 1.0);
        } else {
            let scrape = super::scrape(&self.telemetry).await;
            let labelled = |sample: &palisade_tests::metrics::Sample| {
                sample.labels.contains_key("rpc_grpc_status_code")
            };
            assert!(!scrape.samples.iter().any(labelled));
        }
    }
}

/// The layers ask for services that clone.
struct Cloned<S>(Arc<Mutex<S>>);

impl<S> Clone for Cloned<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Service<Request<()>>> Service<Request<()>> for Cloned<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.lock().unwrap().poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> S::Future {
        self.0.lock().unwrap().call(request)
    }
}

fn request(content_type: &str) -> Request<()> {
    let request = Request::builder().method(Method::POST);
    let request = request.header("content-type", content_type);
    let mut request = request.body(()).unwrap();
    let peer = Peer(([192, 0, 2, 1], 5000).into());
    request.extensions_mut().insert(peer);
    request
}

/// A response whose head says so, or whose trailers do after a message.
fn in_head(status: &str) -> Response<Script> {
    let mut response = Response::new(Script::of([]));
    response.body_mut().tells_its_end = true;
    let status = status.parse().unwrap();
    response.headers_mut().insert("grpc-status", status);
    response
}

fn in_trailers(status: &'static str) -> Response<Script> {
    let trailers = Step::Trailers(vec![("grpc-status", status)]);
    let mut body = Script::of([Step::Data(b"message"), trailers]);
    // A known length is not the end of a call.
    body.hint = (7, Some(7));
    Response::new(body)
}

const NOTHING: [u64; 3] = [0, 0, 0];
const AS_401: [u64; 3] = [1, 0, 1];
const AS_404: [u64; 3] = [0, 1, 1];
const AS_OTHER: [u64; 3] = [0, 0, 1];

#[tokio::test]
async fn a_status_counts_alike_from_the_head_and_from_the_trailers() {
    for (status, kinds) in [
        ("0", NOTHING),
        ("1", NOTHING),
        ("2", NOTHING),
        ("3", AS_OTHER),
        ("4", NOTHING),
        ("5", AS_404),
        ("6", AS_OTHER),
        ("7", AS_OTHER),
        ("8", NOTHING),
        ("9", AS_OTHER),
        ("10", NOTHING),
        ("11", AS_OTHER),
        ("12", AS_404),
        ("13", NOTHING),
        ("14", NOTHING),
        ("15", NOTHING),
        ("16", AS_401),
    ] {
        for response in [in_head(status), in_trailers(status)] {
            let watched = Watched::new();
            watched.answer(GRPC, response);
            let code = status.parse().ok();
            assert_eq!(watched.only(), (End::Responded, code, kinds), "{status}");
            watched.assert_measured_once(code).await;
        }
    }
}

#[tokio::test]
async fn a_status_that_is_none_is_unknown() {
    for odd in ["17", "256", "five", "-1"] {
        for response in [in_head(odd), in_trailers(odd)] {
            let watched = Watched::new();
            watched.answer(GRPC, response);
            assert_eq!(watched.only(), (End::Responded, Some(2), NOTHING), "{odd}");
            watched.assert_measured_once(Some(2)).await;
        }
    }
}

#[tokio::test]
async fn a_call_whose_body_ends_otherwise_is_told_once() {
    let message = Step::Data(b"message");
    let ends = |steps: &[Step]| Script::of(steps.iter().cloned());
    let telling = Script {
        tells_its_end: true,
        ..ends(std::slice::from_ref(&message))
    };
    let empty = Script {
        tells_its_end: true,
        ..Script::default()
    };
    for (script, end, status) in [
        (ends(&[message.clone(), Step::End]), End::Responded, 2),
        (ends(&[Step::End]), End::Responded, 2),
        (ends(&[Step::Trailers(Vec::new())]), End::Responded, 2),
        (telling, End::Responded, 2),
        (empty, End::Responded, 2),
        (
            ends(&[message.clone(), Step::Error("disk full")]),
            End::Responded,
            2,
        ),
        (ends(&[message.clone(), Step::Panic]), End::Panicked, 2),
        (ends(&[message]), End::Cancelled, 1),
        (ends(&[]), End::Cancelled, 1),
    ] {
        let watched = Watched::new();
        let what = format!("{script:?}");
        watched.answer(GRPC, Response::new(script));
        assert_eq!(watched.only(), (end, Some(status), NOTHING), "{what}");
        watched.assert_measured_once(Some(status)).await;
    }
}

#[tokio::test]
async fn a_call_without_a_response_is_cancelled_or_unknown() {
    let mut context = Context::from_waker(Waker::noop());
    let cancelled = Watched::new();
    let never = service_fn(|_: Request<()>| pending::<Result<Response<Script>, Infallible>>());
    let mut call = Box::pin(cancelled.stack.layer(never).call(request(GRPC)));
    assert!(call.as_mut().poll(&mut context).is_pending());
    drop(call);
    assert_eq!(cancelled.only(), (End::Cancelled, Some(1), NOTHING));
    cancelled.assert_measured_once(Some(1)).await;

    let failed = Watched::new();
    let fails = service_fn(|_: Request<()>| ready(Err::<Response<Script>, _>("no route")));
    let call = pin!(failed.stack.layer(fails).call(request(GRPC)));
    assert!(matches!(
        call.poll(&mut context),
        Poll::Ready(Err("no route"))
    ));
    assert_eq!(failed.only(), (End::Failed, Some(2), NOTHING));
    failed.assert_measured_once(Some(2)).await;
}

#[tokio::test]
async fn a_failure_in_terms_of_http_counts_once_as_that() {
    for (status, code, kinds) in [
        (401, 16, AS_401),
        (404, 12, AS_404),
        (403, 7, AS_OTHER),
        (400, 13, AS_OTHER),
        (429, 14, NOTHING),
        (503, 14, NOTHING),
        (500, 2, NOTHING),
    ] {
        let watched = Watched::new();
        let mut response = Response::new(Script::of([Step::Data(b"no"), Step::End]));
        *response.status_mut() = status.try_into().unwrap();
        watched.answer(GRPC, response);
        assert_eq!(
            watched.only(),
            (End::Responded, Some(code), kinds),
            "{status}"
        );
        watched.assert_measured_once(Some(code)).await;
    }
}

#[tokio::test]
async fn other_requests_have_no_status_and_are_told_at_their_heads() {
    for content_type in ["text/plain", "application/json", "application/grpcx"] {
        let watched = Watched::new();
        watched.answer(content_type, in_trailers("16"));
        assert_eq!(
            watched.only(),
            (End::Responded, None, NOTHING),
            "{content_type}"
        );
        watched.assert_measured_once(None).await;
    }
}

#[tokio::test]
async fn grpc_web_is_told_by_its_head_alone() {
    for content_type in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let watched = Watched::new();
        watched.answer(content_type, in_head("16"));
        assert_eq!(watched.only(), (End::Responded, Some(16), AS_401));
        watched.assert_measured_once(Some(16)).await;

        let in_body = Script::of([Step::Data(b"\x80\0\0\0\x0fgrpc-status: 16"), Step::End]);
        let watched = Watched::new();
        watched.answer(content_type, Response::new(in_body));
        assert_eq!(watched.only(), (End::Responded, None, NOTHING));
        watched.assert_measured_once(None).await;
    }
}

#[tokio::test]
async fn a_refusal_of_ours_has_a_status_and_never_counts() {
    let config = "[rate_limit]\nip = '1/1h'\n[suspicion]\nabuse = '1/1h'\n";
    let builder = Stack::builder()
        .config(Config::from_toml(config).unwrap())
        .reject_with(|_| {
            let mut response = Response::new(bytes::Bytes::new());
            let status = 16_u16.into();
            response.headers_mut().insert("grpc-status", status);
            response
        });
    let (telemetry, stack) = measured(builder);
    let service = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(in_head("0"))));
    let mut service = stack.layer(service);
    for _ in 0..20 {
        let response = service.call(request(GRPC)).await.unwrap();
        assert!(response.body().is_end_stream());
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let tally = stack.suspicion_tally();
    assert_eq!(IncidentKind::ALL.map(|kind| tally.incidents(kind)), [0; 7]);
    assert_eq!(
        ended(&telemetry, &[("rpc_grpc_status_code", "16")]).await,
        19.0
    );
    assert_eq!(
        ended(&telemetry, &[("rpc_grpc_status_code", "0")]).await,
        1.0
    );
}
