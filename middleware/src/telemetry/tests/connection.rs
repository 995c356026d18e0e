//! The layer under a real hyper connection, which decides itself how far it reads a body.
use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{Layer, Service, service_fn};

use super::super::Telemetry;
use super::exposition::{Exposition, scrape, telemetry};

const COUNT: &str = "http_server_request_duration_seconds_count";

/// Says `hello`, then nothing more, and never ends.
#[derive(Default)]
struct Stalled {
    said: bool,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.said, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data("hello".into()))))
    }
}

/// Serves one connection, `client` playing its other end, until both are done.
async fn converse<S, B>(
    telemetry: &Telemetry,
    service: S,
    client: impl AsyncFnOnce(DuplexStream),
) -> Exposition
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    let (near, far) = duplex(4096);
    let service = TowerToHyperService::new(telemetry.http_layer().layer(service));
    let server = http1::Builder::new().serve_connection(TokioIo::new(far), service);
    // How the connection ended is hyper's affair: a client that leaves is an error or not.
    let (_, ()) = tokio::join!(server, client(near));
    scrape(telemetry).await
}

async fn read_until(client: &mut DuplexStream, end: &str) {
    let mut read = String::new();
    while !read.contains(end) {
        let mut buffer = [0; 1024];
        let length = client.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "closed after {read:?}");
        read.push_str(str::from_utf8(&buffer[..length]).unwrap());
    }
}

fn assert_none_in_flight(scrape: &Exposition) {
    let active = scrape.values("http_server_active_requests", &[]);
    assert_eq!(active, [0.0; 11]);
}

#[tokio::test]
async fn requests_that_hyper_answers_to_their_end_are_complete() {
    let telemetry = telemetry();
    let service = service_fn(|request: Request<Incoming>| {
        let response = Response::builder().header("x-path", request.uri().path());
        let response = match request.uri().path() {
            "/full" => response.body(Either::Left(Full::new(Bytes::from("hello")))),
            "/announced" => response
                .header("content-length", 5)
                .body(Either::Right(Either::Left(Stalled::default()))),
            "/unchanged" => response
                .status(304)
                .body(Either::Left(Full::new(Bytes::from("hello")))),
            _ => response.body(Either::Right(Either::Right(Empty::new()))),
        };
        ready(Ok::<_, Infallible>(response.unwrap()))
    });
    let scrape = converse(&telemetry, service, async |mut client| {
        for (method, path, end) in [
            ("GET", "/full", "hello"),
            ("HEAD", "/full", "\r\n\r\n"),
            ("GET", "/announced", "hello"),
            ("HEAD", "/announced", "\r\n\r\n"),
            ("GET", "/unchanged", "\r\n\r\n"),
            ("GET", "/empty", "\r\n\r\n"),
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            read_until(&mut client, end).await;
        }
    })
    .await;
    let labels = scrape.labels(COUNT);
    let errors: Vec<_> = labels
        .iter()
        .filter(|labels| labels.iter().any(|(key, _)| *key == "error_type"))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(scrape.values(COUNT, &[]).iter().sum::<f64>(), 6.0);
    assert_none_in_flight(&scrape);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_the_body_has_cancelled() {
    let telemetry = telemetry();
    let stalled = service_fn(|_: Request<Incoming>| {
        ready(Ok::<_, Infallible>(Response::new(Stalled::default())))
    });
    let scrape = converse(&telemetry, stalled, async |mut client| {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        read_until(&mut client, "hello").await;
    })
    .await;
    let cancelled = [
        ("error_type", "cancelled"),
        ("http_response_status_code", "200"),
    ];
    assert_eq!(scrape.values(COUNT, &cancelled), [1.0]);
    assert_eq!(scrape.values(COUNT, &[]), [1.0]);
    assert_none_in_flight(&scrape);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_response_has_cancelled() {
    let telemetry = telemetry();
    let (called, mut calls) = tokio::sync::mpsc::channel(1);
    let waiting = service_fn(move |_: Request<Incoming>| {
        called.try_send(()).unwrap();
        pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    });
    let scrape = converse(&telemetry, waiting, async |mut client| {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        calls.recv().await.unwrap();
    })
    .await;
    assert_eq!(scrape.values(COUNT, &[("error_type", "cancelled")]), [1.0]);
    assert_eq!(scrape.values(COUNT, &[]), [1.0]);
    assert_none_in_flight(&scrape);
}
