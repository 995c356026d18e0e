//! The layer around real services, without a network.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};

mod events;
mod logins;

use super::store::{Counts, FailedRequest, FailureStore, Reply, Rule};
use super::*;
use crate::body::Body;
use crate::model::{Client, Exemptions, Route, Secret, StoreError, StoreErrorKind, UserId};
use crate::rate_limit::{Policy, RateLimitLayer};
use crate::store::memory::{Hand, MemoryStore};

fn hand_store() -> (Hand, MemoryStore) {
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone());
    (hand, store.build().unwrap())
}

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Answers with the status that the request's path begins with.
fn answer(request: Request<()>) -> Ready<Answer> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = request.uri().path()[1..4].parse().unwrap();
    ready(Ok(response))
}

/// A request for a path that nobody asked for before.
fn request(octet: u8, status: u16, user: Option<&str>) -> Request<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let path = ASKED.fetch_add(1, Ordering::Relaxed);
    let mut client = Client::new(Ipv4Addr::new(192, 0, 2, octet).into(), 64);
    client.user = user.map(|user| UserId::new(user, &Secret::from_bytes(b"test")));
    client.route = Route::from("/login");
    let mut request = Request::builder()
        .uri(format!("/{status}/{path}"))
        .body(())
        .unwrap();
    request.extensions_mut().insert(client);
    request
}

/// A layer around [`answer`], and a way to wait until what it noted is counted.
struct Watched {
    layer: SuspicionLayer,
    sent: u64,
}

impl Watched {
    fn new(builder: SuspicionLayerBuilder) -> Self {
        Self {
            layer: builder.build().unwrap(),
            sent: 0,
        }
    }

    async fn ask(&mut self, request: Request<()>) -> Response<Body<Full<Bytes>>> {
        let service = self.layer.layer(tower::service_fn(answer));
        service.oneshot(request).await.unwrap()
    }

    /// A request that fails, is counted, and whose incidents are known.
    async fn fail(&mut self, octet: u8, status: u16) {
        self.ask(request(octet, status, None)).await;
        self.sent += 1;
        self.settled(self.sent).await;
    }

    async fn settled(&self, failures: u64) {
        let tally = self.layer.tally();
        let all = || {
            FailureResult::ALL
                .map(|result| tally.failures(result))
                .iter()
                .sum::<u64>()
        };
        while all() < failures {
            tokio::task::yield_now().await;
        }
        assert_eq!(all(), failures);
    }

    /// Incidents in the order of [`IncidentKind::BY_STATUS`].
    fn incidents(&self) -> [u64; 4] {
        let tally = self.layer.tally();
        IncidentKind::BY_STATUS.map(|kind| tally.incidents(kind))
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let thresholds =
        IncidentKind::BY_STATUS.map(|kind| format!("{kind} {}", kind.default_threshold()));
    assert_eq!(
        thresholds,
        [
            "credential_stuffing 5/5m",
            "endpoint_scanning 10/5m",
            "abuse 20/5m",
            "credential_stuffing_slow 20/2h"
        ]
    );
    let kinds = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        IncidentKind::BY_STATUS.map(|kind| u8::from(kind.counts(status)))
    };
    assert_eq!(kinds(401), [1, 0, 1, 1]);
    assert_eq!(kinds(404), [0, 1, 1, 0]);
    for status in [400, 403, 418, 499] {
        assert_eq!(kinds(status), [0, 0, 1, 0]);
    }
    for status in [200, 302, 399, 429, 500, 503] {
        assert_eq!(kinds(status), [0; 4], "{status}");
    }
}

#[tokio::test]
async fn each_kind_fires_once_at_its_threshold_and_not_before() {
    for (status, edges) in [
        (401, vec![(5, [1, 0, 0, 0]), (20, [1, 0, 1, 1])]),
        (404, vec![(10, [0, 1, 0, 0]), (20, [0, 1, 1, 0])]),
        (403, vec![(20, [0, 0, 1, 0])]),
    ] {
        let (_, store) = hand_store();
        let mut watched = Watched::new(SuspicionLayer::embedded(store));
        let mut expected = [0; 4];
        for n in 1..=40 {
            watched.fail(1, status).await;
            if let Some((_, edge)) = edges.iter().find(|(at, _)| *at == n) {
                expected = *edge;
            }
            assert_eq!(watched.incidents(), expected, "{status}, failure {n}");
        }
    }
}

#[tokio::test]
async fn failures_of_different_clients_do_not_add_up() {
    let (_, store) = hand_store();
    let mut watched = Watched::new(SuspicionLayer::embedded(store));
    for octet in 1..=20 {
        for _ in 0..4 {
            watched.fail(octet, 401).await;
        }
    }
    assert_eq!(watched.incidents(), [0; 4]);
}

#[tokio::test]
async fn neither_successes_nor_the_services_own_429_and_5xx_are_written() {
    let (_, store) = hand_store();
    let mut watched = Watched::new(SuspicionLayer::embedded(store.clone()));
    for status in [200, 204, 302, 429, 500, 503] {
        for _ in 0..50 {
            watched.ask(request(1, status, None)).await;
        }
    }
    watched.fail(2, 404).await;
    assert_eq!(store.keys(), 2, "one failure, of two kinds");
    assert_eq!(watched.incidents(), [0; 4]);
}

#[tokio::test]
async fn a_refusal_of_the_rate_limits_never_counts_whatever_its_status() {
    let (_, store) = hand_store();
    let limit = RateLimitLayer::embedded(store.clone())
        .policy(Policy::ip().quota("1/1m".parse().unwrap()))
        .reject_with(|_| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response
        })
        .build()
        .unwrap();
    let layer = SuspicionLayer::embedded(store).build().unwrap();
    let service = layer.layer(limit.layer(tower::service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    })));
    let mut refused = 0;
    for _ in 0..100 {
        let response = service
            .clone()
            .oneshot(request(1, 200, None))
            .await
            .unwrap();
        refused += u32::from(response.status() == 401);
    }
    tokio::task::yield_now().await;
    assert_eq!(refused, 99);
    let tally = layer.tally();
    assert_eq!(tally.failures(FailureResult::Counted), 0);
    assert_eq!(
        IncidentKind::BY_STATUS.map(|kind| tally.incidents(kind)),
        [0; 4]
    );
}

#[tokio::test]
async fn a_failure_has_left_its_window_at_exactly_its_end() {
    for (late, expected) in [(-1, 1), (0, 0)] {
        let (hand, store) = hand_store();
        let mut watched = Watched::new(SuspicionLayer::embedded(store));
        watched.fail(1, 401).await;
        hand.advance(Duration::from_micros((300_000_000 + late) as u64));
        for _ in 0..4 {
            watched.fail(1, 401).await;
        }
        assert_eq!(watched.incidents()[0], expected, "{late} µs");
    }
}

#[tokio::test]
async fn one_guess_every_80_seconds_is_seen_by_the_slow_window_alone() {
    let (hand, store) = hand_store();
    let mut watched = Watched::new(SuspicionLayer::embedded(store));
    for n in 1..=1_080 {
        watched.fail(1, 401).await;
        let [fast, _, abuse, slow] = watched.incidents();
        assert_eq!((fast, abuse), (0, 0));
        // The 20th guess, and then the first of every further 2 h: 90 guesses.
        let expected = if n < 20 { 0 } else { 1 + (n - 20) / 90 };
        assert_eq!(slow, expected, "guess {n}");
        hand.advance(Duration::from_secs(80));
    }
}

#[tokio::test]
async fn an_episode_is_reported_again_after_each_full_window() {
    let (hand, store) = hand_store();
    let mut watched = Watched::new(SuspicionLayer::embedded(store));
    // A failure each second for twenty minutes: at the 5th, and 300 s, 600 s and 900 s after it.
    let mut reported = Vec::new();
    for second in 0..1_200 {
        let before = watched.incidents()[0];
        watched.fail(1, 401).await;
        if watched.incidents()[0] > before {
            reported.push(second);
        }
        hand.advance(Duration::from_secs(1));
    }
    assert_eq!(reported, [4, 304, 604, 904]);
}

#[tokio::test]
async fn an_episode_ends_when_fewer_than_half_the_threshold_are_left() {
    // Ten failures at once, then as many more as were left in the window: with five left the episode goes on,
    // with four it has ended and ten are a new edge.
    for (left, expected) in [(5, 1), (4, 2)] {
        let (hand, store) = hand_store();
        let mut watched = Watched::new(SuspicionLayer::embedded(store));
        for n in 0..10 {
            if n == 10 - left {
                hand.advance(Duration::from_secs(150));
            }
            watched.fail(1, 404).await;
        }
        assert_eq!(watched.incidents()[1], 1);
        hand.advance(Duration::from_secs(150));
        // Not yet a window after the edge, so an episode that goes on is not reported.
        for _ in 0..10 {
            watched.fail(1, 404).await;
        }
        assert_eq!(watched.incidents()[1], expected, "{left} left");
    }
}

#[tokio::test]
async fn exempt_networks_and_users_never_count() {
    let (_, store) = hand_store();
    let exempt = Exemptions::new().cidrs(["192.0.2.8/31"]).unwrap();
    let exempt = exempt.users(["monitor"]).unwrap();
    let mut watched = Watched::new(SuspicionLayer::embedded(store.clone()).exempt(exempt));
    for _ in 0..10 {
        watched.ask(request(8, 401, None)).await;
        watched.ask(request(9, 401, Some("ada"))).await;
        watched.ask(request(1, 401, Some("monitor"))).await;
    }
    watched.fail(1, 404).await;
    assert_eq!((store.keys(), watched.incidents()), (2, [0; 4]));
}

#[tokio::test]
async fn thresholds_can_be_set_and_kinds_left_out() {
    let (_, store) = hand_store();
    let builder = SuspicionLayer::embedded(store)
        .threshold(IncidentKind::CredentialStuffing, "1/1m".parse().unwrap())
        .without(IncidentKind::Abuse)
        .without(IncidentKind::CredentialStuffingSlow);
    let mut watched = Watched::new(builder);
    watched.fail(1, 401).await;
    assert_eq!(watched.incidents(), [1, 0, 0, 0]);
    watched.ask(request(1, 403, None)).await;
    for _ in 0..9 {
        watched.fail(1, 404).await;
    }
    assert_eq!(watched.incidents(), [1, 0, 0, 0]);
}

/// A store that never answers, or always fails.
#[derive(Clone, Default)]
struct Broken {
    fails: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<usize>>>,
}

impl FailureStore for Broken {
    fn account(&self, _: &[Rule], _: AccountHash) -> Reply<AccountState> {
        if self.fails.load(Ordering::Relaxed) {
            Reply::Ready(Err(StoreError::new(StoreErrorKind::Rejected)))
        } else {
            Reply::pending(pending())
        }
    }

    fn count(&self, _: &[Rule], requests: &[FailedRequest]) -> Reply<Counts> {
        self.asked.lock().unwrap().push(requests.len());
        if self.fails.load(Ordering::Relaxed) {
            Reply::Ready(Err(StoreError::new(StoreErrorKind::Rejected)))
        } else {
            Reply::pending(pending())
        }
    }
}

#[tokio::test]
async fn a_store_that_hangs_delays_no_response_and_the_queue_drops_what_it_cannot_hold() {
    let hung = Broken::default();
    let builder = SuspicionLayer::shared(hung.clone(), MemoryStore::new());
    let layer = builder.queue(100).build().unwrap();
    let mut service = layer.layer(tower::service_fn(answer));
    let mut fail = || {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        let mut response = Box::pin(service.call(request(1, 404, None)));
        let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut context) else {
            panic!("the response waits");
        };
        assert_eq!(response.status(), 404);
    };
    let dropped = || layer.tally().failures(FailureResult::Dropped);
    fail();
    // The first is under way to the store.
    while hung.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        fail();
    }
    assert_eq!(dropped(), 0);
    for n in 1..=1_000 {
        fail();
        assert_eq!(dropped(), n);
    }
    assert_eq!(*hung.asked.lock().unwrap(), [1], "one call at a time");
}

#[tokio::test]
async fn what_waits_is_counted_together_and_locally_while_the_store_fails() {
    let failing = Broken::default();
    failing.fails.store(true, Ordering::Relaxed);
    let builder = SuspicionLayer::shared(failing.clone(), MemoryStore::new());
    let mut watched = Watched::new(builder);
    for _ in 0..50 {
        watched.ask(request(1, 404, None)).await;
    }
    watched.settled(50).await;
    assert_eq!(*failing.asked.lock().unwrap(), [32, 18]);
    assert_eq!(
        watched
            .layer
            .tally()
            .failures(FailureResult::CountedLocally),
        50
    );
    assert_eq!(watched.incidents(), [0, 1, 1, 0]);
}

#[test]
fn a_runtime_that_ends_midway_leaves_a_queue_that_works_and_counts_what_it_took_as_dropped() {
    let hung = Broken::default();
    let builder = SuspicionLayer::shared(hung.clone(), MemoryStore::new());
    let mut watched = Watched::new(builder);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let first = runtime();
    first.block_on(async {
        watched.ask(request(1, 404, None)).await;
        while hung.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        watched.ask(request(1, 404, None)).await;
    });
    assert_eq!(watched.layer.tally().failures(FailureResult::Dropped), 0);
    drop(first);
    // The first went with its runtime.
    assert_eq!(watched.layer.tally().failures(FailureResult::Dropped), 1);
    hung.fails.store(true, Ordering::Relaxed);
    runtime().block_on(async {
        watched.ask(request(1, 404, None)).await;
        watched.settled(3).await;
    });
    let counted = watched
        .layer
        .tally()
        .failures(FailureResult::CountedLocally);
    assert_eq!(counted, 2);
}

#[test]
fn counts_in_place_without_a_runtime_and_no_more_than_one_batch_for_a_request() {
    let hung = Broken::default();
    let builder = SuspicionLayer::shared(hung.clone(), MemoryStore::new());
    let layer = builder.build().unwrap();
    let mut service = layer.layer(tower::service_fn(answer));
    let mut fail = || {
        let mut context = Context::from_waker(Waker::noop());
        let mut response = Box::pin(service.call(request(1, 404, None)));
        assert!(response.as_mut().poll(&mut context).is_ready());
        layer.tally().failures(FailureResult::CountedLocally)
    };
    // A task that never runs again holds the queue, until its runtime ends.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    {
        let _inside = runtime.enter();
        for _ in 0..100 {
            assert_eq!(fail(), 0);
        }
    }
    drop(runtime);
    let counted: Vec<_> = (0..5).map(|_| fail()).collect();
    assert_eq!(counted, [32, 64, 96, 104, 105]);
    assert_eq!(layer.tally().incidents(IncidentKind::EndpointScanning), 1);
    assert!(hung.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_is_suspected_without_a_client_layer() {
    let (_, store) = hand_store();
    let mut watched = Watched::new(SuspicionLayer::embedded(store.clone()));
    let nobody = Request::builder().uri("/401").body(()).unwrap();
    assert_eq!(watched.ask(nobody).await.status(), 401);
    watched.fail(1, 404).await;
    assert_eq!(store.keys(), 2);
}

#[test]
fn refuses_a_queue_of_nothing_and_thresholds_out_of_range() {
    let builder = || SuspicionLayer::embedded(MemoryStore::new());
    assert_eq!(builder().queue(0).build().unwrap_err().key(), "queue");
    for text in ["", "5", "0/5m", "1001/5m", "5/500ms", "5/25h", "x/5m"] {
        assert!(text.parse::<Threshold>().is_err(), "{text}");
    }
    let error = Threshold::new(1_001, Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().contains("`1001/1m`"), "{error}");
    assert_eq!(
        Threshold::new(5, Duration::from_secs(300)).unwrap(),
        IncidentKind::CredentialStuffing.default_threshold()
    );
}

static_assertions::assert_impl_all!(SuspicionLayer: Send, Sync, Clone);
static_assertions::assert_impl_all!(Suspicion<()>: Send, Sync, Clone);

#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: &T) {}
    let layer = SuspicionLayer::embedded(MemoryStore::new()).build();
    let mut service = layer.unwrap().layer(tower::service_fn(answer));
    is_send(&service.call(request(1, 200, None)));
}
