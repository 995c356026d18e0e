//! How often a request allocates: `cargo test -p palisade-tests --test allocations -- --nocapture` prints it.

use std::convert::Infallible;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use palisade::client::Peer;
use palisade::config::Config;
use palisade::ops::Ops;
use palisade::session::NewSession;
use palisade::stack::{Stack, StackBuilder};
use palisade_tests::redis::RedisServer;
use tower::{Layer, Service, ServiceExt, service_fn};

// Apart from the tests of memory: this allocator writes zeroes where the system's finds them.
#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

const REQUESTS: u64 = 500;
const LIMITS: &str = "[rate_limit]\nip = '1000000/1h'\nuser = '1000000/1h'\n";
const EVERYTHING: &str = "[suspicion.bans]\n[segments]\n[funnel]\nvisitors = '24h'\n";

/// Allocations of a request by one user from one address, in the steady state, beyond those of the handler and of
/// making the request.
async fn each(config: &str) -> f64 {
    of_each(config, |builder| builder).await
}

/// As [`each`], for a stack that is built further.
async fn of_each(config: &str, also: impl FnOnce(StackBuilder) -> StackBuilder) -> f64 {
    let builder = Stack::builder()
        .config(Config::from_toml(config).unwrap())
        .user(|request: &Parts| Some(request.headers.get("user")?.to_str().ok()?.to_owned()));
    let stack = also(builder).build().unwrap();
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut service = stack.layer(handler);
    let request = || {
        let mut request = Request::new(());
        let peer = Peer(([192, 0, 2, 1], 5000).into());
        request.extensions_mut().insert(peer);
        request.headers_mut().insert("user", "ada".parse().unwrap());
        request
    };
    for _ in 0..100 {
        service
            .ready()
            .await
            .unwrap()
            .call(request())
            .await
            .unwrap();
    }
    let requests: Vec<_> = (0..REQUESTS).map(|_| request()).collect();
    let before = dhat::HeapStats::get().total_blocks;
    for request in requests {
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    (dhat::HeapStats::get().total_blocks - before) as f64 / REQUESTS as f64
}

/// Allocations of a request with one session, or each with one that this process has not seen.
async fn of_sessions(stack: &Stack, first: bool) -> f64 {
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut service = stack.layer(handler);
    let sessions = stack.sessions().unwrap();
    let mut requests = Vec::new();
    let mut bearer: Option<HeaderValue> = None;
    for _ in 0..100 + REQUESTS {
        if first || bearer.is_none() {
            let begun = sessions.begin(&sessions.user("ada")).await.unwrap();
            let issued = sessions.create(begun, NewSession::new()).await.unwrap();
            bearer = Some(format!("Bearer {}", issued.token.expose()).parse().unwrap());
        }
        let mut request = Request::new(());
        let peer = Peer(([192, 0, 2, 1], 5000).into());
        request.extensions_mut().insert(peer);
        request
            .headers_mut()
            .insert("authorization", bearer.clone().unwrap());
        requests.push(request);
    }
    let measured = requests.split_off(100);
    for request in requests {
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    let before = dhat::HeapStats::get().total_blocks;
    for request in measured {
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    (dhat::HeapStats::get().total_blocks - before) as f64 / REQUESTS as f64
}

#[tokio::test]
async fn a_request_allocates_as_little_as_is_documented() {
    let profiler = dhat::Profiler::builder().testing().build();
    let server = RedisServer::start();
    let redis = format!(
        "[store]\ndeadline = '10s'\nredis_url = '{}'\n",
        server.url()
    );
    // A little room, since a log or a buffer grows now and then.
    for (name, config, most) in [
        ("memory", LIMITS.to_owned(), 8.5),
        ("memory, every layer", format!("{LIMITS}{EVERYTHING}"), 10.5),
        ("Redis", format!("{redis}{LIMITS}"), 30.0),
        (
            "Redis, every layer",
            format!("{redis}{LIMITS}{EVERYTHING}"),
            36.0,
        ),
    ] {
        let found = each(&config).await;
        println!("{name}: {found:.1} allocations a request");
        assert!(
            found <= most,
            "{name}: {found} allocations a request, above {most}"
        );
    }
    // A known session costs its claim, its places among the request's extensions and what the handler reads; a first sight a
    // second way for the request to go.
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "the secret of all processes").unwrap();
    let sessions = format!("[sessions]\nmax_per_user = 1000\n{LIMITS}{EVERYTHING}");
    let shared = format!(
        "{redis}secret_file = '{}'\n{sessions}",
        secret.path().display()
    );
    for (name, config, first, most) in [
        (
            "memory, every layer, a known session",
            &sessions,
            false,
            13.0,
        ),
        ("memory, every layer, a first sight", &sessions, true, 17.0),
        ("Redis, every layer, a known session", &shared, false, 36.0),
        ("Redis, every layer, a first sight", &shared, true, 90.0),
    ] {
        let stack = Stack::builder()
            .config(Config::from_toml(config).unwrap())
            .build()
            .unwrap();
        let found = of_sessions(&stack, first).await;
        println!("{name}: {found:.1} allocations a request");
        assert!(
            found <= most,
            "{name}: {found} allocations a request, above {most}"
        );
    }
    // Observers cost four, however many they are: what the exchange came to, what the layers note of it, and a place for
    // that among the request's extensions, which grow for a fourth. Nobody subscribed to the access log's few lines here.
    let ops = Ops::new("shop");
    let log = format!("[log]\naccess = 10\n{LIMITS}");
    let unobserved = each(LIMITS).await;
    for (name, observed) in [
        ("access log", each(&log).await),
        (
            "access log and live page",
            of_each(&log, |builder| builder.ops(&ops)).await,
        ),
    ] {
        println!("memory, {name}: {observed:.1} allocations a request");
        let more = observed - unobserved;
        assert!((3.5..4.5).contains(&more), "{name}: {more} more");
    }
    drop(profiler);
}
