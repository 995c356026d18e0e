//! Sessions, ever more of them: what each takes, and whether a look at one takes longer.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response, StatusCode, header};
use palisade::client::{Client, Secret, UserId};
use palisade::config::SessionsConfig;
use palisade::session::store::SessionStore;
use palisade::session::{NewSession, Session, SessionLayer, Sessions};
use palisade::store::memory::MemoryStore;
use palisade::store::redis::RedisStore;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};

use crate::Result;
use crate::arguments::Kept;
use crate::process::resident_bytes;
use crate::redis_server::RedisServer;
use crate::statistics::{Shuffle, median};

/// The fewest that are looked at; then ten times as many, up to all.
const FEWEST: usize = 1_000;
/// Sessions of each user.
const EACH: usize = 2;
/// Sessions that are validated, and users whose list is asked for, at each size: each is a first sight.
const LOOKS: usize = 1_000;
/// Logins that are under way at once while the store is filled.
const AT_ONCE: usize = 64;
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Prints the table: memory in a process of its own, so that nothing else has been allocated and freed before.
pub(crate) fn report(count: usize) -> Result<()> {
    println!(
        "| store | sessions | bytes a session | validation, µs | list, µs | calls a list |\n|---|--:|--:|--:|--:|--:|"
    );
    for kept in ["memory", "redis"] {
        let status = Command::new(std::env::current_exe()?)
            .args(["sessions", "--kept", kept, "--count", &count.to_string()])
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(format!("sessions in {kept} could not be measured; see above").into());
        }
    }
    Ok(())
}

/// Prints the rows of one store.
pub(crate) fn print(kept: Kept, count: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match kept {
        Kept::Memory => {
            let memory = MemoryStore::builder()
                .max_keys(count.max(FEWEST) * 2)
                .build()?;
            let read = || {
                let bytes = resident_bytes().ok_or("no /proc to read the memory from")?;
                Ok(Read { bytes, calls: 0.0 })
            };
            runtime.block_on(fill("memory", memory, count, read))
        }
        Kept::Redis => {
            let mut server = RedisServer::start()?;
            let store = RedisStore::builder(server.url())
                // The table is about the work; a busy machine's late answers are not.
                .deadline(Duration::from_secs(10))
                .build()?;
            let read = || {
                let (bytes, calls) = (server.used_memory()?, server.scripts_run()?);
                Ok(Read { bytes, calls })
            };
            runtime.block_on(fill("Redis", store, count, read))
        }
    }
}

/// What a store has taken so far.
struct Read {
    bytes: f64,
    /// Of Redis.
    calls: f64,
}

/// Fills a store, and stops at each size to look.
async fn fill(
    name: &str,
    store: impl SessionStore,
    count: usize,
    mut read: impl FnMut() -> Result<Read>,
) -> Result<()> {
    let secret = Secret::random()?;
    let layer = SessionLayer::new(store, secret.clone(), SessionsConfig::default())?;
    let sessions = layer.sessions().ok_or("the layer has no handle")?;
    // The script is there and the tables are allocated before anything is measured.
    create(&sessions, user(usize::MAX, &secret), 0).await?;
    let before = read()?.bytes;
    let (mut held, mut size) = (0, FEWEST.min(count));
    loop {
        let tokens = grow(&sessions, &secret, held, size).await?;
        held = size;
        let filled = read()?;
        let each = (filled.bytes - before) / held as f64;
        let validation = validate(&layer, &tokens).await?;
        let listed = read()?;
        let list = list(&sessions, &secret, held).await?;
        let calls = (read()?.calls - listed.calls) / LOOKS.min(held / EACH) as f64;
        println!("| {name} | {held} | {each:.0} | {validation:.1} | {list:.1} | {calls} |");
        if held >= count {
            return Ok(());
        }
        size = (size * 10).min(count);
    }
}

fn user(number: usize, secret: &Secret) -> UserId {
    UserId::new(&format!("user-{number}"), secret)
}

/// Logs in from a browser at one of many addresses; returns the token.
async fn create(sessions: &Sessions, user: UserId, number: usize) -> Result<String> {
    let begun = sessions.begin(&user).await?;
    let bits = u32::try_from(number % (1 << 24))?;
    let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | bits));
    let new = NewSession::new()
        .user_agent(Some(&HeaderValue::from_static(AGENT)))
        .from(&Client::new(address, 64))
        .method("password")?;
    let issued = sessions.create(begun, new).await?;
    Ok(issued.token.expose().to_owned())
}

/// Creates sessions until there are so many; returns some of their tokens, from all over.
async fn grow(sessions: &Sessions, secret: &Secret, from: usize, to: usize) -> Result<Vec<String>> {
    let stride = ((to - from) / LOOKS).max(1);
    let mut tokens = Vec::with_capacity(LOOKS);
    let mut under_way = JoinSet::new();
    let mut keep = |(number, token): (usize, Result<String>)| {
        let token = token?;
        if number % stride == 0 {
            tokens.push(token);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    for number in from..to {
        if under_way.len() >= AT_ONCE {
            keep(
                under_way
                    .join_next()
                    .await
                    .ok_or("nothing is under way")??,
            )?;
        }
        let (sessions, user) = (sessions.clone(), user(number / EACH, secret));
        under_way.spawn(async move { (number, create(&sessions, user, number).await) });
    }
    while let Some(created) = under_way.join_next().await {
        keep(created?)?;
    }
    Shuffle::new(1).shuffle(&mut tokens);
    Ok(tokens)
}

/// The median time of a request through the layer, each with a token that this process has not proved before.
async fn validate(layer: &SessionLayer, tokens: &[String]) -> Result<f64> {
    let handler = service_fn(|request: Request<()>| async move {
        let mut response = Response::new(String::new());
        if request.extensions().get::<Session>().is_none() {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        Ok::<_, Infallible>(response)
    });
    let service = layer.layer(handler);
    let mut micros = Vec::with_capacity(tokens.len());
    for token in tokens {
        let request = Request::get("/").header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(())?;
        let started = Instant::now();
        let response = service.clone().oneshot(request).await?;
        micros.push(started.elapsed().as_nanos() as f64 / 1e3);
        if response.status() != StatusCode::OK {
            return Err(format!("a token was answered {}", response.status()).into());
        }
    }
    Ok(median(&micros))
}

/// The median time of a user's list.
async fn list(sessions: &Sessions, secret: &Secret, held: usize) -> Result<f64> {
    let mut users: Vec<_> = (0..held / EACH).collect();
    Shuffle::new(1).shuffle(&mut users);
    users.truncate(LOOKS);
    let mut micros = Vec::with_capacity(users.len());
    for number in users {
        let user = user(number, secret);
        let started = Instant::now();
        let listed = sessions.list(&user).await?;
        micros.push(started.elapsed().as_nanos() as f64 / 1e3);
        if listed.len() != EACH {
            return Err(format!("a user has {} sessions instead of {EACH}", listed.len()).into());
        }
    }
    Ok(median(&micros))
}
