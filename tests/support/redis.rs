//! A real redis-server for one test, which may kill, hang and restart it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::time::until;
use crate::{SOON, repository};

/// The user that palisade's tests connect as, with the permissions of `docs/operations.md` and no others.
const USER: &str = "palisade";
/// Its password, which no output may hold.
pub const PASSWORD: &str = "canary-7f3a91c2";

/// The rules of the user, one by one, as `docs/operations.md` gives them to operators.
///
/// # Panics
/// There is no such line.
#[must_use]
pub fn acl() -> Vec<String> {
    let text = repository::text("docs/operations.md");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER palisade reset "));
    let rules = line.expect("the line of the ACL").split(' ');
    rules
        .map(|rule| rule.replace("PASSWORD", PASSWORD))
        .collect()
}

/// A server on a port of its own that persists nothing unless its file says so; dropped, it is killed.
pub struct RedisServer {
    port: u16,
    /// Bound and never listening: while the server is down, nobody else gets its port.
    _place: TcpSocket,
    config: Option<PathBuf>,
    options: Vec<String>,
    directory: TempDir,
    process: Option<Child>,
}

impl RedisServer {
    /// A server with the defaults.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with options as on its command line: `&["--maxmemory", "1mb"]`.
    pub fn start_with(options: &[&str]) -> Self {
        let options = ["--save", "", "--appendonly", "no"].iter().chain(options);
        Self::start_as(None, options.map(|&option| option.to_owned()).collect())
    }

    /// A server with a configuration file, but on a port of its own of 127.0.0.1 and in a folder of its own.
    pub fn configured(file: &Path) -> Self {
        Self::start_as(Some(file.to_owned()), Vec::new())
    }

    fn start_as(config: Option<PathBuf>, options: Vec<String>) -> Self {
        let (port, place) = free_port();
        let mut server = Self {
            port,
            _place: place,
            config,
            options,
            directory: TempDir::new().expect("a temporary directory"),
            process: None,
        };
        // Another process may take a free port before the server does.
        while !server.spawn() {
            (server.port, server._place) = free_port();
        }
        server
    }

    /// A port of its own on which nothing listens until [`restart`](Self::restart).
    pub fn stopped() -> Self {
        let mut server = Self::start();
        server.kill();
        server
    }

    /// `redis://palisade:<password>@127.0.0.1:<port>`: of a user with exactly the permissions of `docs/operations.md`,
    /// so for the default prefix alone.
    pub fn url(&self) -> String {
        format!("redis://{USER}:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// `redis://127.0.0.1:<port>`: of the user who may do everything.
    pub fn admin_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Options of the next [`restart`](Self::restart), in place of those so far.
    pub fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server, paused or not; what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("to kill redis-server");
            process.wait().expect("to reap redis-server");
        }
    }

    /// Kills the server if it runs, and starts one on the same port: empty, unless its file made it persist.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "port {} was taken", self.port);
    }

    /// Stops the process (SIGSTOP): it accepts connections, reads nothing and answers nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Fails: hangs, or dies.
    pub fn fail(&mut self, hangs: bool) {
        if hangs {
            self.pause();
        } else {
            self.kill();
        }
    }

    /// Is there again after it [failed](Self::fail).
    pub fn recover(&mut self) {
        if self.process.is_some() {
            self.resume();
        } else {
            self.restart();
        }
    }

    /// What `redis-cli` prints for a command, trimmed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| missing("redis-cli", &error));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("a running redis-server");
        let status = Command::new("kill")
            .args([signal, &process.id().to_string()])
            .status()
            .expect("to run kill");
        assert!(status.success(), "kill {signal}");
    }

    /// Starts the process and waits until it answers; false if its port was taken.
    fn spawn(&mut self) -> bool {
        let log = self.log_file();
        let process = Command::new("redis-server")
            .args(&self.config)
            .args(["--bind", "127.0.0.1"])
            .args(["--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.directory.path())
            .args(["--user", USER])
            .args(acl())
            .args(&self.options)
            .args(self.bus())
            .stdin(Stdio::null())
            .stdout(File::create(&log).expect("a log file"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| missing("redis-server", &error));
        let process = self.process.insert(process);
        let started = Instant::now();
        while !answers(self.port) {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            if process.try_wait().expect("the process's state").is_some() {
                self.process = None;
                let log = log();
                assert!(log.contains("already in use"), "redis-server ended:\n{log}");
                return false;
            }
            assert!(started.elapsed() < SOON, "redis-server hangs:\n{}", log());
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// The port on which nodes of a Cluster would talk: its default, 10,000 above the other, may be none.
    fn bus(&self) -> Vec<String> {
        if self
            .options
            .iter()
            .any(|option| option == "--cluster-enabled")
        {
            vec!["--cluster-port".to_owned(), free_port().0.to_string()]
        } else {
            Vec::new()
        }
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn missing(program: &str, error: &std::io::Error) -> ! {
    if error.kind() == ErrorKind::NotFound {
        panic!("{program} is not installed: `apt-get install redis-server` (scripts/test does it)");
    }
    panic!("{program} does not start: {error}");
}

fn free_port() -> (u16, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("a socket");
    // The server sets it too, and may then listen on what is bound here.
    socket.set_reuseaddr(true).expect("a shared address");
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(any).expect("a free port");
    (socket.local_addr().expect("its address").port(), socket)
}

/// Whether a server answers, if only that a password is wanted or that it is loading.
fn answers(port: u16) -> bool {
    let ping = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(matches!(&answer, b"+PONG" | b"-NOAU"))
    };
    ping().unwrap_or(false)
}

/// Waits until a store's breaker is closed.
///
/// # Panics
/// It is still open after [`SOON`].
pub async fn until_closed(health: &palisade::store::redis::StoreHealth) {
    until("the breaker is closed", async || !health.is_breaker_open()).await;
}
