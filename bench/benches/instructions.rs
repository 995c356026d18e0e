//! `cargo bench -p palisade-bench --bench instructions`: what a request costs in instructions, counted by callgrind.
//!
//! Unlike time, the count is the same whatever else the machine does: two builds can be compared by two runs. Each
//! variant runs in a process of its own under valgrind, once with few requests and once with many; the difference, less
//! that of the bare service, is what the layers take.

use std::convert::Infallible;
use std::error::Error;
use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, Stdio};

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use palisade::client::Peer;
use palisade::config::Config;
use palisade::ops::Ops;
use palisade::session::NewSession;
use palisade::stack::{Stack, StackBuilder};
use palisade::telemetry::Telemetry;
use tower::{Layer, Service, ServiceExt, service_fn};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const FEW: u32 = 1_000;
const MANY: u32 = 3_000;

const LIMITS: &str = "[rate_limit]\nip = '1000000/1h'\nuser = '1000000/1h'\n";
const EVERYTHING: &str = "[suspicion.bans]\n[segments]\n[funnel]\nvisitors = '24h'\n";
const SESSIONS: &str = "[sessions]\nmax_per_user = 1000\n";
const VARIANTS: [&str; 10] = [
    "bare",
    "memory",
    "memory, every layer",
    "memory, every layer, a known session",
    "memory, every layer, a first sight",
    "memory, every layer, measured, access log and live page",
    "Redis",
    "Redis, every layer",
    "Redis, every layer, a known session",
    "Redis, every layer, a first sight",
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    let result = match &arguments[..] {
        [] => report(),
        [variant, requests, redis] => send(variant, requests, redis),
        _ => Err("cargo bench -p palisade-bench --bench instructions takes no arguments".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a row for each variant.
fn report() -> Result<()> {
    let mut bare = 0.0;
    println!("| variant | instructions a request beyond the bare service |\n|---|--:|");
    for variant in VARIANTS {
        eprintln!("instructions: {variant}");
        let each = f64::from(MANY - FEW);
        let taken = (counted(variant, MANY)? - counted(variant, FEW)?) / each;
        if variant == "bare" {
            bare = taken;
        }
        println!("| {variant} | {:.0} |", taken - bare);
    }
    Ok(())
}

/// A server of its own for each count, so that every log begins empty.
struct RedisServer(Child, String);

impl RedisServer {
    fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let options = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
        ];
        let child = Command::new("redis-server")
            .args(options)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}; scripts/test setup installs it"))?;
        let server = Self(child, format!("redis://127.0.0.1:{port}"));
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err(format!("redis-server does not listen on port {port}").into())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn counted(variant: &str, requests: u32) -> Result<f64> {
    let redis = match variant.starts_with("Redis") {
        true => Some(RedisServer::start()?),
        false => None,
    };
    let url = redis.as_ref().map_or("", |server| &server.1);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([variant, &requests.to_string(), url])
        // Sessions on Redis want one; no other variant hashes by it.
        .env("PALISADE_SECRET", "the secret of the benchmark")
        .output()
        .map_err(|error| format!("valgrind: {error}; scripts/test setup installs it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = said
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match counted {
        Some(counted) if output.status.success() => Ok(counted),
        _ => Err(format!("{variant} fails under valgrind:\n{said}").into()),
    }
}

fn stack(config: &str) -> Result<StackBuilder> {
    let user = |request: &Parts| Some(request.headers.get("user")?.to_str().ok()?.to_owned());
    Ok(Stack::builder()
        .config(Config::from_toml(config)?)
        .user(user))
}

/// What each process does: so many requests of one user from one address, one after the other.
fn send(variant: &str, requests: &str, redis: &str) -> Result<()> {
    let requests = requests.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(
            http_body_util::Full::<bytes::Bytes>::default(),
        ))
    });
    let redis = format!("[store]\ndeadline = '10s'\nredis_url = '{redis}'\n");
    runtime.block_on(async {
        match variant {
            "bare" => all(handler, requests).await,
            "memory" => all(stack(LIMITS)?.build()?.layer(handler), requests).await,
            "memory, every layer" => {
                let stack = stack(&format!("{LIMITS}{EVERYTHING}"))?.build()?;
                all(stack.layer(handler), requests).await
            }
            _ if variant.ends_with("session") || variant.ends_with("sight") => {
                let store = if variant.starts_with("Redis") {
                    &*redis
                } else {
                    ""
                };
                let stack = stack(&format!("{store}{LIMITS}{EVERYTHING}{SESSIONS}"))?.build()?;
                let bearers = bearers(&stack).await?;
                let bearers = match variant.ends_with("sight") {
                    true => &bearers[..],
                    false => &bearers[..1],
                };
                each(stack.layer(handler), requests, bearers).await
            }
            "Redis" => {
                all(
                    stack(&format!("{redis}{LIMITS}"))?.build()?.layer(handler),
                    requests,
                )
                .await
            }
            "Redis, every layer" => {
                let stack = stack(&format!("{redis}{LIMITS}{EVERYTHING}"))?.build()?;
                all(stack.layer(handler), requests).await
            }
            _ => {
                let config = format!("{LIMITS}{EVERYTHING}[log]\naccess = 10\n");
                let telemetry = Telemetry::builder("bench").build()?;
                let stack = stack(&config)?
                    .ops(&Ops::new("bench"))
                    .build_measured(&telemetry)?;
                all(stack.layer(handler), requests).await
            }
        }
    })
}

/// As many sessions as requests may come, however few do: what they cost is in every count. Of three users, since none may have
/// so many.
async fn bearers(stack: &Stack) -> Result<Vec<HeaderValue>> {
    let sessions = stack.sessions().ok_or("no sessions")?;
    let mut bearers = Vec::new();
    for n in 0..MANY {
        let user = sessions.user(&format!("ada-{}", n % 3));
        let begun = sessions.begin(&user).await?;
        let issued = sessions.create(begun, NewSession::new()).await?;
        bearers.push(format!("Bearer {}", issued.token.expose()).parse()?);
    }
    Ok(bearers)
}

async fn all<S, B>(service: S, requests: u32) -> Result<()>
where
    S: Service<Request<()>, Response = Response<B>>,
    S::Error: Error + 'static,
{
    each(service, requests, &[]).await
}

/// Sends the requests, each with the next of these headers.
async fn each<S, B>(mut service: S, requests: u32, bearers: &[HeaderValue]) -> Result<()>
where
    S: Service<Request<()>, Response = Response<B>>,
    S::Error: Error + 'static,
{
    for n in 0..requests as usize {
        let mut request = Request::new(());
        let peer = Peer(([192, 0, 2, 1], 5000).into());
        request.extensions_mut().insert(peer);
        let user = HeaderValue::from_static("ada");
        request.headers_mut().insert("user", user);
        if let Some(bearer) = bearers.get(n % bearers.len().max(1)) {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        let response = service.ready().await?.call(request).await?;
        if response.status() != 200 {
            return Err(format!("a request was answered {}", response.status()).into());
        }
    }
    Ok(())
}
