//! The layers go around any HTTP service, whatever its bodies are, and pass them unchanged.
//!
//! What is here compiles as a user would write it and speaks over real sockets, except for the outcomes of gRPC calls and
//! the property of bodies, which need bodies that end in every way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod around_axum;
mod around_hyper;
mod around_tonic;
mod outcomes;
mod script;
mod unchanged;

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::Channel;
use palisade::stack::{Stack, StackBuilder};
use palisade::telemetry::{HttpMetricsLayer, Telemetry};
use palisade_tests::metrics::Scrape;
use palisade_tests::time::until;
use tokio::net::TcpListener;

/// A stack that measures, and where its metrics are.
fn measured(builder: StackBuilder) -> (Telemetry, Stack<HttpMetricsLayer>) {
    let telemetry = Telemetry::builder("shop").build().unwrap();
    let stack = builder.build_measured(&telemetry).unwrap();
    (telemetry, stack)
}

async fn scrape(telemetry: &Telemetry) -> Scrape {
    let text = telemetry.prometheus().unwrap().scrape().await.unwrap();
    Scrape::parse(str::from_utf8(&text).unwrap())
}

/// How many requests ended with these labels.
async fn ended(telemetry: &Telemetry, labels: &[(&str, &str)]) -> f64 {
    let scrape = scrape(telemetry).await;
    scrape.sum("http_server_request_duration_seconds_count", labels)
}

/// Waits until so many requests ended with these labels, and checks that none is in flight or ended otherwise.
async fn until_ended(telemetry: &Telemetry, count: f64, labels: &[(&str, &str)]) {
    let enough = async || ended(telemetry, labels).await >= count;
    until(&format!("{count} requests ended with {labels:?}"), enough).await;
    assert_eq!(ended(telemetry, labels).await, count, "{labels:?}");
    let scrape = scrape(telemetry).await;
    assert_eq!(scrape.sum("http_server_active_requests", &[]), 0.0);
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers with a body and a trailer.
async fn trailing() -> Body {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
    sender.send_data(Bytes::from("hello")).await.unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", 42.into());
    sender.send_trailers(trailers).await.unwrap();
    Body::new(channel)
}
