//! Clients that leave, and a service that is told to.

use std::io::{Read, Write};
use std::net::TcpStream;

use palisade_tests::SOON;
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::{PATIENT, Webstore};

fn active(scrape: &Scrape) -> f64 {
    scrape.sum("http_server_active_requests", &[])
}

fn finished(scrape: &Scrape) -> f64 {
    scrape.sum("http_server_request_duration_seconds_count", &[])
}

/// Opens connections that each send these bytes, and waits until so many requests are in flight.
async fn in_flight(webstore: &Webstore, connections: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let open = || {
        let mut stream = TcpStream::connect(&webstore.shop).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let streams = (0..connections).map(|_| open()).collect();
    let wanted = format!("{connections} requests are active");
    webstore
        .scrape_until(&wanted, SOON, |scrape| active(scrape) == connections as f64)
        .await;
    streams
}

/// Waits until no request is active and exactly so many have been measured.
async fn all_ended(webstore: &Webstore, requests: usize) {
    // A scrape reads the two one after the other, and a request may end in between.
    let scrape = webstore
        .scrape_until("all have ended and are measured", SOON, |scrape| {
            active(scrape) == 0.0 && finished(scrape) >= requests as f64
        })
        .await;
    assert_eq!(finished(&scrape), requests as f64);
}

#[tokio::test]
async fn clients_that_leave_before_their_body_is_whole_leak_nothing() {
    let webstore = Webstore::start(None, "");
    let part = b"POST /us/cart HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let streams = in_flight(&webstore, 50, part).await;
    for (n, stream) in streams.into_iter().enumerate() {
        if n % 2 == 0 {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
    all_ended(&webstore, 50).await;
    assert_eq!(webstore.client().get("/us/products", &[]).await.status, 200);
    all_ended(&webstore, 51).await;
}

#[tokio::test]
async fn clients_that_leave_while_redis_is_awaited_leak_nothing() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), PATIENT);
    // Without one before, they would wait for a connection, which has its own time limit.
    assert_eq!(webstore.client().get("/us/products", &[]).await.status, 200);
    redis.pause();
    let request = b"GET /us/products HTTP/1.1\r\nhost: a\r\n\r\n";
    drop(in_flight(&webstore, 50, request).await);
    // Redis is still paused: that they left ended them, and no answer.
    all_ended(&webstore, 51).await;
    redis.resume();
    assert_eq!(webstore.client().get("/us/products", &[]).await.status, 200);
    all_ended(&webstore, 52).await;
}

#[tokio::test]
async fn sigterm_lets_a_request_in_flight_finish_and_exits_0() {
    let mut webstore = Webstore::start(None, "");
    let body = br#"{"product_id": 1, "quantity": 2}"#;
    let mut stream = TcpStream::connect(&webstore.shop).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head = format!(
        "POST /us/cart HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..10]).unwrap();
    // In flight once it is counted.
    webstore
        .scrape_until("the request is active", SOON, |scrape| {
            active(scrape) == 1.0
        })
        .await;
    webstore.signal("TERM");
    // New connections are refused once it drains, and the old request still finishes.
    let closed = async || TcpStream::connect(&webstore.shop).is_err();
    until("it accepts no connections", closed).await;
    stream.write_all(&body[10..]).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 20"), "{reply}");
    let status = webstore.wait(SOON);
    assert_eq!(status.code(), Some(0));
}
