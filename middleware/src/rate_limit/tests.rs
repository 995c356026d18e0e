//! The layer around real services, without a network.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};

use super::*;
use crate::client::{Client, Country, Network, Route, Secret, UserId};
use crate::store::memory::{Clock, MemoryStore};

type Body = Full<Bytes>;

/// A clock that stands until it is moved.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn hand_store() -> (Hand, MemoryStore) {
    let hand = Hand::default();
    (
        hand.clone(),
        MemoryStore::builder().clock(hand).build().unwrap(),
    )
}

/// Answers with the extensions that it found.
fn echo(request: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    let mut response = Response::new(Full::from("inner"));
    if let Some(decision) = request.extensions().get::<Decision>() {
        response.extensions_mut().insert(decision.clone());
    }
    ready(Ok(response))
}

fn request(octet: u8, user: Option<&str>) -> Request<Body> {
    let address = [192, 0, 2, octet].into();
    let secret = Secret::from_bytes(b"test");
    let mut request = Request::new(Full::default());
    request.extensions_mut().insert(Client {
        address,
        network: Network::of(address, 64),
        user: user.map(|user| UserId::new(user, &secret)),
        country: Country::OTHER,
        route: Route::from("/things"),
    });
    request
}

async fn send<S>(service: &mut S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    service.ready().await.unwrap().call(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

/// A store that fails while its switch is on, and otherwise is a memory store that others share.
#[derive(Clone)]
struct Shaky {
    store: MemoryStore,
    fails: Arc<std::sync::atomic::AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Shaky {
    fn new(store: MemoryStore) -> Self {
        Self {
            store,
            fails: Arc::default(),
            asked: Arc::default(),
        }
    }

    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Store for Shaky {
    fn bind(&self, policies: &[Arc<str>]) -> Arc<dyn Admit> {
        Arc::new(BoundShaky {
            bound: self.store.bind_local(policies),
            shaky: self.clone(),
        })
    }
}

struct BoundShaky {
    bound: Arc<dyn AdmitNow>,
    shaky: Shaky,
}

impl Admit for BoundShaky {
    fn is_failing(&self) -> bool {
        self.shaky.fails.load(Ordering::Relaxed)
    }

    fn admit(&self, charges: &[Charge<'_>]) -> Admission {
        self.shaky.asked.fetch_add(1, Ordering::Relaxed);
        let result = if self.shaky.fails.load(Ordering::Relaxed) {
            Err(StoreError::new(StoreErrorKind::Failed))
        } else {
            Ok(self.bound.admit_now(charges))
        };
        // Later, as a server's answer comes.
        Admission::Pending(Box::pin(async {
            tokio::task::yield_now().await;
            result
        }))
    }
}

#[tokio::test]
async fn denies_the_201st_request_in_any_window() {
    let (hand, store) = hand_store();
    let layer = RateLimitLayer::embedded(store).build().unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    for left in (0..200).rev() {
        let response = send(&mut service, request(1, None)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["ratelimit-policy"], r#""ip";q=200;w=60"#);
        assert_eq!(
            response.headers()["ratelimit"],
            format!(r#""ip";r={left};t=60"#)
        );
    }
    hand.advance(Duration::from_millis(17_500));
    let denied = send(&mut service, request(1, None)).await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(denied.headers()["retry-after"], "43");
    assert_eq!(denied.headers()["ratelimit"], r#""ip";r=0;t=43"#);
    assert_eq!(denied.headers()["content-type"], "application/problem+json");
    let body: serde_json::Value = serde_json::from_str(&text(denied).await).unwrap();
    let expected = serde_json::json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "Rate limit exceeded for IP. Maximum 200 requests per minute.",
        "violated-policies": ["ip"],
    });
    assert_eq!(body, expected);

    hand.advance(Duration::from_micros(42_499_999));
    assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    hand.advance(Duration::from_micros(1));
    assert_eq!(send(&mut service, request(1, None)).await.status(), 200);
}

#[tokio::test]
async fn a_denied_user_spends_nothing_of_its_neighbours_ip_quota() {
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store).build().unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    for _ in 0..60 {
        assert_eq!(
            send(&mut service, request(1, Some("greedy")))
                .await
                .status(),
            200
        );
    }
    for _ in 0..500 {
        let denied = send(&mut service, request(1, Some("greedy"))).await;
        assert_eq!(denied.status(), 429);
        assert_eq!(
            denied.headers()["ratelimit"],
            r#""ip";r=140;t=60, "user";r=0;t=60"#
        );
        assert!(
            text(denied)
                .await
                .contains("Rate limit exceeded for user. Maximum 60 requests per minute.")
        );
    }
    for _ in 0..140 {
        assert_eq!(send(&mut service, request(1, None)).await.status(), 200);
    }
    assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    let counts: Vec<_> = layer
        .tally()
        .policies()
        .map(|(name, counts)| (name.to_owned(), counts))
        .collect();
    assert_eq!((counts[0].1.admitted, counts[0].1.denied), (200, 1));
    assert_eq!(
        (
            counts[1].1.admitted,
            counts[1].1.denied,
            counts[1].1.exceeded
        ),
        (60, 500, 500)
    );
}

#[tokio::test]
async fn lists_every_violated_policy_and_the_later_retry() {
    let (hand, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(Policy::new("a", PartitionBy::Ip, quota("1/10s")))
        .policy(Policy::new("b", PartitionBy::Ip, quota("1/1m")))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    assert_eq!(send(&mut service, request(1, None)).await.status(), 200);
    hand.advance(Duration::from_secs(1));
    let denied = send(&mut service, request(1, None)).await;
    assert_eq!(denied.headers()["retry-after"], "59");
    let rejected = denied.extensions().get::<Rejected>().unwrap();
    assert_eq!(
        (rejected.reason, rejected.policies.len()),
        (Reason::QuotaExceeded, 2)
    );
    let body: serde_json::Value = serde_json::from_str(&text(denied).await).unwrap();
    assert_eq!(body["violated-policies"], serde_json::json!(["a", "b"]));
}

#[tokio::test]
async fn a_dry_run_decides_and_counts_but_lets_pass_and_stays_out_of_the_headers() {
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(Policy::ip().quota(quota("3/1m")))
        .policy(Policy::new("strict", PartitionBy::Ip, quota("1/1m")).dry_run())
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    for _ in 0..3 {
        let response = send(&mut service, request(1, None)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["ratelimit-policy"], r#""ip";q=3;w=60"#);
    }
    assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    let tally = layer.tally();
    let strict = tally
        .policies()
        .find(|(name, _)| *name == "strict")
        .unwrap()
        .1;
    assert_eq!(
        (
            strict.admitted,
            strict.dry_run_denied,
            strict.denied,
            strict.exceeded
        ),
        // The fourth was denied by the other policy, and is no statement of this one.
        (1, 2, 0, 0)
    );
}

#[tokio::test]
async fn routes_costs_and_exemptions_choose_what_a_request_meets() {
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(
            Policy::new("post", PartitionBy::Ip, quota("10/1m"))
                .routes(["POST /things".parse().unwrap()])
                .cost_with(|parts| {
                    parts
                        .headers
                        .get("x-cost")
                        .map_or(1, |cost| cost.to_str().unwrap().parse().unwrap())
                }),
        )
        .exempt(
            Exemptions::new()
                .cidrs(["192.0.2.9"])
                .unwrap()
                .users(["root"])
                .unwrap(),
        )
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    let post = |octet, user, cost: &str| {
        let mut request = request(octet, user);
        *request.method_mut() = Method::POST;
        request
            .headers_mut()
            .insert("x-cost", cost.parse().unwrap());
        request
    };
    assert!(
        !send(&mut service, request(1, None))
            .await
            .headers()
            .contains_key("ratelimit")
    );
    assert_eq!(
        send(&mut service, post(1, None, "7")).await.headers()["ratelimit"],
        r#""post";r=3;t=60"#
    );
    let denied = send(&mut service, post(1, None, "4")).await;
    assert_eq!(
        (denied.status().as_u16(), &denied.headers()["ratelimit"]),
        (429, &r#""post";r=3;t=60"#.parse().unwrap())
    );
    assert_eq!(send(&mut service, post(1, None, "3")).await.status(), 200);
    assert!(
        !send(&mut service, post(1, None, "0"))
            .await
            .headers()
            .contains_key("ratelimit")
    );
    let never = send(&mut service, post(1, None, "11")).await;
    assert_eq!(never.status(), 429);
    assert!(!never.headers().contains_key("retry-after"));
    for exempt in [post(9, None, "1"), post(1, Some("root"), "1")] {
        let response = send(&mut service, exempt).await;
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers().contains_key("ratelimit")
            ),
            (200, false)
        );
    }
}

#[tokio::test]
async fn grpc_is_answered_in_its_own_terms() {
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(Policy::ip().quota(quota("1/1m")))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    send(&mut service, request(1, None)).await;
    let mut call = request(1, None);
    call.headers_mut()
        .insert("content-type", "application/grpc+proto".parse().unwrap());
    let denied = send(&mut service, call).await;
    assert_eq!(denied.status(), 200);
    let headers = denied.headers();
    assert_eq!(
        (&headers["grpc-status"], &headers["content-type"]),
        (&"8".parse().unwrap(), &"application/grpc".parse().unwrap())
    );
    assert_eq!(
        headers["grpc-message"],
        "Rate limit exceeded for IP. Maximum 1 requests per minute."
    );
    assert!(headers.contains_key("grpc-status-details-bin") && headers.contains_key("ratelimit"));
    assert!(text(denied).await.is_empty());
}

#[tokio::test]
async fn a_service_can_write_its_own_refusals() {
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(Policy::ip().quota(quota("1/1m")))
        .reject_with(|rejection| {
            let mut response = Response::new(Bytes::from(format!("no: {:?}", rejection.policies)));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        })
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    send(&mut service, request(1, None)).await;
    let denied = send(&mut service, request(1, None)).await;
    assert_eq!(
        (denied.status().as_u16(), &denied.headers()["retry-after"]),
        (418, &"60".parse().unwrap())
    );
    assert!(denied.headers().contains_key("ratelimit"));
    assert_eq!(text(denied).await, r#"no: ["ip"]"#);
}

#[tokio::test]
async fn handlers_can_read_the_decision() {
    let (_, store) = hand_store();
    let mut service = RateLimitLayer::embedded(store)
        .build()
        .unwrap()
        .layer(tower::service_fn(echo));
    let response = send(&mut service, request(1, Some("ada"))).await;
    let decision = response.extensions().get::<Decision>().unwrap();
    let read: Vec<_> = decision.policies().map(|p| (p.name, p.remaining)).collect();
    assert_eq!(read, [("ip", 199), ("user", 59)]);
}

#[tokio::test]
async fn without_a_client_layer_all_requests_are_one_client() {
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(Policy::ip().quota(quota("1/1m")))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    assert_eq!(
        send(&mut service, Request::new(Full::default()))
            .await
            .status(),
        200
    );
    assert_eq!(
        send(&mut service, Request::new(Full::default()))
            .await
            .status(),
        429
    );
}

#[tokio::test]
async fn a_known_denial_does_not_reach_a_shared_store() {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    let layer = RateLimitLayer::shared(shaky.clone(), MemoryStore::new())
        .policy(Policy::ip().quota(quota("2/1m")))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    for expected in [200, 200, 429, 429, 429] {
        let response = send(&mut service, request(1, None)).await;
        assert_eq!(response.status(), expected);
        if expected == 429 {
            assert_eq!(response.headers()["ratelimit"], r#""ip";r=0;t=60"#);
            assert_eq!(response.headers()["retry-after"], "60");
        }
    }
    assert_eq!(shaky.asked(), 3);
    assert_eq!(layer.tally().policies().next().unwrap().1.denied, 3);
}

async fn statuses_in_an_outage(
    policies: Vec<Policy>,
    requests: usize,
) -> (Vec<u16>, Vec<PolicyCounts>) {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    shaky.fail(true);
    let builder = RateLimitLayer::shared(shaky, MemoryStore::new());
    let layer = policies
        .into_iter()
        .fold(builder, RateLimitLayerBuilder::policy)
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(send(&mut service, request(1, None)).await.status().as_u16());
    }
    (
        statuses,
        layer.tally().policies().map(|(_, counts)| counts).collect(),
    )
}

#[tokio::test]
async fn in_an_outage_a_local_policy_keeps_limiting_in_this_process() {
    let (statuses, counts) =
        statuses_in_an_outage(vec![Policy::ip().quota(quota("2/1m"))], 4).await;
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(
        (
            counts[0].fallback_admitted,
            counts[0].fallback_denied,
            counts[0].exceeded
        ),
        (2, 2, 2)
    );
}

#[tokio::test]
async fn in_an_outage_an_open_policy_lets_pass_and_a_closed_one_answers_503() {
    let open = || {
        Policy::ip()
            .quota(quota("1/1m"))
            .on_store_failure(OnStoreFailure::Open)
    };
    let (statuses, counts) = statuses_in_an_outage(vec![open()], 3).await;
    assert_eq!((statuses, counts[0].fallback_admitted), (vec![200; 3], 3));

    let closed =
        Policy::new("pay", PartitionBy::Ip, quota("9/1m")).on_store_failure(OnStoreFailure::Closed);
    let (statuses, counts) = statuses_in_an_outage(vec![open(), closed.clone()], 2).await;
    assert_eq!(
        (statuses, counts[1].fallback_denied, counts[1].exceeded),
        (vec![503; 2], 2, 0)
    );
    assert_eq!(counts[0].fallback_admitted, 0);

    let (statuses, counts) = statuses_in_an_outage(vec![closed.dry_run()], 2).await;
    assert_eq!((statuses, counts[0].dry_run_denied), (vec![200; 2], 2));
}

#[tokio::test]
async fn a_remembered_denial_stands_in_an_outage_only_where_the_policy_is_local() {
    for (mode, expected) in [
        (OnStoreFailure::Local, 429),
        (OnStoreFailure::Open, 200),
        (OnStoreFailure::Closed, 503),
    ] {
        let (_, memory) = hand_store();
        let shaky = Shaky::new(memory);
        let layer = RateLimitLayer::shared(shaky.clone(), MemoryStore::new())
            .policy(Policy::ip().quota(quota("1/24h")).on_store_failure(mode))
            .build()
            .unwrap();
        let mut service = layer.layer(tower::service_fn(echo));
        for expected in [200, 429, 429] {
            assert_eq!(
                send(&mut service, request(1, None)).await.status(),
                expected
            );
        }
        shaky.fail(true);
        let response = send(&mut service, request(1, None)).await;
        assert_eq!(response.status(), expected, "{mode:?}");
        shaky.fail(false);
        assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    }
}

#[tokio::test]
async fn a_remembered_denial_says_what_the_store_said_of_a_cost_above_1() {
    let (hand, memory) = hand_store();
    let layer = RateLimitLayer::shared(Shaky::new(memory), MemoryStore::new())
        .policy(Policy::ip().quota(quota("10/1m")).cost(5))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    send(&mut service, request(1, None)).await;
    hand.advance(Duration::from_secs(50));
    send(&mut service, request(1, None)).await;
    let asked = send(&mut service, request(1, None)).await;
    let remembered = send(&mut service, request(1, None)).await;
    assert_eq!(asked.status(), 429);
    assert_eq!(asked.headers()["ratelimit"], r#""ip";r=0;t=10"#);
    assert_eq!(
        remembered.headers()["ratelimit"],
        asked.headers()["ratelimit"]
    );
    assert_eq!(
        remembered.headers()["retry-after"],
        asked.headers()["retry-after"]
    );
}

#[tokio::test]
async fn a_dry_run_counts_the_same_on_both_kinds_of_store() {
    let policies = || {
        [
            Policy::ip().quota(quota("2/1m")),
            Policy::new("strict", PartitionBy::Ip, quota("1/1m")).dry_run(),
        ]
    };
    let embedded = RateLimitLayer::embedded(MemoryStore::new());
    let shared = RateLimitLayer::shared(Shaky::new(MemoryStore::new()), MemoryStore::new());
    for builder in [embedded, shared] {
        let layer = policies()
            .into_iter()
            .fold(builder, RateLimitLayerBuilder::policy)
            .build()
            .unwrap();
        let mut service = layer.layer(tower::service_fn(echo));
        for _ in 0..50 {
            send(&mut service, request(1, None)).await;
        }
        let counts: Vec<_> = layer.tally().policies().map(|(_, counts)| counts).collect();
        assert_eq!((counts[0].admitted, counts[0].denied), (2, 48));
        assert_eq!((counts[1].admitted, counts[1].dry_run_denied), (1, 1));
    }
}

#[tokio::test]
async fn a_refused_request_gives_back_what_the_inner_service_reserved() {
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(Policy::ip().quota(quota("1/1m")))
        .build()
        .unwrap();
    let one_at_a_time = tower::limit::ConcurrencyLimit::new(tower::service_fn(echo), 1);
    let mut service = layer.layer(one_at_a_time);
    let mut other = service.clone();
    assert_eq!(send(&mut service, request(1, None)).await.status(), 200);
    assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    // The refused clone is idle; another one is not kept waiting for it.
    assert_eq!(send(&mut other, request(2, None)).await.status(), 200);
}

#[tokio::test]
async fn a_503_names_the_policy_that_cannot_be_checked() {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    shaky.fail(true);
    let layer = RateLimitLayer::shared(shaky, MemoryStore::new())
        .policy(Policy::ip().on_store_failure(OnStoreFailure::Closed))
        .build()
        .unwrap();
    let response = send(&mut layer.layer(tower::service_fn(echo)), request(1, None)).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["ratelimit-policy"], r#""ip";q=200;w=60"#);
    assert!(!response.headers().contains_key("ratelimit"));
    let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(
        body["type"],
        "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    );
    assert_eq!(
        (&body["status"], &body["violated-policies"]),
        (&503.into(), &serde_json::json!(["ip"]))
    );
}

#[tokio::test]
async fn an_outage_and_its_end_add_at_most_one_quota_to_a_window() {
    let (_, memory) = hand_store();
    let shaky = Shaky::new(memory);
    let layer = RateLimitLayer::shared(shaky.clone(), MemoryStore::new())
        // Without it the shared log's denial would stand through the next outage, and admit less still.
        .deny_cache(0)
        .policy(Policy::ip().quota(quota("5/1m")))
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    let mut admitted = 0;
    for round in 0..60 {
        // The store comes and goes twenty times within one window.
        shaky.fail(round / 3 % 2 == 1);
        admitted += u32::from(send(&mut service, request(1, None)).await.status() == 200);
    }
    assert_eq!(admitted, 10);
}

#[test]
fn refuses_policies_that_cannot_stand_together() {
    let build = |policies: Vec<Policy>| {
        let builder = RateLimitLayer::embedded(MemoryStore::new());
        policies
            .into_iter()
            .fold(builder, RateLimitLayerBuilder::policy)
            .build()
            .map(|_| ())
    };
    assert_eq!(
        build(vec![Policy::ip(), Policy::ip()]).unwrap_err().key(),
        "name"
    );
    let many = (0..33)
        .map(|n| Policy::new(format!("p{n}"), PartitionBy::Ip, quota("1/1m")))
        .collect();
    assert_eq!(build(many).unwrap_err().key(), "policies");
    assert!(build(vec![]).is_ok());
}

static_assertions::assert_impl_all!(RateLimitLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(RateLimit<()>: Send, Sync, Clone);

#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: &T) {}
    let mut service = RateLimitLayer::embedded(MemoryStore::new())
        .build()
        .unwrap()
        .layer(tower::service_fn(echo));
    is_send(&service.call(request(1, None)));
}
