//! The layer around real services, without a network.

mod changes;
mod outage;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};

use super::store::{Admit, AdmitNow, Charge, LocalStore, Logs, Reply, Store, Tier, Verdict};
use super::*;
use crate::model::{Client, Country, Network, Route, Secret, UserId};
use crate::store::memory::{Hand, MemoryStore};

type Body = Full<Bytes>;
type Passed = crate::body::Body<Body>;

fn hand_store() -> (Hand, MemoryStore) {
    let hand = Hand::default();
    (
        hand.clone(),
        MemoryStore::builder().clock(hand).build().unwrap(),
    )
}

fn one_a_minute() -> RateLimitLayerBuilder {
    let (_, store) = hand_store();
    RateLimitLayer::embedded(store).policy(Policy::ip().quota(quota("1/1m")))
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

async fn send<S>(service: &mut S, request: Request<Body>) -> Response<Passed>
where
    S: Service<Request<Body>, Response = Response<Passed>, Error = Infallible>,
{
    service.ready().await.unwrap().call(request).await.unwrap()
}

async fn text(response: Response<Passed>) -> String {
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
        (Reason::QUOTA_EXCEEDED, 2)
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
    let layer = one_a_minute().build().unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    send(&mut service, request(1, None)).await;
    let mut call = request(1, None);
    *call.method_mut() = Method::POST;
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
    let layer = one_a_minute()
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
    let layer = one_a_minute().build().unwrap();
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
async fn a_refused_request_gives_back_what_the_inner_service_reserved() {
    let layer = one_a_minute().build().unwrap();
    let one_at_a_time = tower::limit::ConcurrencyLimit::new(tower::service_fn(echo), 1);
    let mut service = layer.layer(one_at_a_time);
    let mut other = service.clone();
    assert_eq!(send(&mut service, request(1, None)).await.status(), 200);
    assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    // The refused clone is idle; another one is not kept waiting for it.
    assert_eq!(send(&mut other, request(2, None)).await.status(), 200);
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
