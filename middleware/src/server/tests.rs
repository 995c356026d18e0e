//! The server over real sockets. A limit that ends something is short and waited for; where something must not end, time stands
//! still but where the test moves it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::service_fn;

use super::{Drained, RequestBody, Server, ServerCounts};
use crate::client::Peer;

/// Only a test that fails waits so long.
const SOON: Duration = Duration::from_secs(30);
/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(300);
/// A limit that no test waits for.
const NEVER: Duration = Duration::from_secs(3600);

/// Time that passes only where the test has it pass.
struct Clock {
    _held: mpsc::Sender<()>,
}

impl Clock {
    fn hold() -> Self {
        let (end, ended) = mpsc::channel();
        // Paused time goes on by itself only while no blocking task runs.
        tokio::task::spawn_blocking(move || ended.recv());
        tokio::time::pause();
        Self { _held: end }
    }

    /// By steps, after each of which whoever waited for it has run.
    async fn pass(&self, time: Duration) {
        for _ in 0..10 {
            advance(time / 10).await;
            tokio::task::yield_now().await;
        }
    }
}

/// A body of so many pieces of 64 KiB.
struct Pieces(usize);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 65_536] = [b'x'; 65_536];
        let Some(left) = self.0.checked_sub(1) else {
            return std::task::Poll::Ready(None);
        };
        self.0 = left;
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }
}

struct Running {
    address: SocketAddr,
    counts: Arc<ServerCounts>,
    /// Requests that the service was called with.
    calls: Arc<AtomicUsize>,
    /// Grows with each frame of a body.
    arrived: Arc<AtomicUsize>,
    /// Lets requests for `/wait` go.
    go: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Drained>,
}

impl Running {
    async fn start(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = server.counts();
        let (calls, go) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let arrived = Arc::<AtomicUsize>::default();
        let (called, gone, arrive) = (Arc::clone(&calls), Arc::clone(&go), Arc::clone(&arrived));
        let service = service_fn(move |request: Request<RequestBody>| {
            called.fetch_add(1, Ordering::Relaxed);
            let (go, arrived) = (Arc::clone(&gone), Arc::clone(&arrive));
            async move {
                let text = |text: String| Response::new(Either::Left(Full::from(text)));
                Ok::<_, Infallible>(match request.uri().path() {
                    "/long" => Response::new(Either::Right(Pieces(4096))),
                    "/wait" => {
                        go.notified().await;
                        text("done".into())
                    }
                    "/read" => {
                        let (mut body, mut read) = (request.into_body(), 0);
                        while let Some(Ok(frame)) = body.frame().await {
                            read += frame.data_ref().map_or(0, Bytes::len);
                            arrived.fetch_add(read, Ordering::Relaxed);
                        }
                        text(format!("{read} bytes"))
                    }
                    "/peer" => text(request.extensions().get::<Peer>().unwrap().0.to_string()),
                    "/upgrade" => {
                        tokio::spawn(async move {
                            let upgraded = hyper::upgrade::on(request).await.unwrap();
                            let mut upgraded = TokioIo::new(upgraded);
                            let mut asked = [0; 4];
                            while upgraded.read_exact(&mut asked).await.is_ok() {
                                upgraded.write_all(&asked).await.unwrap();
                            }
                        });
                        let mut response = text(String::new());
                        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                        let headers = response.headers_mut();
                        headers.insert("upgrade", "echo".parse().unwrap());
                        headers.insert("connection", "upgrade".parse().unwrap());
                        response
                    }
                    _ => text("hello".into()),
                })
            }
        });
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(listener, service, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            counts,
            calls,
            arrived,
            go,
            stop: Some(stop),
            serving,
        }
    }

    async fn send(&self, text: &str) -> TcpStream {
        send(self.address, "127.0.0.1", text).await
    }

    async fn ask(&self, path: &str) -> String {
        read(&mut self.send(&get(path)).await).await
    }

    fn given_up(&self, reason: &str) -> u64 {
        let mut all = self.counts.given_up();
        all.find(|(name, _)| *name == reason).unwrap().1
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = std::time::Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < SOON, "not yet: {what}");
            // By the system's clock, since the runtime's may stand still.
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")
}

/// From an address of one's own, on a machine that has all of 127.0.0.0/8; what the kernel takes for the client is little.
async fn send(to: SocketAddr, from: &str, text: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket
        .bind(SocketAddr::new(from.parse().unwrap(), 0))
        .unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn read(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(SOON, stream.read_to_string(&mut answer)).await;
    let _ = read.expect("the connection ends");
    answer
}

/// Reads to the end, or to a reset.
async fn is_cut(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest))
        .await
        .expect("the connection is still open");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up_whatever_it_asked_for() {
    let server = Running::start(Server::new().stall(SHORT).head_time(NEVER)).await;
    // One long answer, and short ones without end.
    let long = server.send(&get("/long")).await;
    let mut pipelining = server.send("").await;
    let request = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n".repeat(1000);
    let flooding = async { while pipelining.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(SOON, flooding)
        .await
        .expect("it is cut while it sends");
    server
        .until("both are given up", |it| it.given_up("stalled") == 2)
        .await;
    server
        .until("both are closed", |it| it.counts.open() == 0)
        .await;
    drop(long);
}

#[tokio::test]
async fn no_more_pipelined_requests_are_answered_than_the_kernel_takes_answers() {
    let server = Running::start(Server::new().stall(NEVER)).await;
    let mut client = server.send("").await;
    let request = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n".repeat(1000);
    // Until neither side takes more.
    let flooding = async { while client.write_all(request.as_bytes()).await.is_ok() {} };
    assert!(timeout(Duration::from_secs(2), flooding).await.is_err());
    // Some 100 bytes each: the client's buffer, 32 KiB unsent, and what the loopback device rounds it up to.
    let calls = server.calls.load(Ordering::Relaxed);
    assert!(calls < 5_000, "{calls}");
}

#[tokio::test]
async fn a_long_download_that_goes_on_is_never_cut() {
    let clock = Clock::hold();
    let server = Running::start(Server::new().stall(SHORT).head_time(SHORT)).await;
    let mut client = server.send(&get("/long")).await;
    // More than the kernel holds, so that the server wrote some of it since the last time.
    let mut taken = vec![0; 4 * 1024 * 1024];
    for _ in 0..30 {
        client.read_exact(&mut taken).await.expect("it is not cut");
        clock.pass(SHORT / 3).await;
    }
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "cut");
    assert_eq!(server.given_up("stalled"), 0);
}

#[tokio::test]
async fn an_upload_that_stops_is_given_up_and_one_that_goes_on_is_not() {
    let clock = Clock::hold();
    let server = Running::start(Server::new().stall(SHORT).head_time(NEVER)).await;
    let head =
        "POST /read HTTP/1.1\r\nhost: shop\r\ncontent-length: 10240\r\nconnection: close\r\n\r\n";
    let mut slow = server.send(head).await;
    for _ in 0..10 {
        let before = server.arrived.load(Ordering::Relaxed);
        slow.write_all(&[b'x'; 1024]).await.unwrap();
        let is_read = |it: &Running| it.arrived.load(Ordering::Relaxed) > before;
        server.until("it is read", is_read).await;
        clock.pass(SHORT / 3).await;
    }
    assert!(read(&mut slow).await.ends_with("10240 bytes"));
    let before = server.arrived.load(Ordering::Relaxed);
    let mut stopped = server.send(&format!("{head}12345")).await;
    let is_read = |it: &Running| it.arrived.load(Ordering::Relaxed) > before;
    server.until("it is read", is_read).await;
    clock.pass(SHORT * 2).await;
    server
        .until("it is given up", |it| it.given_up("stalled") == 1)
        .await;
    is_cut(&mut stopped).await;
}

#[tokio::test]
async fn an_upload_that_comes_byte_by_byte_is_given_up_as_one_that_stops() {
    let clock = Clock::hold();
    let server = Running::start(Server::new().stall(SHORT).head_time(NEVER)).await;
    let head = "POST /read HTTP/1.1\r\nhost: shop\r\ncontent-length: 10240\r\n\r\n";
    let mut dripping = server.send(head).await;
    for _ in 0..4 {
        let before = server.arrived.load(Ordering::Relaxed);
        if dripping.write_all(b"x").await.is_err() {
            break;
        }
        let is_read = |it: &Running| {
            it.arrived.load(Ordering::Relaxed) > before || it.given_up("stalled") == 1
        };
        server.until("it is read", is_read).await;
        clock.pass(SHORT / 3).await;
    }
    server
        .until("it is given up", |it| it.given_up("stalled") == 1)
        .await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_time_and_a_service_may_take_longer() {
    let server = Running::start(Server::new().head_time(SHORT).stall(SHORT)).await;
    let mut waiting = server.send(&get("/wait")).await;
    for silent in [
        "",
        "GET / HTTP/1.1\r\nhost:",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        is_cut(&mut server.send(silent).await).await;
    }
    assert_eq!(server.given_up("silent"), 3);
    server.go.notify_one();
    assert!(read(&mut waiting).await.ends_with("done"));
}

#[tokio::test]
async fn half_sent_heads_keep_nobody_out_not_even_from_their_own_address() {
    let clock = Clock::hold();
    let limits = Server::new().connections(16).connections_per_address(4);
    let server = Running::start(limits.head_time(NEVER)).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(server.send("GET / HTTP/1.1\r\n").await);
    }
    server
        .until("60 are refused", |it| it.given_up("address") == 60)
        .await;
    let mut other = send(server.address, "127.0.0.2", &get("/peer")).await;
    assert!(read(&mut other).await.contains("127.0.0.2"));
    // The own address has a place once one was waited for.
    clock.pass(Duration::from_millis(250)).await;
    assert!(server.ask("/peer").await.contains("127.0.0.1"));
    assert_eq!(server.given_up("yielded"), 1);
}

#[tokio::test]
async fn one_address_has_its_share_and_trusted_proxies_have_all() {
    let limits = Server::new().connections(8).connections_per_address(3);
    let server = Running::start(limits.exempt(["127.0.0.9"]).unwrap()).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(server.send(&get("/wait")).await);
    }
    server
        .until("all are under way", |it| {
            it.calls.load(Ordering::Relaxed) == 3
        })
        .await;
    is_cut(&mut server.send(&get("/peer")).await).await;
    assert_eq!(server.given_up("address"), 1);
    let mut proxied = Vec::new();
    for _ in 0..5 {
        proxied.push(send(server.address, "127.0.0.9", &get("/wait")).await);
    }
    server
        .until("all are under way", |it| {
            it.calls.load(Ordering::Relaxed) == 8
        })
        .await;
    // All places are taken, by requests under way: others wait until one is over.
    let mut queued = send(server.address, "127.0.0.3", &get("/peer")).await;
    sleep(SHORT).await;
    assert_eq!((server.counts.open(), server.given_up("yielded")), (8, 0));
    server.go.notify_one();
    assert!(read(&mut queued).await.contains("127.0.0.3"));
}

#[tokio::test]
async fn a_reader_that_does_not_read_gives_its_place_to_the_next_client() {
    let clock = Clock::hold();
    let limits = Server::new()
        .connections(2)
        .stall(SHORT * 6)
        .head_time(NEVER);
    let server = Running::start(limits.connections_per_address(2)).await;
    let _held = [
        server.send(&get("/long")).await,
        server.send(&get("/long")).await,
    ];
    server
        .until("both are under way", |it| {
            it.calls.load(Ordering::Relaxed) == 2
        })
        .await;
    let mut next = server.send(&get("/peer")).await;
    let start = Instant::now();
    while server.given_up("yielded") == 0 {
        clock.pass(SHORT / 6).await;
        server.until("a moment", |_| true).await;
        assert!(start.elapsed() < SHORT * 5, "nobody gave way");
    }
    assert!(read(&mut next).await.contains("127.0.0.1"));
    assert_eq!(
        (server.given_up("yielded"), server.given_up("stalled")),
        (1, 0)
    );
}

#[tokio::test]
async fn the_end_waits_three_seconds_for_who_does_nothing_and_longer_for_who_does() {
    let clock = Clock::hold();
    let mut server = Running::start(Server::new().drain(NEVER)).await;
    let silent = [
        server.send("GET / HTTP/1.1\r\n").await,
        server.send(&get("/long")).await,
        server
            .send("POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
            .await,
    ];
    let mut waiting = server.send(&get("/wait")).await;
    server
        .until("three are under way", |it| {
            it.calls.load(Ordering::Relaxed) == 3
        })
        .await;
    server
        .until("all are accepted", |it| it.counts.open() == 4)
        .await;
    let start = Instant::now();
    drop(server.stop.take());
    while server.counts.open() > 1 {
        clock.pass(Duration::from_millis(50)).await;
        server.until("a moment", |_| true).await;
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{}",
            server.counts.open()
        );
    }
    clock.pass(SOON).await;
    server.go.notify_one();
    assert!(read(&mut waiting).await.ends_with("done"));
    assert_eq!(server.serving.await.unwrap().cut, 0);
    drop(silent);
}

#[tokio::test]
async fn what_is_under_way_after_the_drain_is_cut_and_counted() {
    let mut server = Running::start(Server::new().drain(SHORT)).await;
    let mut waiting = server.send(&get("/wait")).await;
    server
        .until("it is under way", |it| {
            it.calls.load(Ordering::Relaxed) == 1
        })
        .await;
    drop(server.stop.take());
    assert_eq!((&mut server.serving).await.unwrap().cut, 1);
    is_cut(&mut waiting).await;
}

#[tokio::test]
async fn a_host_is_wanted_once() {
    let server = Running::start(Server::new()).await;
    for (hosts, status) in [
        ("host: a\r\n", "200"),
        ("", "400"),
        ("host: a\r\nhost: a\r\n", "400"),
        ("host: a\r\nhost: b\r\n", "400"),
    ] {
        let text = format!("GET / HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let answer = read(&mut server.send(&text).await).await;
        assert_eq!(&answer[9..12], status, "{hosts}");
    }
    let old = read(&mut server.send("GET / HTTP/1.0\r\n\r\n").await).await;
    assert_eq!(&old[9..12], "200");
    assert_eq!(server.calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_head_may_have_64_kib() {
    let server = Running::start(Server::new()).await;
    let around = get("/").len() + "x: \r\n".len();
    for (length, status) in [(64 * 1024 - 1, "200"), (64 * 1024 + 1, "431")] {
        let text = get("/").replace(
            "host:",
            &format!("x: {}\r\nhost:", "y".repeat(length - around)),
        );
        assert_eq!(text.len(), length);
        let answer = read(&mut server.send(&text).await).await;
        assert_eq!(&answer[9..12], status, "{length}");
    }
}

#[tokio::test]
async fn an_upgraded_connection_lasts_and_keeps_its_place() {
    let limits = Server::new().head_time(SHORT).stall(SHORT).connections(1);
    let server = Running::start(limits).await;
    let head = "GET /upgrade HTTP/1.1\r\nhost: a\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n";
    let mut client = server.send(head).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.unwrap());
    }
    sleep(SHORT * 3).await;
    let _queued = server.send(&get("/")).await;
    sleep(SHORT * 2).await;
    client.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    client.read_exact(&mut echo).await.unwrap();
    assert_eq!((&echo, server.counts.open()), (b"ping", 1));
    // Who writes and does not read is cut all the same.
    let flooding = async { while client.write_all(&[b'x'; 65_536]).await.is_ok() {} };
    timeout(SOON, flooding).await.expect("it is cut");
}

async fn http2(
    server: &Running,
    window: u32,
) -> (
    hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    JoinHandle<Result<(), hyper::Error>>,
) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(server: &Running, path: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://{}{path}", server.address);
    Request::get(uri).body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_closed_window_of_http2_is_a_stall_and_a_slow_one_is_not() {
    let clock = Clock::hold();
    let server = Running::start(Server::new().stall(SHORT).head_time(NEVER)).await;
    let (mut sender, connection) = http2(&server, 16 * 1024).await;
    let response = sender
        .send_request(request(&server, "/long"))
        .await
        .unwrap();
    let mut body = response.into_body();
    for _ in 0..12 {
        // Each frame taken opens the window for another, so that the last of these was sent since the last time.
        for _ in 0..8 {
            body.frame().await.unwrap().expect("it is not cut");
        }
        clock.pass(SHORT / 3).await;
    }
    assert_eq!(server.given_up("stalled"), 0);
    // From here on nothing is taken.
    clock.pass(SHORT * 2).await;
    server
        .until("it is given up", |it| it.given_up("stalled") == 1)
        .await;
    assert!(connection.await.is_ok());
}

#[tokio::test]
async fn an_idle_connection_of_http2_is_told_goodbye_and_drains_at_the_end() {
    let clock = Clock::hold();
    let mut server = Running::start(Server::new().head_time(SHORT).drain(NEVER)).await;
    let (mut sender, idle) = http2(&server, 65_535).await;
    let answer = sender
        .send_request(request(&server, "/peer"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body().collect().await.unwrap();
    clock.pass(SHORT * 2).await;
    // GOAWAY, which is no error.
    idle.await.unwrap().unwrap();

    let (mut sender, draining) = http2(&server, 65_535).await;
    let answer = tokio::spawn(sender.send_request(request(&server, "/wait")));
    server
        .until("it is under way", |it| {
            it.calls.load(Ordering::Relaxed) == 2
        })
        .await;
    drop(server.stop.take());
    clock.pass(Duration::from_secs(10)).await;
    server.go.notify_one();
    let answer = answer.await.unwrap().unwrap().into_body().collect().await;
    assert_eq!(answer.unwrap().to_bytes(), "done");
    draining.await.unwrap().unwrap();
    assert_eq!(server.serving.await.unwrap().cut, 0);
}
