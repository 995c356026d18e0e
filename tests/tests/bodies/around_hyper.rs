//! Plain hyper: a proxy that answers with the bodies that it receives, and one that boxes them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use palisade::body::Body as Passed;
use palisade::client::Peer;
use palisade::config::Config;
use palisade::stack::Stack;
use palisade::telemetry::{HttpMetricsLayer, Measure, Telemetry};
use palisade_tests::http::Client;
use tower::{Layer, Service, ServiceBuilder, service_fn};

use super::{ended, listen, measured, trailing, until_ended};

/// Serves HTTP/1.1 and HTTP/2 on a port of its own.
async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let service = ServiceBuilder::new()
                .map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(Peer(peer));
                    request
                })
                .service(service.clone());
            tokio::spawn(async move {
                let service = TowerToHyperService::new(service);
                let connection = auto::Builder::new(TokioExecutor::new());
                let _ = connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// What is behind the proxies.
async fn backend() -> SocketAddr {
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/nothing", get(async || StatusCode::NO_CONTENT))
        .route("/trailing", get(trailing));
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

type Backend = Pool<HttpConnector, Empty<Bytes>>;

/// Asks the backend, by HTTP/2 so that it may have trailers.
async fn forward(
    pool: Backend,
    backend: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
    let asked = Request::builder()
        .method(request.method())
        .uri(format!("http://{backend}{}", request.uri().path()));
    let mut response = pool.request(asked.body(Empty::new()).unwrap()).await?;
    *response.version_mut() = http::Version::default();
    Ok(response)
}

fn pool() -> Backend {
    Pool::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

fn limited() -> (Telemetry, Stack<HttpMetricsLayer>) {
    let config = Config::from_toml("rate_limit.ip = '4/1m'").unwrap();
    measured(Stack::builder().config(config))
}

/// A client's view of a proxy, which passes four requests.
async fn assert_forwards(proxy: SocketAddr, telemetry: &Telemetry) {
    let client = Client::new(proxy);
    let whole = client.get("/", &[]).await;
    assert_eq!((whole.status.as_u16(), &*whole.body), (200, "hello"));
    assert_eq!(whole.header("content-length"), "5");
    let head = client.send(Method::HEAD, "/", &[], "").await;
    assert_eq!((head.status.as_u16(), &*head.body), (200, ""));
    assert_eq!(head.header("content-length"), "5");
    let nothing = client.get("/nothing", &[]).await;
    assert_eq!((nothing.status.as_u16(), &*nothing.body), (204, ""));

    let response = pool()
        .get(format!("http://{proxy}/trailing").parse().unwrap())
        .await
        .unwrap();
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "42");
    assert_eq!(whole.to_bytes(), "hello");

    let refused = client.get("/", &[]).await;
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.header("content-length"),
        refused.body.len().to_string()
    );
    assert_eq!(refused.json()["violated-policies"][0], "ip");
    until_ended(telemetry, 5.0, &[]).await;
    assert_eq!(ended(telemetry, &[("error_type", "cancelled")]).await, 0.0);
}

#[tokio::test]
async fn a_proxy_answers_with_the_bodies_that_it_receives() {
    let (telemetry, stack) = limited();
    let (pool, backend) = (pool(), backend().await);
    let proxy = service_fn(move |request| forward(pool.clone(), backend, request));
    let service = stack.layer(proxy);
    wraps_once(&service);
    assert_forwards(serve(service).await, &telemetry).await;
}

/// The backend's body inside of one body of ours, however many layers there are.
fn wraps_once<S>(_: &S)
where
    S: Service<Request<Incoming>, Response = Response<Passed<Incoming, Measure>>>,
{
}

#[tokio::test]
async fn a_proxy_may_box_its_bodies() {
    let (telemetry, stack) = limited();
    let (pool, backend) = (pool(), backend().await);
    let proxy = service_fn(move |request| {
        let (pool, backend) = (pool.clone(), backend);
        async move {
            let response = forward(pool, backend, request).await?;
            Ok::<Response<BoxBody<Bytes, hyper::Error>>, hyper_util::client::legacy::Error>(
                response.map(BodyExt::boxed),
            )
        }
    });
    assert_forwards(serve(stack.layer(proxy)).await, &telemetry).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_proxy_midway_has_cancelled() {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(1);
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(Body::new(channel))));
    let slow = move || {
        let body = body.lock().unwrap().take().unwrap();
        async move { body }
    };
    let (listener, backend) = listen().await;
    let app = Router::new().route("/", get(slow));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (telemetry, stack) = limited();
    let backends = pool();
    let proxy = service_fn(move |request| forward(backends.clone(), backend, request));
    let proxy = serve(stack.layer(proxy)).await;
    sender.send_data(Bytes::from("hello")).await.unwrap();
    let mut response = pool()
        .get(format!("http://{proxy}/").parse().unwrap())
        .await
        .unwrap();
    let first = response.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "hello");
    drop(response);
    until_ended(&telemetry, 1.0, &[("error_type", "cancelled")]).await;
    // The backend learns of it too.
    while sender.send_data(Bytes::from("more")).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
