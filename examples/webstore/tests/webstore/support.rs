//! The real program, and an HTTP/1.1 client that shows every byte that matters.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use palisade_tests::tls::TlsRedis;
use serde_json::Value;
use tempfile::NamedTempFile;

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running `webstore` on free ports, killed at the end of the test.
pub(crate) struct Webstore {
    process: Child,
    log: Mutex<Receiver<String>>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Webstore {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(arguments);
        Self::spawn(command)
    }

    /// With a configuration file of this text.
    pub(crate) fn configured(text: &str) -> Self {
        let file = config_file(text);
        // The file is read before the first line is printed.
        Self::start(&["--config", file.path().to_str().unwrap()])
    }

    /// With limits in this Redis.
    pub(crate) fn on_redis(url: &str) -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command
            .env("REDIS_URL", url)
            .env("PALISADE_SECRET", "sixteen bytes or more");
        Self::spawn(command)
    }

    /// With an empty `PALISADE_SECRET` and an empty `REDIS_URL`.
    pub(crate) fn with_empty_environment() -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.env("REDIS_URL", "").env("PALISADE_SECRET", "");
        Self::spawn(command)
    }

    /// With limits in this Redis, through TLS.
    pub(crate) fn on_tls_redis(redis: &TlsRedis) -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command
            .env("REDIS_URL", redis.url())
            .env("SSL_CERT_FILE", redis.certificate())
            .env("PALISADE_SECRET", "sixteen bytes or more");
        Self::spawn(command)
    }

    /// In a process that may have so many files open, sockets among them.
    pub(crate) fn with_open_files(most: u32) -> Self {
        let webstore = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")])
            .arg(webstore.get_program())
            .args(webstore.get_args());
        for (name, value) in webstore.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        Self::spawn(limited)
    }

    fn spawn(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (address, admin) = line
            .trim_end()
            .strip_prefix("webstore listening on http://")
            .and_then(|rest| rest.split_once(", admin on http://"))
            .unwrap_or_else(|| panic!("unexpected first line: {line:?}"));
        // Read at all times: a program whose pipe is full stands still.
        let (told, log) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            let mut lines = stderr.lines().map_while(Result::ok);
            lines.try_for_each(|line| told.send(line))
        });
        Self {
            address: address.parse().unwrap(),
            admin: admin.parse().unwrap(),
            log: Mutex::new(log),
            process,
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    /// A request on a connection of its own.
    pub(crate) fn ask(&self, request: Request) -> Response {
        self.connect().ask(request)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask(Request::get(path))
    }

    /// A request to the admin listener.
    pub(crate) fn admin(&self, path: &str) -> Response {
        Connection::to(self.admin).ask(Request::of("localhost", "GET", path))
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Lets the running process have so many files open.
    pub(crate) fn allow_open_files(&self, most: u32) {
        let pid = self.process.id().to_string();
        let limit = format!("--nofile={most}:");
        let prlimit = Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .status();
        assert!(prlimit.expect("prlimit of util-linux runs").success());
    }

    /// Waits for the log event with this message.
    pub(crate) fn wait_for_log(&mut self, message: &str) -> Value {
        loop {
            let line = self.log.get_mut().unwrap().recv();
            let line = line.unwrap_or_else(|_| panic!("no event {message:?}"));
            let event: Value = serde_json::from_str(&line).expect("a log line of JSON");
            if event["message"] == message {
                return event;
            }
        }
    }

    /// Waits for the end: the exit status, and what is left on stderr.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let rest: Vec<_> = self.log.get_mut().unwrap().iter().collect();
        (self.process.wait().unwrap().code(), rest.join("\n"))
    }
}

impl Drop for Webstore {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, run to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    palisade_tests::webstore::output(&mut command(arguments))
}

pub(crate) fn config_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webstore"));
    for variable in ["REDIS_URL", "PALISADE_SECRET", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.args(arguments);
    command
}

/// A request to be written.
#[derive(Clone)]
pub(crate) struct Request {
    head: String,
    body: String,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self::of("shop", method, path)
    }

    fn of(host: &str, method: &str, path: &str) -> Self {
        Self {
            head: format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n"),
            body: String::new(),
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: &str) -> Self {
        let mut request = Self::new("POST", path).header("content-length", &body.len().to_string());
        request.body.push_str(body);
        request
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn user(self, user: &str) -> Self {
        self.header("authorization", &format!("Bearer user-token-{user}"))
    }
}

/// A connection that stays open from one request to the next.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn send(&mut self, request: Request) {
        self.write(&format!("{}\r\n{}", request.head, request.body));
    }

    pub(crate) fn ask(&mut self, request: Request) -> Response {
        self.send(request);
        self.response()
    }

    pub(crate) fn response(&mut self) -> Response {
        let status_line = self.line();
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        let mut response = Response {
            status: status.unwrap_or_else(|| panic!("not a status line: {status_line:?}")),
            headers: Vec::new(),
            body: String::new(),
        };
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            response
                .headers
                .push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = response
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        response.body = String::from_utf8(body).unwrap();
        response
    }

    /// Waits until the server closes; returns what it sent before that.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Holds an error to RFC 9457, and returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let body = self.json();
        assert_eq!(body["status"], status);
        body["detail"].as_str().unwrap().to_owned()
    }
}
