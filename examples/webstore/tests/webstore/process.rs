use std::net::TcpStream;
use std::sync::Barrier;

use crate::support::{Connection, Request, Webstore, run};

/// A request that the handler has begun to read (it said 100) and that waits for the rest of its body.
fn half_sent(store: &Webstore) -> Connection {
    let mut connection = store.connect();
    connection.send(
        Request::new("POST", "/US/cart")
            .user("ada")
            .header("content-length", "32")
            .header("expect", "100-continue"),
    );
    assert_eq!(connection.response().status, 100);
    connection
}

const REST: &str = r#"{"product_id": 1, "quantity": 7}"#;

#[test]
fn a_signal_drains_the_request_in_flight_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let mut store = Webstore::start(&[]);
        let mut slow = half_sent(&store);
        store.signal(signal);
        let event = store.wait_for_log("draining");
        assert_eq!(event["signal"], format!("SIG{signal}"));

        slow.write(REST);
        let response = slow.response();
        assert_eq!(response.status, 200);
        assert_eq!(response.json()["items"][0]["quantity"], 7);
        assert_eq!(slow.rest(), "");
        assert_eq!(store.wait().0, Some(0));
    }
}

#[test]
fn a_draining_process_is_not_ready_takes_no_connections_and_closes_idle_ones() {
    let mut store = Webstore::start(&[]);
    let admin = |path| store.admin(path).status;
    assert_eq!(
        (admin("/healthz"), admin("/readyz"), admin("/metrics")),
        (200, 200, 200)
    );

    let mut idle = store.connect();
    assert_eq!(idle.ask(Request::get("/US/products")).status, 200);
    let unused = store.connect();
    let mut slow = half_sent(&store);
    store.signal("TERM");
    store.wait_for_log("draining");
    assert_eq!((idle.rest(), unused.rest()), (String::new(), String::new()));

    let admin = |path| store.admin(path).status;
    assert_eq!((admin("/healthz"), admin("/readyz")), (200, 503));
    assert!(TcpStream::connect(store.address).is_err());

    slow.write(REST);
    let response = slow.response();
    assert_eq!(
        (response.status, response.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(store.wait().0, Some(0));
}

#[test]
fn no_request_sent_to_a_draining_process_goes_unanswered() {
    let mut store = Webstore::start(&[]);
    let mut connections: Vec<_> = (0..20).map(|_| store.connect()).collect();
    for connection in &mut connections {
        assert_eq!(connection.ask(Request::get("/US/products")).status, 200);
    }
    store.signal("TERM");
    // Sent before the clients can know: each is answered, and told that it was the last one.
    for connection in &mut connections {
        connection.send(Request::get("/US/products"));
    }
    for mut connection in connections {
        assert_eq!(connection.response().status, 200);
        connection.rest();
    }
    store.wait_for_log("drained");
    assert_eq!(store.wait().0, Some(0));
}

#[test]
fn under_load_each_connection_ends_with_an_answer_that_says_so() {
    let store = Webstore::configured("[rate_limit]\nip = '1000000/1m'");
    let under_way = Barrier::new(9);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = store.connect();
                for _ in 0..20 {
                    assert_eq!(connection.ask(Request::get("/US/products")).status, 200);
                }
                under_way.wait();
                loop {
                    let response = connection.ask(Request::get("/US/products"));
                    assert_eq!(response.status, 200);
                    if response.header("connection") == Some("close") {
                        break;
                    }
                }
                assert_eq!(connection.rest(), "");
            });
        }
        under_way.wait();
        store.signal("TERM");
    });
    assert_eq!(store.wait().0, Some(0));
}

#[test]
fn a_drain_that_takes_too_long_is_cut_with_exit_status_1() {
    let store = Webstore::start(&["--drain", "100ms"]);
    let _stuck = half_sent(&store);
    store.signal("TERM");
    let (status, stderr) = store.wait();
    assert_eq!(status, Some(1));
    assert!(stderr.contains("still in flight 100ms after"), "{stderr}");
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let mut store = Webstore::start(&[]);
    let _stuck = half_sent(&store);
    store.signal("TERM");
    store.wait_for_log("draining");
    store.signal("INT");
    let (status, stderr) = store.wait();
    assert_eq!(status, Some(1));
    assert!(stderr.contains("second signal (SIGINT)"), "{stderr}");
}

#[test]
fn an_address_in_use_is_named_and_exits_1() {
    let store = Webstore::start(&[]);
    let taken = store.address.to_string();
    for option in ["--listen", "--admin"] {
        let other = if option == "--listen" {
            "--admin"
        } else {
            "--listen"
        };
        let output = run(&[option, &taken, other, "127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains(&taken) && stderr.contains(option),
            "{stderr}"
        );
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn a_command_line_that_cannot_be_used_exits_2_and_help_teaches() {
    for arguments in [
        &["--listen", "nowhere"][..],
        &["--drain", "soon"],
        &["--lisen", "127.0.0.1:0"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2));
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    for taught in [
        "--config",
        "--listen",
        "--admin",
        "REDIS_URL",
        "curl",
        "Exit status",
    ] {
        assert!(help.contains(taught), "{taught} in {help}");
    }
    assert_eq!(
        run(&["--version"]).stdout,
        format!("webstore {}\n", env!("CARGO_PKG_VERSION")).as_bytes()
    );
}

#[test]
fn a_head_of_64_kib_without_an_end_is_431() {
    let store = Webstore::start(&[]);
    let mut connection = store.connect();
    let start = "GET /US/products HTTP/1.1\r\nx: ";
    connection.write(start);
    connection.write(&"y".repeat(64 * 1024 - start.len()));
    assert_eq!(connection.response().status, 431);
}

#[test]
fn a_bare_shop_is_served_without_a_layer_and_drains_like_any_other() {
    let store = Webstore::start(&["--bare"]);
    let mut connection = store.connect();
    for _ in 0..201 {
        let response = connection.ask(Request::get("/US/products"));
        assert_eq!((response.status, response.header("ratelimit")), (200, None));
    }
    assert!(!store.admin("/metrics").body.contains("webstore_rate_limit"));
    store.signal("TERM");
    assert_eq!(store.wait().0, Some(0));

    for other in ["--demo", "--config=x.toml"] {
        let ended = run(&["--bare", other]);
        assert_eq!(ended.status.code(), Some(2));
    }
}
