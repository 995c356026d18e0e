//! Clients that leave, and a service that is told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::Webstore;

#[tokio::test]
async fn clients_that_disconnect_mid_request_leak_nothing() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), "[rate_limit]\nip = '1000000/1m'\n");
    // Half of them leave while their body is awaited, half while a hung Redis is.
    for n in 0..50 {
        let mut stream = TcpStream::connect(&webstore.shop).unwrap();
        stream.write_all(b"POST /us/cart HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{").unwrap();
        if n % 2 == 0 {
            drop(stream);
        } else {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
    redis.pause();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&webstore.shop).unwrap();
        stream
            .write_all(b"GET /us/products HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        drop(stream);
    }
    redis.resume();
    let start = Instant::now();
    loop {
        let scrape = webstore.scrape().await;
        let active = scrape.sum("http_server_active_requests", &[]);
        let finished = scrape.sum("http_server_request_duration_seconds_count", &[]);
        if active == 0.0 && finished > 0.0 {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{active} requests are active after 10 s"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(webstore.client().get("/us/products", &[]).await.status, 200);
}

#[tokio::test]
async fn sigterm_lets_a_request_in_flight_finish_and_exits_0() {
    let mut webstore = Webstore::start(None, "");
    let body = br#"{"product_id": 1, "quantity": 2}"#;
    let mut stream = TcpStream::connect(&webstore.shop).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let head = format!(
        "POST /us/cart HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..10]).unwrap();
    // In flight once it is counted.
    let start = Instant::now();
    while webstore
        .scrape()
        .await
        .sum("http_server_active_requests", &[])
        == 0.0
    {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the request never became active"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    webstore.signal("TERM");
    // New connections are refused once it drains, and the old request still finishes.
    let start = Instant::now();
    while TcpStream::connect(&webstore.shop).is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it still accepts connections"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(&body[10..]).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 20"), "{reply}");
    let status = webstore.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
}
