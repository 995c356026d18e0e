//! axum: every layer alone, several by hand, the stack, and all of them among the layers of tower-http.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel, Empty};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade::client::IdentifyLayer;
use palisade::config::Config;
use palisade::funnel::{FunnelLayer, Stage};
use palisade::observe::{AccessLog, Exchange, ObserveLayer};
use palisade::rate_limit::{Policy, RateLimitLayer};
use palisade::segment::ClassifyLayer;
use palisade::stack::Stack;
use palisade::store::memory::MemoryStore;
use palisade::suspicion::{FailureResult, SuspicionLayer};
use palisade::telemetry::Telemetry;
use palisade_tests::http::Client;
use palisade_tests::time::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use super::{ended, listen, measured, trailing, until_ended};

async fn serve(app: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

fn app() -> Router {
    let long = "hello, ".repeat(100);
    Router::new()
        .route("/", get(async || "hello"))
        .route("/long", get(async move || long))
        .route("/nothing", get(async || StatusCode::NO_CONTENT))
        .route("/missing", get(async || StatusCode::NOT_FOUND))
        .route(
            "/panic",
            get(async || -> &'static str { panic!("the handler's own") }),
        )
        .route("/slow", get(std::future::pending::<&'static str>))
}

fn one_a_minute() -> RateLimitLayer {
    let policy = Policy::ip().quota("1/1m".parse().unwrap());
    let layer = RateLimitLayer::embedded(MemoryStore::new()).policy(policy);
    layer.build().unwrap()
}

fn suspicion() -> SuspicionLayer {
    SuspicionLayer::embedded(MemoryStore::new())
        .build()
        .unwrap()
}

fn funnel() -> FunnelLayer {
    let stage = Stage::new("greeted").on(Method::GET, "/");
    FunnelLayer::builder().stage(stage).build().unwrap()
}

#[tokio::test]
async fn each_layer_goes_around_a_router_alone() {
    let telemetry = Telemetry::builder("shop").build().unwrap();
    let segments = ClassifyLayer::builder(MemoryStore::new()).build().unwrap();
    let observe = ObserveLayer::new(vec![Box::new(AccessLog::new(10))]);
    for (name, app) in [
        (
            "client",
            app().layer(IdentifyLayer::builder().build().unwrap()),
        ),
        ("observe", app().layer(observe)),
        ("suspicion", app().layer(suspicion())),
        ("rate limit", app().layer(one_a_minute())),
        ("segment", app().layer(segments)),
        ("funnel", app().layer(funnel())),
        ("telemetry", app().layer(telemetry.http_layer())),
    ] {
        let client = Client::new(serve(app).await);
        let reply = client.get("/", &[]).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (200, "hello"),
            "{name}"
        );
        assert_eq!(reply.header("content-length"), "5", "{name}");
        if name == "rate limit" {
            assert_eq!(client.get("/", &[]).await.status, 429);
        }
    }
}

#[tokio::test]
async fn layers_that_are_put_together_by_hand_do_what_a_stack_does() {
    let telemetry = Telemetry::builder("shop").build().unwrap();
    let (suspicion, funnel) = (suspicion(), funnel());
    let (failures, stages) = (suspicion.tally(), funnel.tally());
    let policy = Policy::ip().quota("2/1m".parse().unwrap());
    let limit = RateLimitLayer::embedded(MemoryStore::new()).policy(policy);
    let layers = ServiceBuilder::new()
        .layer(telemetry.http_layer())
        .layer(IdentifyLayer::builder().build().unwrap())
        .layer(ObserveLayer::new(vec![Box::new(|_: &Exchange<'_>| {})]))
        .layer(suspicion)
        .layer(limit.build().unwrap())
        .layer(ClassifyLayer::builder(MemoryStore::new()).build().unwrap())
        .layer(funnel);
    let client = Client::new(serve(app().layer(layers)).await);
    assert_eq!(client.get("/", &[]).await.body, "hello");
    assert_eq!(client.get("/missing", &[]).await.status, 404);
    let refused = client.get("/", &[]).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["status"], 429);
    assert_eq!(stages.counts().map(|stage| stage.count).sum::<u64>(), 1);
    let counted = async || failures.failures(FailureResult::Counted) >= 1;
    until("the failure is counted", counted).await;
    until_ended(&telemetry, 3.0, &[]).await;
    assert_eq!(
        ended(&telemetry, &[("http_response_status_code", "429")]).await,
        1.0
    );
}

#[tokio::test]
async fn the_stack_goes_inside_and_outside_of_the_layers_of_tower_http() {
    let limits = || {
        let config = "[rate_limit.policies.missing]\nkey = 'ip'\nquota = '1/1m'\nroutes = ['GET /missing']\n";
        Stack::builder().config(Config::from_toml(config).unwrap())
    };
    // No busy machine reaches it, and paused time does at once.
    let minute = Duration::from_secs(60);
    let timeout = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, minute);
    let plain = || limits().build().unwrap();

    let (outer, measured_outside) = measured(limits());
    let outside = ServiceBuilder::new()
        .layer(measured_outside)
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(CompressionLayer::new())
        .layer(timeout())
        .layer(CatchPanicLayer::new());
    let (inner, measured_inside) = measured(limits());
    let inside = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(timeout())
        .layer(measured_inside);
    // A stack directly inside of each layer, and directly outside of it.
    let between = ServiceBuilder::new()
        .layer(CorsLayer::permissive())
        .layer(plain())
        .layer(CatchPanicLayer::new())
        .layer(plain())
        .layer(CompressionLayer::new())
        .layer(plain())
        .layer(timeout())
        .layer(plain())
        .layer(TraceLayer::new_for_http())
        .layer(plain());
    for (name, app) in [
        ("outside", app().layer(outside)),
        ("inside", app().layer(inside)),
        ("between", app().layer(between)),
    ] {
        let address = serve(app).await;
        let client = Client::new(address);
        let reply = client.get("/", &[("origin", "http://a.example")]).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (200, "hello"),
            "{name}"
        );
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{name}");
        assert!(reply.header("ratelimit").contains("\"ip\""), "{name}");
        assert_eq!(client.get("/panic", &[]).await.status, 500, "{name}");
        tokio::time::pause();
        assert_eq!(client.get("/slow", &[]).await.status, 504, "{name}");
        tokio::time::resume();
        assert_eq!(client.get("/missing", &[]).await.status, 404, "{name}");
        let refused = client.get("/missing", &[]).await;
        assert_eq!(refused.status, 429, "{name}");
        assert_eq!(refused.json()["violated-policies"][0], "missing", "{name}");
        assert_eq!(encoding(address).await, "gzip", "{name}");
    }
    // Outermost, the metrics see what tower-http answered; innermost, what its timeout and the panic did to the service.
    assert_eq!(ended(&outer, &[("error_type", "500")]).await, 1.0);
    assert_eq!(ended(&outer, &[("error_type", "504")]).await, 1.0);
    assert_eq!(ended(&inner, &[("error_type", "panic")]).await, 1.0);
    assert_eq!(ended(&inner, &[("error_type", "cancelled")]).await, 1.0);
}

/// How a long answer is encoded, and that it is shorter for it.
async fn encoding(address: SocketAddr) -> String {
    let pool = Pool::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::get(format!("http://{address}/long"));
    let request = request.header("accept-encoding", "gzip");
    let response = pool
        .request(request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let encoding = response.headers()["content-encoding"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!((1..700).contains(&body.len()), "{}", body.len());
    encoding
}

#[tokio::test]
async fn heads_and_empty_answers_have_no_body_and_end_at_once() {
    let (telemetry, stack) = measured(Stack::builder());
    let client = Client::new(serve(app().layer(stack)).await);
    let head = client.send(Method::HEAD, "/", &[], "").await;
    assert_eq!((head.status.as_u16(), &*head.body), (200, ""));
    assert_eq!(head.header("content-length"), "5");
    let nothing = client.get("/nothing", &[]).await;
    assert_eq!((nothing.status.as_u16(), &*nothing.body), (204, ""));
    assert_eq!(nothing.header("content-length"), "");
    until_ended(&telemetry, 2.0, &[]).await;
    let cancelled = [("error_type", "cancelled")];
    assert_eq!(ended(&telemetry, &cancelled).await, 0.0);
}

/// A handler's body that the test writes.
fn written<E: Into<axum::BoxError> + Send + 'static>(channel: Channel<Bytes, E>) -> Response<Body> {
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::new(channel))
        .unwrap()
}

/// A stack around one answer, and a connection that asked for it over HTTP/1.1 and read its head.
async fn asked(body: Response<Body>) -> (Telemetry, TcpStream) {
    let (telemetry, stack) = measured(Stack::builder());
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let handler = move || {
        let body = body.lock().unwrap().take().unwrap();
        async move { body }
    };
    let address = serve(Router::new().route("/", get(handler)).layer(stack)).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    connection.write_all(request).await.unwrap();
    read_until(&mut connection, "\r\n\r\n").await;
    (telemetry, connection)
}

async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        let mut buffer = [0; 1024];
        let length = connection.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "closed after {read:?}");
        read.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn server_sent_events_arrive_while_the_stream_goes_on() {
    let (mut events, channel) = Channel::<Bytes, Infallible>::new(1);
    let (telemetry, mut connection) = asked(written(channel)).await;
    for event in ["data: one\n\n", "data: two\n\n"] {
        events.send_data(Bytes::from(event)).await.unwrap();
        read_until(&mut connection, event).await;
    }
    assert_eq!(ended(&telemetry, &[]).await, 0.0);
    drop(events);
    read_until(&mut connection, "0\r\n\r\n").await;
    until_ended(&telemetry, 1.0, &[]).await;
    assert_eq!(ended(&telemetry, &[("error_type", "cancelled")]).await, 0.0);
}

#[tokio::test]
async fn a_client_that_leaves_midway_ends_the_body_inside() {
    let (mut events, channel) = Channel::<Bytes, Infallible>::new(1);
    let (telemetry, mut connection) = asked(written(channel)).await;
    events
        .send_data(Bytes::from("data: one\n\n"))
        .await
        .unwrap();
    read_until(&mut connection, "one").await;
    drop(connection);
    until_ended(&telemetry, 1.0, &[("error_type", "cancelled")]).await;
    assert!(events.send_data(Bytes::new()).await.is_err());
}

#[tokio::test]
async fn a_body_that_fails_breaks_the_connection_as_it_would_alone() {
    let (mut events, channel) = Channel::<Bytes, io::Error>::new(1);
    let (telemetry, mut connection) = asked(written(channel)).await;
    events
        .send_data(Bytes::from("data: one\n\n"))
        .await
        .unwrap();
    read_until(&mut connection, "one").await;
    events.abort(io::Error::other("disk full"));
    let mut rest = String::new();
    let _ = connection.read_to_string(&mut rest).await;
    assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
    until_ended(&telemetry, 1.0, &[("error_type", "body_error")]).await;
}

#[tokio::test]
async fn an_upgraded_connection_is_the_handlers_own() {
    let (telemetry, stack) = measured(Stack::builder());
    let closed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&closed);
    // What a WebSocket does, without its frames: 101, and then both speak as they like.
    let handler = move |mut request: Request<Body>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut connection = TokioIo::new(upgrade.await.unwrap());
            let mut heard = [0; 4];
            connection.read_exact(&mut heard).await.unwrap();
            heard.reverse();
            connection.write_all(&heard).await.unwrap();
            told.store(true, Ordering::Relaxed);
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .body(Body::empty())
            .unwrap()
    };
    let address = serve(Router::new().route("/", get(handler)).layer(stack)).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let head = read_until(&mut connection, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("ratelimit: "), "{head}");
    connection.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut connection, "gnip").await, "gnip");
    assert!(closed.load(Ordering::Relaxed));
    until_ended(&telemetry, 1.0, &[("http_response_status_code", "101")]).await;
}

#[tokio::test]
async fn http_2_without_tls_is_served_with_its_trailers() {
    let (telemetry, stack) = measured(Stack::builder());
    let address = serve(Router::new().route("/", get(trailing)).layer(stack)).await;
    let pool = Pool::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let response = pool
        .get(format!("http://{address}/").parse().unwrap())
        .await
        .unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "42");
    assert_eq!(whole.to_bytes(), "hello");
    let h2 = [("network_protocol_version", "2")];
    until_ended(&telemetry, 1.0, &h2).await;
    assert_eq!(ended(&telemetry, &[("error_type", "cancelled")]).await, 0.0);
}
