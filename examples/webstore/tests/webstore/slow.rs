//! Clients that hold their connections and do not read, against a process that may have few open files.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use tokio::net::TcpSocket;

use crate::support::{Connection, Request, Webstore};

/// From an address of this machine's own; what its kernel takes unread is little.
fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let from = SocketAddr::new(from.parse().unwrap(), 0);
        socket.bind(from).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    })
}

/// Asks more than it could be answered, and reads nothing.
fn flood(store: &Webstore) -> TcpStream {
    let mut stream = connect("127.0.0.1", store.address);
    let requests = "GET /US/products HTTP/1.1\r\nhost: shop\r\n\r\n".repeat(3000);
    let mut rest = requests.as_bytes();
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // It is one too many of its address.
            Err(_) => break,
        }
    }
    stream
}

#[test]
fn readers_that_never_read_shut_nobody_out_and_the_end_does_not_wait_for_them() {
    let mut store = Webstore::with_open_files(128);
    // Also those that are answered 429.
    let held: Vec<_> = (0..120).map(|_| flood(&store)).collect();
    for path in ["/readyz", "/healthz"] {
        assert_eq!(store.admin(path).status, 200, "{path}");
    }
    let other = connect("127.0.0.2", store.address);
    other.set_nonblocking(false).unwrap();
    let answer = Connection::over(other).ask(Request::get("/US/products"));
    assert_eq!(answer.status, 200);
    let metrics = store.admin("/metrics").body;
    let refused = r#"webstore_server_connections_given_up_total{reason="address"} "#;
    let refused = metrics.lines().find_map(|line| line.strip_prefix(refused));
    // Its address may have 16, a quarter of what 128 open files leave.
    assert!(
        refused.is_some_and(|it| it.parse::<u32>().unwrap() >= 104),
        "{refused:?}"
    );

    store.signal("TERM");
    store.wait_for_log("drained");
    assert_eq!(store.wait().0, Some(0));
    drop(held);
}

#[test]
fn a_process_without_a_free_descriptor_says_so_once_and_accepts_again_when_it_has_one() {
    let mut store = Webstore::with_open_files(128);
    store.allow_open_files(3);
    let mut waiting = store.connect();
    waiting.send(Request::get("/US/products"));
    store.wait_for_log("the listener cannot accept connections");
    store.allow_open_files(128);
    assert_eq!(waiting.response().status, 200);
    store.signal("TERM");
    let (status, log) = store.wait();
    assert_eq!(status, Some(0));
    // However often it tried meanwhile.
    assert!(!log.contains("accept_failed"), "{log}");
}

#[test]
fn without_a_free_descriptor_who_waits_for_nothing_gives_way() {
    let mut store = Webstore::with_open_files(128);
    let mut held = store.connect();
    assert_eq!(held.ask(Request::get("/US/products")).status, 200);
    store.allow_open_files(3);
    let mut waiting = store.connect();
    waiting.send(Request::get("/US/products"));
    store.wait_for_log("the listener cannot accept connections");
    assert_eq!(held.rest(), "");
    store.allow_open_files(128);
    assert_eq!(waiting.response().status, 200);
    let metrics = store.admin("/metrics").body;
    let yielded = r#"webstore_server_connections_given_up_total{reason="yielded"} "#;
    let yielded = metrics.lines().find_map(|line| line.strip_prefix(yielded));
    assert!(
        yielded.is_some_and(|it| it.parse::<u32>().unwrap() >= 1),
        "{yielded:?}"
    );
}
