//! The example service as its own process.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::SOON;
use crate::http::Client;
use crate::metrics::Scrape;

/// What a configuration starts with when its test is not about the deadline of a store call: no busy machine is
/// late for the longest that may be set.
pub const PATIENT: &str = "[store]\ndeadline = '10s'\n";

const BREAKER: &str = "webstore_store_breaker_open";

/// A running webstore on free ports; killed when dropped.
pub struct Webstore {
    child: Child,
    /// `127.0.0.1:port` of the shop.
    pub shop: String,
    /// `127.0.0.1:port` of the admin listener.
    pub admin: String,
    log: Arc<Mutex<Vec<String>>>,
    redis_url: Option<String>,
    arguments: Vec<String>,
    config: tempfile::NamedTempFile,
}

impl Webstore {
    /// Starts on memory, or on the Redis server of `redis_url`, with a configuration file of this text. The tests share a
    /// secret, unless the text names a `secret_file`.
    #[must_use]
    pub fn start(redis_url: Option<&str>, config: &str) -> Self {
        Self::start_with(redis_url, config, &[])
    }

    /// [`start`](Self::start) with more arguments.
    #[must_use]
    pub fn start_with(redis_url: Option<&str>, config: &str, arguments: &[&str]) -> Self {
        let free = "127.0.0.1:0";
        Self::start_at([free, free], redis_url, config, arguments)
    }

    /// Kills the process: no drain, no farewell.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills the process and starts another on the same ports, with the same configuration.
    pub fn restart(&mut self) {
        self.kill();
        let config = std::fs::read_to_string(self.config.path()).expect("the configuration");
        let redis_url = self.redis_url.as_deref();
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        *self = Self::start_at([&self.shop, &self.admin], redis_url, &config, &arguments);
    }

    fn start_at(
        [shop, admin]: [&str; 2],
        redis_url: Option<&str>,
        config: &str,
        arguments: &[&str],
    ) -> Self {
        let file = tempfile::Builder::new()
            .suffix(".toml")
            .tempfile()
            .expect("a temporary file");
        std::fs::write(file.path(), config).expect("the configuration is written");
        let mut command = Command::new(binary());
        command
            .args(["--listen", shop, "--admin", admin, "--config"])
            .arg(file.path())
            .args(arguments);
        command
            .env_remove("REDIS_URL")
            .env_remove("PALISADE_SECRET");
        if !config.lines().any(|line| line.starts_with("secret_file")) {
            command.env("PALISADE_SECRET", "a secret that the tests share");
        }
        if let Some(url) = redis_url {
            command.env("REDIS_URL", url);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("webstore starts");
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (kept, stderr) = (Arc::clone(&log), child.stderr.take());
        let lines = BufReader::new(stderr.expect("stderr is piped")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().expect("the log is kept").push(line);
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("webstore says where it listens");
        // Whatever it prints later must not fill the pipe.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        let address = |after: &str| {
            let (_, rest) = line
                .split_once(after)
                .unwrap_or_else(|| panic!("no {after:?} in {line:?}"));
            rest.split(|c: char| c == ',' || c.is_whitespace())
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            shop: address("listening on http://"),
            admin: address("admin on http://"),
            child,
            log,
            redis_url: redis_url.map(str::to_owned),
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            config: file,
        }
    }

    /// A client of the shop.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.shop)
    }

    /// What `/metrics` says now.
    pub async fn scrape(&self) -> Scrape {
        let reply = Client::new(&self.admin).get("/metrics", &[]).await;
        assert_eq!(reply.status, 200);
        Scrape::parse(&reply.body)
    }

    /// Scrapes until `enough`, and returns that scrape.
    ///
    /// # Panics
    /// Nothing is enough `within` that time; the message says what was wanted.
    pub async fn scrape_until(
        &self,
        wanted: &str,
        within: Duration,
        enough: impl Fn(&Scrape) -> bool,
    ) -> Scrape {
        let start = Instant::now();
        loop {
            let scrape = self.scrape().await;
            if enough(&scrape) {
                return scrape;
            }
            assert!(
                start.elapsed() < within,
                "after {within:?}, still not: {wanted}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the breaker opens.
    ///
    /// # Panics
    /// It is still closed after [`SOON`].
    pub async fn until_breaker_opens(&self) {
        let open = |scrape: &Scrape| scrape.sum(BREAKER, &[]) == 1.0;
        self.scrape_until("the breaker is open", SOON, open).await;
    }

    /// Waits until the breaker closes.
    ///
    /// # Panics
    /// It is still open after [`SOON`].
    pub async fn until_breaker_closes(&self) {
        let closed = |scrape: &Scrape| scrape.sum(BREAKER, &[]) == 0.0;
        self.scrape_until("the breaker is closed", SOON, closed)
            .await;
    }

    /// The lines that it has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        let lines = self.log.lock().expect("the log is kept").clone();
        let parsed = lines.iter().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
        });
        parsed.collect()
    }

    /// Reads the log until it has `enough`, and returns it.
    ///
    /// # Panics
    /// Nothing is enough `within` that time; the message says what was wanted.
    pub async fn log_until(
        &self,
        wanted: &str,
        within: Duration,
        enough: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let log = self.log();
            if enough(&log) {
                return log;
            }
            assert!(
                start.elapsed() < within,
                "after {within:?}, the log still lacks: {wanted}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it has written a line with this text to stderr, the last words of a process among them.
    ///
    /// # Panics
    /// There is none `within` that time.
    pub async fn says(&self, text: &str, within: Duration) {
        let start = Instant::now();
        loop {
            let lines = self.log.lock().expect("the log is kept").clone();
            if lines.iter().any(|line| line.contains(text)) {
                return;
            }
            assert!(start.elapsed() < within, "not said: {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the process to end.
    ///
    /// # Panics
    /// It still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .expect("the process can be waited for")
            {
                return status;
            }
            assert!(
                start.elapsed() < within,
                "webstore still runs after {within:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Webstore {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            for line in log.iter().skip(log.len().saturating_sub(50)) {
                eprintln!("{line}");
            }
        }
    }
}

/// Runs a program to its end, and tells what it said: less than a pipe holds.
///
/// # Panics
/// It still runs after [`SOON`]: it is killed.
pub fn output(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null());
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the program starts");
    let started = Instant::now();
    while child.try_wait().expect("the process's state").is_none() {
        if started.elapsed() > SOON {
            let _ = child.kill();
            let said = child.wait_with_output().expect("what it said");
            let said = [said.stdout, said.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            panic!("still runs after {SOON:?}: {command:?}\n{said}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("what it said")
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(
        status.expect("kill runs").success(),
        "kill -{name} {pid} failed"
    );
}

/// Builds the example once, and tells where it is.
#[must_use]
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("webstore")).clone()
}

/// Builds the program of a package of the workspace, and tells where it is. `PALISADE_PROGRAMS` is a folder where it is
/// already: a build of its own takes other features of the dependencies than one with the tests, and builds them again.
pub(crate) fn build(package: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("PALISADE_PROGRAMS") {
        let program = PathBuf::from(folder).join(package);
        assert!(program.is_file(), "no {}", program.display());
        return program;
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--bins", "--package", package])
        .args(["--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "cargo build -p {package} failed");
    let output = String::from_utf8(built.stdout).expect("cargo writes UTF-8");
    let executable = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.expect("cargo names the executable")
}
