//! How often a request allocates: `cargo test -p palisade-tests --test allocations -- --nocapture` prints it.

use std::convert::Infallible;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Empty;
use palisade::client::Peer;
use palisade::config::Config;
use palisade::ops::Ops;
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
