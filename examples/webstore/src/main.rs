//! `webstore`: the shop, its admin listener, and an orderly end.

mod cli;
mod health;
mod log_file;
mod signals;

use std::error::Error;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use palisade::ConfigError;
use palisade::admin::Readiness;
use palisade::client::ForwardedHeader;
use palisade::config::{Config, RedisUrl};
use palisade::ops::{Ops, OpsBuilder};
use palisade::segment::{Customers, Flushed};
use palisade::server::{Drained, Server};
use palisade::session::api::SessionsApi;
use palisade::stack::Stack;
use palisade::store::memory::MemoryStore;
use palisade::store::redis::{RedisStore, StoreHealth};
use palisade::telemetry::{HttpMetricsLayer, Telemetry};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use webstore::Shop;
use webstore::demo::{self, Traffic};

use cli::Cli;
use log_file::LogFile;
use signals::Signals;

/// How long the last changes to customers' records may take: a store that answers takes some ten thousand in it, and one
/// that does not is rarely back sooner.
const FLUSH: Duration = Duration::from_secs(1);
/// How often that is, as long as the store takes some each time.
const FLUSHES: usize = 4;

/// The Redis server that keeps the limits; beats the file.
const REDIS_URL: &str = "REDIS_URL";

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(url) = &cli.health {
        return health::check(url).map_or_else(
            |failure| {
                eprintln!("webstore: {failure}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let log = match log_writer(cli.log_file.as_deref()) {
        Ok(log) => log,
        Err(failure) => {
            eprintln!("webstore: {failure}");
            return failure.exit_code();
        }
    };
    tracing_subscriber::fmt()
        .json()
        // A line is one object: `timestamp`, `level`, `target`, `message`, `event` and the fields of the event.
        .flatten_event(true)
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(log)
        .init();
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("webstore: {failure}");
            failure.exit_code()
        }
    }
}

/// Where the log goes: stderr, and the file if there is one.
fn log_writer(file: Option<&Path>) -> Result<BoxMakeWriter, Failure> {
    let Some(path) = file else {
        return Ok(BoxMakeWriter::new(io::stderr));
    };
    let file = LogFile::open(path, log_file::LIMIT).map_err(|error| Failure::LogFile {
        path: path.to_owned(),
        error,
    })?;
    Ok(BoxMakeWriter::new(io::stderr.and(Mutex::new(file))))
}

#[tokio::main]
async fn start(cli: &Cli) -> Result<(), Failure> {
    let telemetry = Telemetry::builder("webstore").build()?;
    let ops = live_page(&cli.admin_host)?;
    let shop = Arc::new(Shop::new());
    let mut server = Server::new().stall(cli.stall).drain(cli.drain);
    if let Some(most) = cli.connections_per_address {
        server = server.connections_per_address(most.get());
    }
    let (shop, store, customers, sessions, demo) = if cli.bare {
        (webstore::router(shop), None, None, None, None)
    } else {
        let (stack, proxies, demo) = configured(cli, &telemetry, &ops).await?;
        server = server.exempt(proxies)?;
        if let Some(redis) = stack.redis() {
            examine(redis).await?;
        }
        let (store, customers) = (stack.store_health().cloned(), stack.customers());
        let sessions = stack.sessions().map(|sessions| {
            let api = SessionsApi::new(&sessions);
            (sessions, api)
        });
        let of_sessions = sessions.as_ref().map(|(sessions, api)| (sessions, api));
        let shop = webstore::guarded(shop, stack, of_sessions);
        (shop, store, customers, sessions, demo)
    };
    telemetry.watch(&server.counts());

    let mut signals = Signals::listen()?;
    let shop_listener = bind(cli.listen, "--listen").await?;
    let admin_listener = bind(cli.admin, "--admin").await?;
    announce(
        &shop_listener,
        &admin_listener,
        cli.demo,
        sessions.is_some(),
    )?;
    let shop_address = shop_listener.local_addr()?;

    let draining = Arc::new(AtomicBool::new(false));
    let mut admin = telemetry.admin().page(&ops);
    if let Some((sessions, _)) = &sessions {
        admin = admin.sessions(sessions);
    }
    let admin = admin.readiness({
        let draining = Arc::clone(&draining);
        move || readiness(draining.load(Ordering::Relaxed), store.as_ref())
    });
    // The admin listener answers to the end, so that the drain can be watched.
    tokio::spawn(admin.serve(admin_listener, std::future::pending()));

    let (stop, stopped) = oneshot::channel();
    let mut serving = tokio::spawn(server.serve(shop_listener, shop, async {
        let _ = stopped.await;
    }));

    let demo = demo.map(|header| Traffic::start(shop_address, header));

    let signal = tokio::select! {
        signal = signals.next() => signal,
        ended = &mut serving => return Err(ended_early(ended)),
    };
    draining.store(true, Ordering::Relaxed);
    tracing::info!(
        target: "webstore",
        event = "draining",
        signal,
        limit_seconds = cli.drain.as_secs(),
        "draining"
    );
    // Its visitors leave first, so that the drain waits for nobody who is not real.
    drop(demo);
    if let Some((_, api)) = &sessions {
        // Its streams would hold up the drain.
        api.close();
    }
    let _ = stop.send(());
    let drained = tokio::select! {
        ended = &mut serving => match ended {
            Ok(drained) if drained.cut == 0 => {
                tracing::info!(target: "webstore", event = "drained", "drained");
                Ok(())
            }
            Ok(_) => Err(Failure::DrainTooLong(cli.drain)),
            ended => Err(ended_early(ended)),
        },
        signal = signals.next() => return Err(Failure::Interrupted(signal)),
    };
    let Some(customers) = customers else {
        return drained;
    };
    tokio::select! {
        lost = flush(&customers, FLUSH) => drained.and(lost),
        signal = signals.next() => {
            // The file takes no time that matters.
            let _ = flush(&customers, Duration::ZERO).await;
            Err(Failure::Interrupted(signal))
        }
    }
}

/// Writes what is known of customers and only waits to be written. What neither the store nor the file takes is lost.
async fn flush(customers: &Customers, within: Duration) -> Result<(), Failure> {
    let mut flushed = customers.flush(within).await;
    let mut written = flushed.written;
    for _ in 1..FLUSHES {
        if flushed.is_complete() || flushed.written == 0 {
            break;
        }
        flushed = customers.flush(within).await;
        written += flushed.written;
    }
    let Flushed { spilled, left, .. } = flushed;
    if flushed.is_complete() {
        tracing::info!(
            target: "webstore",
            event = "customers_flushed",
            written,
            spilled,
            "no change to a customer's record is lost"
        );
        return Ok(());
    }
    tracing::error!(
        target: "webstore",
        event = "customers_unwritten",
        written,
        spilled,
        left,
        "changes to customers' records are lost: the store did not take them"
    );
    Err(Failure::Unwritten(left))
}

/// What shows the operator what happens now.
fn live_page(hosts: &[String]) -> Result<Ops, ConfigError> {
    let page = Ops::builder("webstore");
    hosts.iter().fold(page, OpsBuilder::allow_host).build()
}

/// The layers as the file and the environment want them, the proxies that it trusts, and which header the demo's visitors name
/// themselves in, if there is a demo.
async fn configured(
    cli: &Cli,
    telemetry: &Telemetry,
    ops: &Ops,
) -> Result<
    (
        Stack<HttpMetricsLayer>,
        Vec<String>,
        Option<ForwardedHeader>,
    ),
    Failure,
> {
    let file = cli.config.as_deref();
    let mut config = match file {
        file if cli.demo => demo::settings(file)?,
        None => Config::default(),
        Some(file) => Config::from_file(file)?,
    };
    let redis_url = std::env::var_os(REDIS_URL).filter(|url| !url.is_empty());
    let url_from_environment = redis_url.is_some();
    if let Some(url) = redis_url {
        // What is no text is refused like the empty URL, and not taken for an absent one.
        config.store.redis_url = Some(RedisUrl::from(url.into_string().unwrap_or_default()));
    }
    let memory = MemoryStore::new();
    let (mut header, mut secret) = (None, None);
    if cli.demo {
        if let Some(obstacle) = demo::obstacle(cli.listen, cli.admin, &config) {
            return Err(Failure::Demo(obstacle));
        }
        header = Some(config.client.forwarded_header);
        config.segments.get_or_insert_default();
        secret = demo::secret(&config)?;
        if let Err(error) = demo::remember(&config, &memory).await {
            tracing::warn!(
                target: "webstore",
                event = "demo_without_past",
                %error,
                "the demo's customers have no past: the store did not take it"
            );
        }
    }
    let insecure = config
        .sessions
        .as_ref()
        .is_some_and(|it| it.insecure_cookie);
    if insecure && !cli.listen.ip().is_loopback() {
        return Err(Failure::InsecureCookie(cli.listen));
    }
    let proxies = config.client.trusted_proxies.clone();
    let mut layers = webstore::layers(config).memory(memory).ops(ops);
    if let Some(secret) = secret {
        layers = layers.secret(secret);
    }
    let stack = layers.build_measured(telemetry).map_err(|error| {
        if url_from_environment && error.key().ends_with("redis_url") {
            Failure::RedisUrl(error)
        } else {
            Failure::Config(match file {
                Some(file) => error.in_file(file),
                None => error,
            })
        }
    })?;
    Ok((stack, proxies, header))
}

/// Whether Redis can be used. Only a Redis Cluster keeps the shop from starting: anything else may pass, and each policy has
/// its way to go on meanwhile.
async fn examine(redis: &RedisStore) -> Result<(), Failure> {
    let cause = match redis.examine().await {
        Ok(found) if found.is_cluster() => {
            return Err(Failure::Store(found.problems().collect()));
        }
        Ok(found) => found.problems().collect::<Vec<_>>().join("; "),
        Err(error) => error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
    };
    if !cause.is_empty() {
        tracing::warn!(
            target: "webstore",
            event = "store_unready",
            cause,
            "the Redis store cannot be used as it is: policies follow their on_store_failure"
        );
    }
    Ok(())
}

/// What `/readyz` says. Without its Redis the shop stays ready: each policy has its way to go on.
fn readiness(draining: bool, store: Option<&StoreHealth>) -> Readiness {
    if draining {
        return Readiness::not_ready("draining");
    }
    let mut ready = Readiness::ready();
    if store.is_some_and(StoreHealth::is_breaker_open) {
        ready.detail =
            "ready, but Redis does not answer: policies follow their on_store_failure".into();
    }
    ready
}

async fn bind(address: SocketAddr, option: &'static str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Bind {
            address,
            option,
            error,
        })
}

/// Says on stdout where the process listens and what to open: the bound addresses, so that port 0 is of use to a script.
/// Nobody is to take the demo's visitors for real ones.
fn announce(
    shop: &TcpListener,
    admin: &TcpListener,
    is_demo: bool,
    has_sessions: bool,
) -> io::Result<()> {
    let (shop, admin) = (shop.local_addr()?, admin.local_addr()?);
    let mut text = format!(
        "webstore listening on http://{shop}, admin on http://{admin}\nlive page on http://{admin}/\n"
    );
    if is_demo && has_sessions {
        let [ada, bob] = demo::USERS;
        let _ = writeln!(
            text,
            "account page on http://{shop}/account: sign in as {ada} or {bob} with the password {}",
            demo::PASSWORD
        );
    }
    if is_demo {
        text.push_str(
            "webstore: THIS IS DEMO TRAFFIC: all visitors are made up, and some of them are attackers; whoever connects \
             may claim any client address\n",
        );
    }
    let mut stdout = io::stdout().lock();
    // In one piece, so that a reader of the first line alone may close the pipe.
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn ended_early(ended: Result<Drained, tokio::task::JoinError>) -> Failure {
    Failure::Io(match ended {
        Ok(_) => io::Error::other("the server ended without being told to"),
        Err(error) => error.into(),
    })
}

/// Why the process ends with another status than 0.
enum Failure {
    Config(ConfigError),
    /// Why there can be no demo.
    Demo(String),
    /// The URL that the environment gives, which may hold a password and is not repeated.
    RedisUrl(ConfigError),
    /// The address that others can reach.
    InsecureCookie(SocketAddr),
    /// Why the Redis store can never be used.
    Store(String),
    Bind {
        address: SocketAddr,
        option: &'static str,
        error: io::Error,
    },
    LogFile {
        path: PathBuf,
        error: io::Error,
    },
    Io(io::Error),
    DrainTooLong(Duration),
    Interrupted(&'static str),
    /// So many changes to customers' records are lost.
    Unwritten(usize),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_)
            | Self::RedisUrl(_)
            | Self::Store(_)
            | Self::Demo(_)
            | Self::InsecureCookie(_) => ExitCode::from(2),
            Self::Bind { .. }
            | Self::LogFile { .. }
            | Self::Io(_)
            | Self::DrainTooLong(_)
            | Self::Interrupted(_)
            | Self::Unwritten(_) => ExitCode::from(1),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Demo(obstacle) => f.write_str(obstacle),
            Self::InsecureCookie(address) => write!(
                f,
                "`sessions.insecure_cookie` cannot be `true` with --listen {address}: allowed is a loopback address, since the \
                 cookie goes over plain HTTP"
            ),
            Self::Store(problem) => write!(f, "the Redis store: {problem}"),
            Self::RedisUrl(error) => write!(f, "{REDIS_URL} in the environment: {error}"),
            Self::Bind {
                address,
                option,
                error,
            } => {
                write!(
                    f,
                    "cannot listen on {address} ({error}); choose another address with {option}"
                )
            }
            Self::LogFile { path, error } => write!(
                f,
                "cannot write the log to {} ({error}); choose another file with --log-file",
                path.display()
            ),
            Self::Io(error) => error.fmt(f),
            Self::DrainTooLong(limit) => write!(
                f,
                "requests were still in flight {} after the signal and are cut; --drain allows more",
                humantime::format_duration(*limit)
            ),
            Self::Interrupted(signal) => {
                write!(f, "a second signal ({signal}): requests in flight are cut")
            }
            Self::Unwritten(left) => write!(
                f,
                "{left} changes to customers' records are lost: the store did not take them within {} of grace. \
                 Name a segments.spill_file that can be written: it keeps such changes for the next start",
                humantime::format_duration(FLUSH)
            ),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
