//! The user's stream of server-sent events, over real HTTP, on every store.

use std::time::{Duration, Instant};

use palisade_tests::SOON;
use palisade_tests::time::until;
use palisade_tests::webstore::Webstore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::refused::is_problem;
use super::{CURRENT, NO_SUSPICION, WIDE, ask, end, log_in, on_both_stores, status};

const EVENTS: &str = "/api/v1/users/me/sessions/events";

/// The user's own stream, once it has begun, and what it began with.
pub(super) async fn open(webstore: &Webstore, token: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(&webstore.shop).await.unwrap();
    let request = format!(
        "GET {EVENTS} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let read = read_until(&mut stream, "\r\n\r\n").await;
    (stream, read)
}

pub(super) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut part = [0; 4_096];
        let many = tokio::time::timeout(SOON, stream.read(&mut part)).await;
        let many = many.expect(text).unwrap();
        assert!(many > 0, "closed before {text:?}: {read}");
        read.push_str(str::from_utf8(&part[..many]).unwrap());
    }
    read
}

#[tokio::test]
async fn the_stream_tells_of_ones_own_sessions_and_closes_within_a_second_of_its_own() {
    on_both_stores(
        &format!("{WIDE}{NO_SUSPICION}[sessions]\nmax_per_user = 100"),
        async |webstore, _| {
            let shop = webstore.client();
            let (watching, _) = log_in(&shop, "ada").await;
            let (mut first, head) = open(webstore, &watching).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let lower = head.to_lowercase();
            assert!(lower.contains("content-type: text/event-stream"), "{head}");
            assert!(lower.contains("cache-control: no-store"), "{head}");
            let (_, of_bob) = log_in(&shop, "bob").await;
            let (_, id) = log_in(&shop, "ada").await;
            let read = read_until(&mut first, &id).await;
            assert!(
                read.contains("event: created") && !read.contains(&of_bob),
                "{read}"
            );
            end(&shop, &watching, &id).await;
            read_until(&mut first, "event: ended").await;
            drop(first);

            // Four at once, and a fifth once one has gone.
            let mut held = vec![];
            until("four places are free", async || {
                status(&shop, CURRENT, &watching).await == 200
            })
            .await;
            for _ in 0..4 {
                let opened = open(webstore, &watching).await;
                assert!(opened.1.starts_with("HTTP/1.1 200"), "{}", opened.1);
                held.push(opened.0);
            }
            let (_, fifth) = open(webstore, &watching).await;
            assert!(fifth.starts_with("HTTP/1.1 429"), "{fifth}");
            is_problem(&ask(&shop, EVENTS, &watching, "").await, 429);
            let (other, _) = log_in(&shop, "ada").await;
            assert!(open(webstore, &other).await.1.starts_with("HTTP/1.1 200"));
            held.pop();
            until("a place is free", async || {
                open(webstore, &watching)
                    .await
                    .1
                    .starts_with("HTTP/1.1 200")
            })
            .await;

            let mut took = vec![];
            for _ in 0..5 {
                let (token, id) = log_in(&shop, "eve").await;
                let (mut own, _) = open(webstore, &token).await;
                end(&shop, &token, &id).await;
                let ended = Instant::now();
                let mut rest = String::new();
                let read = tokio::time::timeout(SOON, own.read_to_string(&mut rest)).await;
                read.expect("the stream closes").unwrap();
                took.push(ended.elapsed());
                assert!(rest.contains("event: ended"), "{rest}");
            }
            took.sort();
            eprintln!("closed after {took:?}");
            // A busy machine may be late for some.
            assert!(took[0] < Duration::from_millis(1_200), "{took:?}");
        },
    )
    .await;
}
