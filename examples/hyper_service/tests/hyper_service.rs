//! The program over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};

struct Program {
    process: Child,
    address: String,
    admin: String,
}

impl Program {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hyper_service"))
            .env("LISTEN", "127.0.0.1:0")
            .env("ADMIN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (address, admin) = line
            .trim_end()
            .strip_prefix("hyper_service listening on http://")
            .and_then(|rest| rest.split_once(", admin on http://"))
            .unwrap();
        Self {
            address: address.to_owned(),
            admin: admin.to_owned(),
            process,
        }
    }

    fn get(&self, path: &str) -> String {
        ask(&self.address, path, "")
    }

    fn terminate(mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", "TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.process.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The whole answer: head, empty line, body.
fn ask(address: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn greets_whom_the_layers_found() {
    let program = Program::start();
    let stranger = program.get("/hello/world");
    assert!(stranger.starts_with("HTTP/1.1 200 "), "{stranger}");
    assert!(
        stranger.contains("ratelimit: \"ip\";r=199;t="),
        "{stranger}"
    );
    assert!(
        stranger.ends_with("\r\n\r\nhello, stranger from 127.0.0.1\n"),
        "{stranger}"
    );

    let token = "authorization: Bearer user-token-ada\r\n";
    let ada = ask(&program.address, "/hello/world", token);
    assert!(
        ada.contains("\"ip\";q=200;w=60, \"user\";q=60;w=60"),
        "{ada}"
    );
    assert!(ada.ends_with("hello, ada from 127.0.0.1\n"), "{ada}");
}

#[test]
fn denies_the_201st_request_and_measures_by_template() {
    let program = Program::start();
    for n in 0..100 {
        assert!(
            program
                .get(&format!("/hello/{n}"))
                .starts_with("HTTP/1.1 200 ")
        );
        assert!(
            program
                .get(&format!("/nowhere/{n}"))
                .starts_with("HTTP/1.1 404 ")
        );
    }
    let denied = program.get("/hello/100");
    assert!(denied.starts_with("HTTP/1.1 429 "), "{denied}");
    assert!(
        denied.contains("Maximum 200 requests per minute."),
        "{denied}"
    );

    let metrics = ask(&program.admin, "/metrics", "");
    for part in [
        r#"hello_rate_limit_requests_total{policy="ip",result="admitted"} 200"#,
        r#"http_route="/hello/{name}""#,
        r#"http_route="unmatched""#,
    ] {
        assert!(metrics.contains(part), "{part} in {metrics}");
    }
    assert!(!metrics.contains("nowhere"), "{metrics}");
}

#[test]
fn sigterm_ends_it_with_status_0() {
    let program = Program::start();
    assert!(program.get("/").starts_with("HTTP/1.1 200 "));
    assert_eq!(program.terminate().code(), Some(0));
}
