//! One wait for the store, whatever the layers must know.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use palisade::client::{IdentifyLayer, Network, Peer, Secret, UserId};
use palisade::config::Config;
use palisade::preflight::{Answer, Ask, Asked, PreflightLayer, Turn};
use palisade::rate_limit::{Policy, Quota, RateLimitLayer};
use palisade::segment::{Currency, Money, Order, Segment};
use palisade::stack::Stack;
use palisade::store::Operation;
use palisade::store::memory::MemoryStore;
use palisade::store::redis::RedisStore;
use palisade::suspicion::{Bans, SuspicionLayer};
use palisade_tests::SOON;
use palisade_tests::distance::Distance;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::standing_still;
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

/// Every layer that asks, under a deadline that no busy machine reaches.
const EVERYTHING: &str = "\
    [suspicion.bans]\nfor = '10m'\n\
    [segments]\n\
    [rate_limit.policies.user]\nquota = '3/1h'\n\
    [rate_limit.policies.user.by_segment]\nvip = '8/1h'\nnew = '3/1h'\n";

type Calls = Arc<Mutex<HashMap<Operation, usize>>>;

struct Service {
    stack: Stack,
    asked: Calls,
}

impl Service {
    fn of(store: &str) -> Self {
        let config = Config::from_toml(&format!("[store]\n{store}\n{EVERYTHING}")).unwrap();
        let asked = Calls::default();
        let told = Arc::clone(&asked);
        let stack = Stack::builder()
            .config(config)
            .user(|request: &Parts| Some(request.headers.get("user")?.to_str().ok()?.to_owned()))
            .observe_store(move |operation, _, _| {
                *told.lock().unwrap().entry(operation).or_default() += 1;
            })
            .build()
            .unwrap();
        Self { stack, asked }
    }

    fn on(server: &RedisServer) -> Self {
        Self::of(&format!("deadline = '10s'\nredis_url = '{}'", server.url()))
    }

    /// The body names the segment that the handler saw.
    async fn send(&self, octet: u8, user: Option<&str>) -> Response<Bytes> {
        let handler = service_fn(|request: Request<()>| async move {
            let segment = request.extensions().get::<Segment>();
            let seen = segment.map_or("none", |segment| segment.as_str());
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(seen)))
        });
        let mut request = Request::new(());
        request
            .extensions_mut()
            .insert(Peer(([192, 0, 2, octet], 5000).into()));
        if let Some(user) = user {
            request.headers_mut().insert("user", user.parse().unwrap());
        }
        let response = self.stack.layer(handler).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    /// How often these were asked since the last look, whatever the answer.
    fn asked(&self, operations: &[Operation]) -> Vec<usize> {
        let asked = self.asked.lock().unwrap();
        let times = |operation| asked.get(operation).copied().unwrap_or(0);
        operations.iter().map(times).collect()
    }

    /// Makes a VIP of a customer while nothing else is being written: of two answers at once this process would believe
    /// neither, and ask again.
    async fn become_vip(&self, user: &str) {
        let user = UserId::new(user, &Secret::from_bytes(b"a secret of the tests"));
        let customers = self.stack.customers().unwrap();
        assert_eq!(customers.flush(SOON).await.left, 0);
        let money = Money::new(50_001, Currency::USD);
        assert!(
            customers
                .record_order(&user, &Order::new("o-1", money))
                .await
                .unwrap()
        );
    }
}

const ON_THE_PATH: [Operation; 3] = [Operation::Admit, Operation::Fetch, Operation::Ban];

#[tokio::test]
async fn a_request_under_every_layer_waits_for_one_round_trip() {
    let server = RedisServer::start();
    let distance = Distance::before(&server).await;
    let service = Service::of(&format!(
        "deadline = '10s'\nredis_url = '{}'",
        distance.url()
    ));
    // The connection and the scripts' texts take round trips of their own.
    service.send(1, Some("ada")).await;
    let request = service.send(1, Some("grace"));
    let response = distance.in_one_round_trip(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body(), "new");
}

#[tokio::test]
async fn a_ban_is_asked_along_with_the_limits_and_a_known_customer_not_at_all() {
    let server = RedisServer::start();
    let service = Service::on(&server);
    assert_eq!(service.send(1, Some("ada")).await.into_body(), "new");
    assert_eq!(service.asked(&ON_THE_PATH), [1, 1, 0]);
    assert_eq!(service.send(1, Some("ada")).await.into_body(), "returning");
    assert_eq!(service.asked(&ON_THE_PATH), [2, 1, 0]);
    service.send(1, None).await;
    assert_eq!(service.asked(&ON_THE_PATH), [3, 1, 0]);
}

#[tokio::test]
async fn a_client_banned_elsewhere_is_refused_and_charged_nothing_and_then_asks_no_more() {
    let server = RedisServer::start();
    let (here, elsewhere) = (Service::on(&server), Service::on(&server));
    let network = Network::of([192, 0, 2, 1].into(), 64);
    assert_eq!(here.send(1, Some("ada")).await.status(), StatusCode::OK);
    let suspicions = elsewhere.stack.suspicions();
    suspicions
        .ban(network, Duration::from_secs(600))
        .await
        .unwrap();
    for asked in [2, 2, 2] {
        let response = here.send(1, Some("ada")).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let body = String::from_utf8(response.into_body().to_vec()).unwrap();
        assert!(body.contains("abnormal-usage-detected"), "{body}");
        assert_eq!(here.asked(&ON_THE_PATH)[0], asked);
    }
    // From elsewhere the user has the room that the refused requests did not take.
    let admitted = here.send(2, Some("ada")).await;
    let told = admitted.headers()["ratelimit"].to_str().unwrap();
    assert!(told.contains(r#""user";r=1;"#), "{told}");
    assert_eq!(here.stack.tally().policies().count(), 2);
}

#[tokio::test]
async fn a_stack_inside_of_another_asks_for_its_own_bans() {
    let server = RedisServer::start();
    let outer = Service::on(&server);
    let inner = Service::of("prefix = 'inner:'");
    let banned = Network::of([192, 0, 2, 1].into(), 64);
    let suspicions = inner.stack.suspicions();
    suspicions
        .ban(banned, Duration::from_secs(600))
        .await
        .unwrap();
    for (octet, status) in [(1, StatusCode::TOO_MANY_REQUESTS), (2, StatusCode::OK)] {
        let handler = service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        });
        let service = outer.stack.layer(inner.stack.layer(handler));
        let mut request = Request::new(());
        let peer = Peer(([192, 0, 2, octet], 5000).into());
        request.extensions_mut().insert(peer);
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn an_observer_that_panics_costs_no_request_its_store_and_no_other_observer_its_news() {
    let server = RedisServer::start();
    let config = format!(
        "[store]\ndeadline = '10s'\nredis_url = '{}'\n{EVERYTHING}",
        server.url()
    );
    let asked = Calls::default();
    let told = Arc::clone(&asked);
    let stack = Stack::builder()
        .config(Config::from_toml(&config).unwrap())
        .user(|request: &Parts| Some(request.headers.get("user")?.to_str().ok()?.to_owned()))
        .observe_store(|_, _, _| panic!("of the user's"))
        .observe_store(move |operation, _, _| {
            *told.lock().unwrap().entry(operation).or_default() += 1;
        })
        .build()
        .unwrap();
    let service = Service { stack, asked };
    for _ in 0..3 {
        let admitted = service.send(1, Some("ada")).await;
        assert_eq!(admitted.status(), StatusCode::OK);
    }
    let counts: Vec<_> = service.stack.tally().policies().map(|it| it.1).collect();
    assert!(counts.iter().all(|it| it.admitted == 3), "{counts:?}");
    assert_eq!(service.asked(&ON_THE_PATH)[0], 3);
}

#[tokio::test]
async fn a_known_denial_asks_neither_about_its_ban() {
    let server = RedisServer::start();
    let service = Service::on(&server);
    for _ in 0..3 {
        assert_eq!(service.send(1, Some("ada")).await.status(), StatusCode::OK);
    }
    assert_eq!(
        service.send(1, Some("ada")).await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    let before = service.asked(&ON_THE_PATH);
    for _ in 0..10 {
        let status = service.send(1, Some("ada")).await.status();
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(service.asked(&ON_THE_PATH), before);
}

#[tokio::test]
async fn a_known_denial_asks_for_no_customer_however_many_there_are() {
    let server = RedisServer::start();
    let limit = "[rate_limit]\nip = '2/1h'";
    let service = Service::of(&format!(
        "deadline = '10s'\nredis_url = '{}'\n{limit}",
        server.url()
    ));
    for user in ["ada", "grace", "edsger"] {
        service.send(1, Some(user)).await;
    }
    let before = service.asked(&ON_THE_PATH);
    for n in 0..100 {
        let response = service.send(1, Some(&format!("user-{n}"))).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(service.asked(&ON_THE_PATH), before);
    // Whoever was denied is no visitor: the customer is new when the first request passes.
    assert_eq!(service.send(2, Some("user-7")).await.into_body(), "new");
}

/// How many requests pass in a row.
async fn room(service: &Service, user: &str) -> usize {
    let mut passed = 0;
    while service.send(1, Some(user)).await.status() == StatusCode::OK {
        passed += 1;
    }
    passed
}

#[tokio::test]
async fn a_vip_has_the_quota_of_vips_and_keeps_the_history_on_both_stores() {
    let server = RedisServer::start();
    for service in [Service::on(&server), Service::of("")] {
        assert_eq!(
            service.send(1, Some("grace")).await.status(),
            StatusCode::OK
        );
        service.become_vip("grace").await;
        let response = service.send(1, Some("grace")).await;
        assert_eq!(
            response.headers()["ratelimit-policy"],
            r#""ip";q=200;w=60, "user";q=8;w=3600"#
        );
        assert_eq!(response.into_body(), "vip");
        // Two were admitted before.
        assert_eq!(room(&service, "grace").await, 6);
        let denied = service.send(1, Some("grace")).await;
        let body = String::from_utf8(denied.into_body().to_vec()).unwrap();
        assert!(body.contains("Maximum 8 requests per hour."), "{body}");
        assert_eq!(room(&service, "ada").await, 3);
        let denied = service.send(1, Some("ada")).await;
        let body = String::from_utf8(denied.into_body().to_vec()).unwrap();
        assert!(body.contains("Maximum 3 requests per hour."), "{body}");
    }
}

#[tokio::test]
async fn a_vip_whom_another_process_knows_is_not_denied_by_the_quota_of_everybody() {
    let server = RedisServer::start();
    let (here, elsewhere) = (Service::on(&server), Service::on(&server));
    elsewhere.send(1, Some("grace")).await;
    elsewhere.become_vip("grace").await;
    for _ in 0..4 {
        let admitted = elsewhere.send(1, Some("grace")).await;
        assert_eq!(admitted.status(), StatusCode::OK);
    }
    // Five of eight, where everybody else has three.
    let first = here.send(1, Some("grace")).await;
    assert_eq!(first.status(), StatusCode::OK);
    let told = first.headers()["ratelimit"].to_str().unwrap();
    assert!(told.contains(r#""user";r=2;"#), "{told}");
    assert_eq!(first.body(), "vip");
    // The one case of a second wait, and no charge of the first: neither of the user nor of the address.
    assert_eq!(here.asked(&ON_THE_PATH), [2, 1, 0]);
    assert!(told.contains(r#""ip";r=194;"#), "{told}");
    assert_eq!(room(&here, "grace").await, 2);
    let counts: Vec<_> = here.stack.tally().policies().map(|it| it.1).collect();
    assert_eq!((counts[1].admitted, counts[1].denied), (3, 1), "{counts:?}");

    // Whoever is no VIP is denied as before, after one wait.
    assert_eq!(room(&elsewhere, "ada").await, 3);
    let before = here.asked(&ON_THE_PATH);
    let denied = here.send(1, Some("ada")).await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(here.asked(&ON_THE_PATH), [before[0] + 1, before[1] + 1, 0]);
}

/// Finds out that everybody is a VIP, later.
struct Later;

impl Ask for Later {
    fn room(&self) -> &'static str {
        "segment"
    }

    fn turn(&self) -> Turn {
        Turn::Classify
    }

    fn waits(&self) -> bool {
        true
    }

    fn ask(&self, request: &mut Parts) -> Asked {
        if request.headers.contains_key("nobody-asks") {
            return Asked::Known;
        }
        Asked::Waits(Box::new(Later))
    }
}

impl Answer for Later {
    fn poll(&mut self, _: &mut Context<'_>, extensions: &mut Extensions, _: bool) -> Poll<()> {
        extensions.insert(Segment::Vip);
        Poll::Ready(())
    }
}

#[tokio::test]
async fn a_remembered_denial_of_everybody_is_none_of_a_vip() {
    let server = RedisServer::start();
    let store = RedisStore::builder(&server.url()).deadline(Duration::from_secs(10));
    let quota = |text: &str| text.parse::<Quota>().unwrap();
    let user = Policy::user()
        .quota(quota("3/1h"))
        .segment_quota(Segment::Vip, quota("5/1h"));
    let limits = RateLimitLayer::shared(store.build().unwrap(), MemoryStore::new());
    let limits = limits.policy(user).build().unwrap();
    let preflight = PreflightLayer::builder()
        .ask(Later)
        .ask(limits.clone())
        .build();
    let client = IdentifyLayer::builder().user(|_: &Parts| Some("grace".to_owned()));
    let service = ServiceBuilder::new()
        .layer(client.build().unwrap())
        .layer(preflight.unwrap())
        .layer(limits)
        .service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        });
    let send = async |is_asked: bool| {
        let mut request = Request::new(());
        let peer = Peer(([192, 0, 2, 1], 5000).into());
        request.extensions_mut().insert(peer);
        if !is_asked {
            let header = "yes".parse().unwrap();
            request.headers_mut().insert("nobody-asks", header);
        }
        service
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    for status in [200, 200, 200, 429, 429] {
        assert_eq!(send(false).await, status);
    }
    for status in [200, 200, 429, 429] {
        assert_eq!(send(true).await, status);
    }
}

#[tokio::test]
async fn a_hung_redis_costs_a_request_one_deadline_and_then_nothing() {
    let server = RedisServer::start();
    const DEADLINE: Duration = Duration::from_secs(2);
    let service = Service::of(&format!("deadline = '2s'\nredis_url = '{}'", server.url()));
    let healthy = standing_still(service.send(1, Some("ada"))).await;
    assert_eq!(healthy.status(), StatusCode::OK);
    server.pause();
    // Goes on to the deadline at once.
    tokio::time::pause();
    let start = Instant::now();
    let response = service.send(2, Some("grace")).await;
    let took = start.elapsed();
    assert_eq!(
        (response.status(), &**response.body()),
        (StatusCode::OK, &b"none"[..])
    );
    assert!(took < 2 * DEADLINE, "{took:?}");
    while !service.stack.store_health().unwrap().is_breaker_open() {
        service.send(2, None).await;
    }
    let before = service.asked(&ON_THE_PATH);
    let start = Instant::now();
    for octet in 10..60 {
        assert_eq!(service.send(octet, None).await.status(), StatusCode::OK);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    // Told of as rejected, without a question.
    let asked = service.asked(&ON_THE_PATH);
    assert_eq!((asked[0], asked[1]), (before[0] + 50, before[1]));
    server.resume();
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_takes_nothing_along() {
    let server = RedisServer::start();
    let service = Service::on(&server);
    service.send(1, Some("ada")).await;
    for n in 0..50 {
        let user = format!("grace-{n}");
        let mut request = pin!(service.send(1, Some(&user)));
        poll_fn(|cx| {
            assert!(request.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        // Some before the questions have left, some after.
        for _ in 0..n % 4 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(service.send(1, Some("ada")).await.into_body(), "returning");
}

/// Bans that the limits' store does not know of would let banned clients pass.
#[test]
fn bans_in_another_store_than_the_limits_are_refused_by_name() {
    let store = |url: &str, prefix: &str| {
        let builder = RedisStore::builder(url).prefix(prefix);
        builder.build().unwrap()
    };
    let preflight = |of_bans: RedisStore, of_limits: RedisStore| {
        let local = MemoryStore::new();
        let bans = Bans::shared(of_bans.clone(), local.clone());
        let suspicion = SuspicionLayer::shared(of_bans, local.clone()).bans(bans);
        let limits = RateLimitLayer::shared(of_limits, local).build().unwrap();
        let builder = PreflightLayer::builder().ask(limits);
        builder.ask(suspicion.build().unwrap()).build()
    };
    let url = "redis://:hunter2@127.0.0.1:1/3";
    assert!(preflight(store(url, "shop:"), store(url, "shop:")).is_ok());
    for (url, prefix, place) in [
        (url, "bans:", "database 3 of 127.0.0.1:1 under `bans:`"),
        (
            "redis://127.0.0.1:1",
            "shop:",
            "database 0 of 127.0.0.1:1 under `shop:`",
        ),
        (
            "redis://127.0.0.1:2/3",
            "shop:",
            "database 3 of 127.0.0.1:2 under `shop:`",
        ),
    ] {
        let refused = preflight(store(url, prefix), store("redis://127.0.0.1:1/3", "shop:"));
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!(
                "`preflight` cannot be `rate_limit with database 3 of 127.0.0.1:1 under `shop:``: allowed is the store of \
                 suspicion, {place}: the question about a ban travels in the call of the limits, so build both layers of \
                 clones of one store"
            )
        );
    }
}
