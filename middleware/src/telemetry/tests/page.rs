//! The live page on the admin listener.
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::admin::{Server, standing_still};
use super::exposition::telemetry;
use crate::ops::Ops;
use crate::stack::Stack;

/// Long beyond anything that is waited for.
const LONG: Duration = Duration::from_secs(20);
const EVENTS: &[u8] = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn start() -> Server {
    let ops = Ops::new("shop");
    Stack::builder().ops(&ops).build().unwrap();
    Server::start(telemetry().admin().page(&ops)).await
}

async fn send(server: &Server, request: &str) -> String {
    let mut stream = server.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(server: &Server, path: &str, host: &str) -> String {
    send(
        server,
        &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    )
    .await
}

/// Opens a stream and reads it up to its `hello`.
async fn open(server: &Server) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(server.connect().await);
    stream.write_all(EVENTS).await.unwrap();
    next(&mut stream, "event: hello\n").await;
    stream
}

async fn next(stream: &mut BufReader<TcpStream>, line: &str) {
    let mut read = String::new();
    while read != line {
        read.clear();
        assert_ne!(stream.read_line(&mut read).await.unwrap(), 0, "it ended");
    }
}

#[tokio::test]
async fn the_page_stands_beside_what_else_is_served_and_adds_no_other_path() {
    let server = start().await;
    for (path, content_type) in [
        ("/", "text/html"),
        ("/main.js", "text/javascript"),
        ("/ops.css", "text/css"),
    ] {
        let answer = get(&server, path, "localhost:1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&format!("content-type: {content_type}; charset=utf-8")));
        // The name of another site that leads here.
        let answer = get(&server, path, "evil.example").await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = get(&server, path, "evil.example").await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
        let answer = get(&server, path, "127.0.0.1:1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(server.ask("POST", path).await.status(), "405");
    }
    for path in ["/x", "/x/", "/x/events", "/ops", "/bans", "/favicon.ico"] {
        let answer = get(&server, path, "localhost").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn the_page_and_the_listener_have_their_names_in_common() {
    let ops = Ops::builder("shop").allow_host("ops.example.com");
    let ops = ops.build().unwrap();
    let admin = telemetry().admin().allow_host("webstore").unwrap();
    let server = Server::start(admin.page(&ops)).await;
    for path in ["/", "/main.js", "/metrics", "/readyz"] {
        for host in ["ops.example.com:9464", "webstore:9464"] {
            let answer = get(&server, path, host).await;
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "{path} {host}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn an_action_is_read_and_answered() {
    let server = start().await;
    let page = get(&server, "/", "localhost").await;
    let (_, token) = page
        .split_once(r#"name="palisade-token" content=""#)
        .unwrap();
    let token = &token[..32];
    let body = r#"{"client": "nobody"}"#;
    let lift = |token: &str| {
        format!(
            "POST /bans/lift HTTP/1.1\r\nhost: localhost\r\nx-palisade-token: {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = send(&server, &lift(token)).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("`client` cannot be `nobody`"), "{answer}");
    let answer = send(&server, &lift(&"0".repeat(32))).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlasts_the_limit_of_other_connections() {
    let server = start().await;
    let mut stream = open(&server).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(100) {
        next(&mut stream, "event: now\n").await;
    }
}

#[tokio::test]
async fn open_pages_leave_all_connections_to_scrapes() {
    let server = start().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(open(&server).await);
    }
    let ninth = get(&server, "/events", "localhost").await;
    assert!(ninth.starts_with("HTTP/1.1 503"), "{ninth}");
    // All connections but one are held by clients that do not finish their heads, until time passes.
    let mut held = Vec::new();
    for _ in 0..15 {
        held.push(server.half_asked().await);
    }
    let scrape = standing_still(server.ask("GET", "/metrics")).await;
    assert_eq!(scrape.status(), "200");
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let server = start().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(open(&server).await);
    }
    server.stop.send(()).unwrap();
    // Before the drain is over, and with the chunk that says that it is the end.
    standing_still(server.task).await.unwrap();
    for mut stream in streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    }
}

#[tokio::test]
async fn the_end_of_one_listener_is_not_that_of_the_streams_on_another() {
    let admin = telemetry().admin().page(&Ops::new("shop"));
    let (first, second) = (
        Server::start(admin.clone()).await,
        Server::start(admin).await,
    );
    let mut stream = open(&second).await;
    first.stop.send(()).unwrap();
    first.task.await.unwrap();
    next(&mut stream, "event: now\n").await;
    open(&second).await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_never_read_lose_their_connections_and_keep_no_others_out() {
    let server = start().await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().unwrap();
        // What the kernel takes for them is little, and what the server holds no more than a frame.
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.write_all(EVENTS).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        silent.push(stream);
    }
    // A frame a second, in a time that is not waited for, until the kernel's buffers are full and half a minute more.
    let answers = async {
        loop {
            let mut stream = server.connect().await;
            stream.write_all(EVENTS).await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            if &head == b"HTTP/1.1 200" {
                return;
            }
            sleep(Duration::from_secs(30)).await;
        }
    };
    let day = Duration::from_secs(86_400);
    timeout(day, answers).await.expect("a place becomes free");
    for mut stream in silent {
        let mut rest = Vec::new();
        // Cut, with what was under way unread: an end or a reset.
        let end = timeout(day, stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "the connection is still open");
        assert!(!rest.ends_with(b"0\r\n\r\n"));
    }
    assert_eq!(
        timeout(LONG, server.ask("GET", "/healthz"))
            .await
            .unwrap()
            .status(),
        "200"
    );
}
