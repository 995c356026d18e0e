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

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use palisade::stack::{Stack, StackBuilder};
use palisade::telemetry::{HttpMetricsLayer, Telemetry};
use palisade_tests::metrics::Scrape;
use tokio::net::TcpListener;

/// Generous: what is waited for takes some milliseconds.
const SOON: Duration = Duration::from_secs(30);

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
    let start = Instant::now();
    while ended(telemetry, labels).await < count {
        assert!(start.elapsed() < SOON, "still not: {labels:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ended(telemetry, labels).await, count, "{labels:?}");
    let scrape = scrape(telemetry).await;
    assert_eq!(scrape.sum("http_server_active_requests", &[]), 0.0);
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
