//! The layer with bans around real services, without a network: bans in the memory of the process.

mod shared;
mod things;
mod waiting;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};

use shared::shared;

use super::*;
use crate::body::Body;
use crate::model::{
    Barred, Client, Exemptions, Gate, HearBan, Network, Reason, Rejected, Screened, Secret,
    StoreError, StoreErrorKind, UserId,
};
use crate::store::memory::{Hand, MemoryStore};
use crate::suspicion::store::{BanStore, Evidence, Reply};
use crate::suspicion::{
    FailureResult, IncidentKind, SuspicionLayer, SuspicionLayerBuilder, Turned,
};

const MINUTE: Duration = Duration::from_secs(60);

fn hand_store() -> (Hand, MemoryStore) {
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone());
    (hand, store.build().unwrap())
}

/// Answers with the status that the request's path begins with.
fn answer(request: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = request.uri().path()[1..4].parse().unwrap();
    ready(Ok(response))
}

fn client(octet: u8) -> Client {
    Client::new(Ipv4Addr::new(192, 0, 2, octet).into(), 64)
}

fn network(octet: u8) -> Network {
    client(octet).network
}

fn user(id: &str) -> UserId {
    UserId::new(id, &Secret::from_bytes(b"test"))
}

/// The same client with a verified user.
fn signed_in(octet: u8, id: &str) -> Client {
    let mut client = client(octet);
    client.user = Some(user(id));
    client
}

/// A request for a path that nobody asked for before.
fn of(client: Client, status: u16) -> Request<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let path = ASKED.fetch_add(1, Ordering::Relaxed);
    at(client, &format!("/{status}/{path}"))
}

fn at(client: Client, path: &str) -> Request<()> {
    let mut request = Request::builder().uri(path).body(()).unwrap();
    request.extensions_mut().insert(client);
    request
}

fn request(octet: u8, status: u16) -> Request<()> {
    of(client(octet), status)
}

async fn send(layer: &SuspicionLayer, request: Request<()>) -> Response<Body<Full<Bytes>>> {
    let service = layer.layer(tower::service_fn(answer));
    service.oneshot(request).await.unwrap()
}

async fn status(layer: &SuspicionLayer, octet: u8) -> u16 {
    send(layer, request(octet, 200)).await.status().as_u16()
}

/// Sends failures until all that were sent are counted and their bans imposed.
async fn fail(layer: &SuspicionLayer, octet: u8, failures: u64) {
    let counted = || {
        let tally = layer.tally();
        tally.failures(FailureResult::Counted) + tally.failures(FailureResult::CountedLocally)
    };
    let all = counted() + failures;
    for _ in 0..failures {
        assert_eq!(send(layer, request(octet, 404)).await.status(), 404);
    }
    while counted() < all {
        tokio::task::yield_now().await;
    }
}

/// For the answers of a shared store.
fn a_second_passes(layer: &SuspicionLayer) {
    let warden = layer.recorder.warden.as_ref().unwrap();
    warden.started.advance(Duration::from_secs(1));
}

fn exact() -> Sentence {
    Sentence::default().jitter(0).unwrap()
}

fn built(builder: SuspicionLayerBuilder) -> SuspicionLayer {
    builder.build().unwrap()
}

fn embedded() -> (Hand, SuspicionLayer) {
    let (hand, store) = hand_store();
    let bans = Bans::embedded(store.clone()).sentence(exact());
    (hand, built(SuspicionLayer::embedded(store).bans(bans)))
}

#[tokio::test]
async fn the_tenth_404_bans_its_client_and_nobody_else_until_the_ban_ends() {
    let (hand, layer) = embedded();
    fail(&layer, 1, 9).await;
    assert_eq!(status(&layer, 1).await, 200);
    fail(&layer, 1, 1).await;
    let response = send(&layer, request(1, 200)).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "600");
    assert_eq!(
        response.extensions().get::<Rejected>().unwrap().reason,
        Reason::BANNED
    );
    assert_eq!(status(&layer, 2).await, 200);
    hand.advance(10 * MINUTE - Duration::from_micros(1));
    assert_eq!(status(&layer, 1).await, 429);
    hand.advance(Duration::from_micros(1));
    assert_eq!(status(&layer, 1).await, 200);
    let tally = layer.tally();
    assert_eq!(
        tally.bans(BanReason::Incident(IncidentKind::EndpointScanning)),
        1
    );
    assert_eq!(tally.turned(Turned::Denied), 2);
    assert_eq!(tally.turned(Turned::DryRunDenied), 0);
}

#[tokio::test]
async fn a_repeat_offence_bans_for_longer_and_an_old_one_is_forgotten() {
    let (hand, layer) = embedded();
    for (minutes, strikes) in [(10, 1), (20, 2), (40, 3)] {
        fail(&layer, 1, 10).await;
        let bans = layer.suspicions().bans().await.unwrap();
        assert_eq!((bans[0].left, bans[0].strikes), (minutes * MINUTE, strikes));
        hand.advance(minutes * MINUTE);
        assert!(layer.suspicions().bans().await.unwrap().is_empty());
    }
    hand.advance(Sentence::FORGET_AFTER);
    fail(&layer, 1, 10).await;
    assert_eq!(layer.suspicions().bans().await.unwrap()[0].strikes, 1);
}

#[tokio::test]
async fn refused_requests_are_no_failures() {
    let (_, layer) = embedded();
    fail(&layer, 1, 10).await;
    for _ in 0..100 {
        assert_eq!(send(&layer, request(1, 404)).await.status(), 429);
    }
    fail(&layer, 2, 1).await;
    let tally = layer.tally();
    let failures: u64 = FailureResult::ALL
        .map(|result| tally.failures(result))
        .iter()
        .sum();
    assert_eq!(failures, 11);
    assert_eq!(tally.incidents(IncidentKind::Abuse), 0);
}

#[tokio::test]
async fn only_the_kinds_that_are_named_are_banned_for() {
    let (_, store) = hand_store();
    let bans = Bans::embedded(store.clone()).kinds([IncidentKind::Abuse]);
    let layer = built(SuspicionLayer::embedded(store).bans(bans));
    fail(&layer, 1, 19).await;
    assert_eq!(layer.tally().incidents(IncidentKind::EndpointScanning), 1);
    assert_eq!(status(&layer, 1).await, 200);
    fail(&layer, 1, 1).await;
    assert_eq!(status(&layer, 1).await, 429);
    assert_eq!(
        layer.tally().bans(BanReason::Incident(IncidentKind::Abuse)),
        1
    );
}

#[tokio::test]
async fn a_dry_run_decides_and_counts_but_lets_pass() {
    let (_, store) = hand_store();
    let bans = Bans::embedded(store.clone()).dry_run();
    let layer = built(SuspicionLayer::embedded(store).bans(bans));
    fail(&layer, 1, 10).await;
    assert_eq!(status(&layer, 1).await, 200);
    let tally = layer.tally();
    assert_eq!(
        tally.bans(BanReason::Incident(IncidentKind::EndpointScanning)),
        1
    );
    assert_eq!(tally.turned(Turned::DryRunDenied), 1);
    assert_eq!(tally.turned(Turned::Denied), 0);
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(1)),
        Screening::Open
    );
}

#[tokio::test]
async fn what_fails_during_a_ban_is_no_offence() {
    let (_, store) = hand_store();
    let bans = Bans::embedded(store.clone()).dry_run();
    let layer = built(SuspicionLayer::embedded(store).bans(bans));
    let hour = 60 * MINUTE;
    layer.suspicions().ban(network(1), hour).await.unwrap();
    fail(&layer, 1, 10).await;
    let ban = layer.suspicions().bans().await.unwrap().remove(0);
    assert_eq!(
        (ban.reason, ban.strikes, ban.left),
        (BanReason::Manual, 0, hour)
    );
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    assert_eq!(layer.tally().bans(scanning), 0);
}

#[tokio::test]
async fn what_was_under_way_before_a_ban_is_no_repeat_offence() {
    for layer in [embedded().1, shared().2] {
        let mut service = layer.layer(tower::service_fn(answer));
        let under_way: Vec<_> = (0..10).map(|_| service.call(request(1, 404))).collect();
        fail(&layer, 1, 10).await;
        for response in under_way {
            assert_eq!(response.await.unwrap().status(), 404);
        }
        let tally = layer.tally();
        while tally.failures(FailureResult::Counted) < 20 {
            tokio::task::yield_now().await;
        }
        // The 20th is an incident of another kind, and the ban is the first one still.
        assert_eq!(tally.incidents(IncidentKind::Abuse), 1);
        assert_eq!(
            tally.bans(BanReason::Incident(IncidentKind::EndpointScanning)),
            1
        );
        assert_eq!(tally.bans(BanReason::Incident(IncidentKind::Abuse)), 0);
        let refused = send(&layer, request(1, 200)).await;
        assert_eq!(refused.headers()[RETRY_AFTER], "600");
    }
}

#[tokio::test]
async fn a_client_that_is_lifted_can_be_convicted_again_at_once() {
    for layer in [embedded().1, shared().2] {
        fail(&layer, 1, 10).await;
        assert!(layer.suspicions().lift(network(1)).await.unwrap());
        fail(&layer, 1, 10).await;
        let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
        assert_eq!(layer.tally().bans(scanning), 2);
        assert_eq!(status(&layer, 1).await, 429);
    }
}

#[tokio::test]
async fn a_client_that_is_lifted_starts_clean() {
    for layer in [embedded().1, shared().2] {
        fail(&layer, 1, 9).await;
        layer.suspicions().lift(network(1)).await.unwrap();
        fail(&layer, 1, 9).await;
        assert_eq!(status(&layer, 1).await, 200);
        fail(&layer, 1, 1).await;
        assert_eq!(status(&layer, 1).await, 429);
    }
}

#[tokio::test]
async fn who_and_what_is_exempt_passes_behind_a_banned_address_too() {
    let (_, store) = hand_store();
    let exempt = Exemptions::new()
        .cidrs(["192.0.2.7"])
        .unwrap()
        .users(["ada"])
        .unwrap()
        .routes(["GET /healthz".parse().unwrap()]);
    let bans = Bans::embedded(store.clone());
    let layer = built(SuspicionLayer::embedded(store).bans(bans).exempt(exempt));
    for octet in [1, 7] {
        layer
            .suspicions()
            .ban(network(octet), MINUTE)
            .await
            .unwrap();
    }
    let passes = |client: Client| {
        let screening = layer.screening(&Method::GET, &Uri::default(), &client);
        let layer = layer.clone();
        async move {
            let status = send(&layer, of(client, 200)).await.status().as_u16();
            assert_eq!(screening == Screening::Banned, status == 429);
            status == 200
        }
    };
    let mut ada = client(1);
    ada.user = Some(UserId::new("ada", &Secret::from_bytes(b"test")));
    let mut health = client(1);
    health.route = crate::model::Route::from("/healthz");
    assert!(passes(ada).await && passes(health).await && passes(client(7)).await);
    assert!(!passes(client(1)).await);
}

#[tokio::test]
async fn a_browser_that_asks_what_it_may_do_is_not_banned_for_the_answers() {
    let (_, layer) = embedded();
    let options = |status: u16, n: u8| {
        let mut request = of(client(n), status);
        *request.method_mut() = Method::OPTIONS;
        request
    };
    for _ in 0..100 {
        send(&layer, options(405, 1)).await;
        send(&layer, options(404, 2)).await;
    }
    // What is missing is missed by `OPTIONS` too.
    while status(&layer, 2).await == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&layer, 1).await, 200);
}

#[tokio::test]
async fn the_service_lists_imposes_and_lifts_bans() {
    let (hand, layer) = embedded();
    let suspicions = layer.suspicions();
    fail(&layer, 1, 10).await;
    let ban = suspicions.ban(network(2), 5 * MINUTE).await.unwrap();
    assert_eq!((ban.reason, ban.strikes), (BanReason::Manual, 0));
    assert_eq!(ban.until.duration_since(ban.since).unwrap(), 5 * MINUTE);
    hand.advance(MINUTE);
    let bans = suspicions.bans().await.unwrap();
    let listed: Vec<_> = bans
        .iter()
        .map(|ban| (ban.subject.network(), ban.left))
        .collect();
    let [first, second] = [1, 2].map(|octet| Some(network(octet)));
    assert_eq!(listed, [(first, 9 * MINUTE), (second, 4 * MINUTE)]);
    // A ban by hand makes none shorter, and is no offence.
    let stands = suspicions.ban(network(1), MINUTE).await.unwrap();
    assert_eq!((stands.left, stands.strikes), (9 * MINUTE, 1));
    assert_eq!(
        stands.reason,
        BanReason::Incident(IncidentKind::EndpointScanning)
    );
    for (octet, lifted) in [(1, true), (1, false), (3, false)] {
        assert_eq!(suspicions.lift(network(octet)).await.unwrap(), lifted);
    }
    assert_eq!(status(&layer, 1).await, 200);
    assert_eq!(status(&layer, 2).await, 429);
    // Its offence is forgotten too.
    hand.advance(5 * MINUTE);
    fail(&layer, 1, 10).await;
    assert_eq!(suspicions.bans().await.unwrap()[0].left, 10 * MINUTE);
}

#[tokio::test]
async fn without_bans_nobody_is_refused_and_nothing_can_be_imposed() {
    let (_, store) = hand_store();
    let layer = built(SuspicionLayer::embedded(store));
    fail(&layer, 1, 100).await;
    assert_eq!(status(&layer, 1).await, 200);
    assert_eq!(
        layer.screening(&Method::GET, &Uri::default(), &client(1)),
        Screening::Open
    );
    let suspicions = layer.suspicions();
    assert!(suspicions.bans().await.unwrap().is_empty());
    assert!(!suspicions.lift(network(1)).await.unwrap());
    let refused = suspicions.ban(network(1), MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Failed);
    assert!(BanReason::all().all(|reason| layer.tally().bans(reason) == 0));
}
