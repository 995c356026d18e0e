use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc as signals, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::super::Telemetry;
use super::exposition::{Exposition, telemetry};
use crate::admin::{Admin, Readiness};

/// An admin server on a port of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(admin: Admin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(admin.serve(listener, async move {
            stopped.await.unwrap();
        }));
        Self {
            address,
            stop,
            task,
        }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection on which a head begins and does not end.
    pub(super) async fn half_asked(&self) -> TcpStream {
        let mut stream = self.connect().await;
        let half = b"GET /healthz HTTP/1.1\r\n";
        stream.write_all(half).await.unwrap();
        stream
    }

    pub(super) async fn ask(&self, method: &str, path: &str) -> Answer {
        ask(self.address, method, path).await
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        head: head.into(),
        body: body.into(),
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        headers.into_iter().find(|it| it.0 == name).map(|it| it.1)
    }
}

/// Waits for what needs no time to pass: time stands still meanwhile.
pub(super) async fn standing_still<T>(waiting: impl Future<Output = T>) -> T {
    /// Only a test that fails waits so long.
    const SOON: Duration = Duration::from_secs(60);
    let (end, ended) = mpsc::channel::<()>();
    // Paused time goes on only while no blocking task runs.
    tokio::task::spawn_blocking(move || ended.recv());
    tokio::time::pause();
    let started = std::time::Instant::now();
    let mut waiting = pin!(waiting);
    let done = loop {
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await {
            break done;
        }
        assert!(started.elapsed() < SOON, "it waits for time to pass");
        tokio::task::yield_now().await;
    };
    tokio::time::resume();
    drop(end);
    done
}

/// A metric whose collection waits to be let go, and says when it has begun.
fn stall(telemetry: &Telemetry) -> (signals::UnboundedReceiver<()>, mpsc::Sender<()>) {
    let (begin, begun) = signals::unbounded_channel();
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let meter = telemetry.prometheus().unwrap().meter();
    meter
        .u64_observable_gauge("shop.stall")
        .with_callback(move |_| {
            begin.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        })
        .build();
    (begun, go)
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_text() {
    let server = Server::start(telemetry().admin()).await;
    let answer = server.ask("GET", "/metrics").await;
    assert_eq!(answer.status(), "200");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let exposition = Exposition::parse(&answer.body);
    assert_eq!(exposition.values("target_info", &[]), [1.0]);
}

#[tokio::test]
async fn a_meter_of_the_users_own_leaves_no_metrics_path() {
    let meter = telemetry().prometheus().unwrap().meter();
    let telemetry = Telemetry::with_meter(meter, "shop").unwrap();
    assert!(telemetry.prometheus().is_none());
    let server = Server::start(telemetry.admin()).await;
    assert_eq!(server.ask("GET", "/metrics").await.status(), "404");
    assert_eq!(server.ask("GET", "/healthz").await.status(), "200");
}

#[tokio::test]
async fn health_is_ok_while_readiness_is_what_the_service_says() {
    let ready = Arc::new(AtomicBool::new(true));
    let check = Arc::clone(&ready);
    let admin = telemetry().admin().readiness(move || {
        if check.load(Ordering::Relaxed) {
            Readiness::ready()
        } else {
            Readiness::not_ready("draining")
        }
    });
    let server = Server::start(admin).await;
    let answer = server.ask("GET", "/readyz").await;
    assert_eq!((answer.status(), &*answer.body), ("200", "ready"));
    ready.store(false, Ordering::Relaxed);
    let answer = server.ask("GET", "/readyz").await;
    assert_eq!((answer.status(), &*answer.body), ("503", "draining"));
    let answer = server.ask("GET", "/healthz").await;
    assert_eq!((answer.status(), &*answer.body), ("200", "ok"));
}

#[tokio::test]
async fn a_readiness_check_that_panics_is_not_ready() {
    let admin = telemetry().admin().readiness(|| panic!("of the service's"));
    let server = Server::start(admin).await;
    let answer = server.ask("GET", "/readyz").await;
    let told = "the readiness check panicked";
    assert_eq!((answer.status(), &*answer.body), ("503", told));
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = Server::start(telemetry().admin()).await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        let get = server.ask("GET", path).await;
        let head = server.ask("HEAD", path).await;
        assert_eq!(head.status(), "200");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert_eq!(head.body, "");
    }
}

#[tokio::test]
async fn other_methods_are_405_with_allow_and_other_paths_404() {
    let server = Server::start(telemetry().admin()).await;
    for path in ["/metrics", "/healthz", "/readyz?verbose"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "EVIL"] {
            let answer = server.ask(method, path).await;
            assert_eq!(answer.status(), "405", "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }
    for path in [
        "/",
        "/metrics/",
        "//metrics",
        "/Metrics",
        "/../metrics",
        "/%6detrics",
    ] {
        assert_eq!(server.ask("GET", path).await.status(), "404", "{path}");
        assert_eq!(server.ask("POST", path).await.status(), "404", "{path}");
    }
}

#[tokio::test]
async fn a_head_of_too_many_or_too_long_headers_is_refused() {
    let server = Server::start(telemetry().admin()).await;
    let many = "x: y\r\n".repeat(200);
    let long = format!("x: {}\r\n", "y".repeat(64 * 1024));
    for headers in [many, long] {
        let mut stream = server.connect().await;
        let request = format!("GET /healthz HTTP/1.1\r\n{headers}\r\n");
        // The server may close, with the rest unread, before all is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(server.ask("GET", "/healthz").await.status(), "200");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_head_is_cut_off() {
    let server = Server::start(telemetry().admin()).await;
    let start = Instant::now();
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn clients_that_hold_every_connection_delay_others_by_a_moment_only() {
    let server = Server::start(telemetry().admin()).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(server.half_asked().await);
    }
    let answer = server.ask("GET", "/healthz").await;
    assert_eq!(answer.status(), "200");
    // Nobody waited for the time of a head to be over: the newest are still connected.
    let mut newest = held.pop().unwrap();
    newest.write_all(b"host: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    newest.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// What a browser asks whom a web site has led here by a name of its own.
#[tokio::test]
async fn a_name_that_was_not_allowed_reads_nothing() {
    let admin = telemetry().admin().allow_host("webstore").unwrap();
    let server = Server::start(admin).await;
    for path in ["/metrics", "/healthz", "/readyz", "/nowhere"] {
        let status = async |host: &str| {
            let mut stream = server.connect().await;
            let request = format!("GET {path} HTTP/1.1\r\n{host}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer[9..12].to_owned()
        };
        let found = if path == "/nowhere" { "404" } else { "200" };
        for host in ["127.0.0.1:9464", "[::1]:9464", "LOCALHOST", "Webstore:9464"] {
            assert_eq!(status(&format!("host: {host}\r\n")).await, found, "{host}");
        }
        for host in ["evil.example", "webstore.evil.example", "webstore:evil", ""] {
            assert_eq!(status(&format!("host: {host}\r\n")).await, "421", "{host}");
        }
        let twice = "host: webstore\r\nhost: evil.example\r\n";
        assert_eq!(status(twice).await, "400");
        assert_eq!(status("").await, "400");
    }
    let error = telemetry()
        .admin()
        .allow_host("http://webstore")
        .unwrap_err();
    assert_eq!(error.key(), "admin.hosts");
}

#[tokio::test]
async fn scrapes_at_the_same_time_are_all_answered() {
    let server = Server::start(telemetry().admin()).await;
    let mut scrapes = JoinSet::new();
    for _ in 0..100 {
        let address = server.address;
        scrapes.spawn(async move { ask(address, "GET", "/metrics").await });
    }
    for answer in scrapes.join_all().await {
        assert_eq!(answer.status(), "200");
        assert_eq!(
            Exposition::parse(&answer.body).values("target_info", &[]),
            [1.0]
        );
    }
}

#[tokio::test]
async fn a_slow_scrape_holds_up_other_scrapes_and_nothing_else() {
    let telemetry = telemetry();
    let (mut begun, go) = stall(&telemetry);
    let server = Server::start(telemetry.admin()).await;
    let address = server.address;
    let first = tokio::spawn(async move { ask(address, "GET", "/metrics").await });
    begun.recv().await.unwrap();
    let second = tokio::spawn(async move { ask(address, "GET", "/metrics").await });
    // The test's runtime has one thread: an answer shows that the scrape does not block it.
    assert_eq!(server.ask("GET", "/healthz").await.status(), "200");
    assert!(begun.try_recv().is_err(), "the second waits");
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().status(), "200");
    assert_eq!(second.await.unwrap().status(), "200");
}

#[tokio::test]
async fn a_scrape_whose_client_has_left_does_not_block_the_next() {
    let telemetry = telemetry();
    let (mut begun, go) = stall(&telemetry);
    let prometheus = telemetry.prometheus().unwrap();
    let abandoned = prometheus.clone();
    let abandoned = tokio::spawn(async move { abandoned.scrape().await.map(drop) });
    begun.recv().await.unwrap();
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert!(prometheus.scrape().await.is_ok());
}

#[tokio::test]
async fn shutdown_finishes_the_answer_under_way_and_waits_for_no_idle_client() {
    let telemetry = telemetry();
    let (mut begun, go) = stall(&telemetry);
    let server = Server::start(telemetry.admin()).await;
    let address = server.address;
    let mut idle = server.half_asked().await;
    let scrape = tokio::spawn(async move { ask(address, "GET", "/metrics").await });
    begun.recv().await.unwrap();

    server.stop.send(()).unwrap();
    // Before the timeout of its head.
    let mut rest = [0; 64];
    let closed = standing_still(idle.read(&mut rest)).await;
    assert_eq!(closed.unwrap_or(0), 0);
    assert!(
        TcpStream::connect(address).await.is_err(),
        "no longer listening"
    );
    go.send(()).unwrap();
    assert_eq!(scrape.await.unwrap().status(), "200");
    server.task.await.unwrap();
}
