//! The layer with bans around real services, without a network.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};

use super::*;
use crate::body::Body;
use crate::model::{
    Client, Exemptions, HearBan, Network, Reason, Rejected, Screened, Secret, StoreError,
    StoreErrorKind, UserId,
};
use crate::store::memory::{Hand, MemoryStore};
use crate::suspicion::store::{BanStore, Reply};
use crate::suspicion::{
    FailureResult, IncidentKind, SuspicionLayer, SuspicionLayerBuilder, Turned,
};

const MINUTE: Duration = Duration::from_secs(60);

fn hand_store() -> (Hand, MemoryStore) {
    let hand = Hand::default();
    let store = MemoryStore::builder().clock(hand.clone());
    (hand, store.build().unwrap())
}

/// Answers with the status that the request's path names.
fn answer(request: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = request.uri().path()[1..].parse().unwrap();
    ready(Ok(response))
}

fn client(octet: u8) -> Client {
    Client::new(Ipv4Addr::new(192, 0, 2, octet).into(), 64)
}

fn network(octet: u8) -> Network {
    client(octet).network
}

fn of(client: Client, status: u16) -> Request<()> {
    let uri = format!("/{status}");
    let mut request = Request::builder().uri(uri).body(()).unwrap();
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
    assert_eq!(layer.screening(&Method::GET, &client(1)), Screening::Open);
}

#[tokio::test]
async fn an_offence_during_a_longer_ban_counts_for_what_it_is() {
    let (_, store) = hand_store();
    let bans = Bans::embedded(store.clone()).dry_run();
    let layer = built(SuspicionLayer::embedded(store).bans(bans));
    let hour = 60 * MINUTE;
    layer.suspicions().ban(network(1), hour).await.unwrap();
    fail(&layer, 1, 10).await;
    let ban = layer.suspicions().bans().await.unwrap().remove(0);
    assert_eq!(
        (ban.reason, ban.strikes, ban.left),
        (BanReason::Manual, 1, hour)
    );
    for reason in [
        BanReason::Manual,
        BanReason::Incident(IncidentKind::EndpointScanning),
    ] {
        assert_eq!(layer.tally().bans(reason), 1, "{reason}");
    }
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
        assert_eq!(
            layer.tally().bans(BanReason::Incident(IncidentKind::Abuse)),
            1
        );
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
        let screening = layer.screening(&Method::GET, &client);
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
async fn the_service_lists_imposes_and_lifts_bans() {
    let (hand, layer) = embedded();
    let suspicions = layer.suspicions();
    fail(&layer, 1, 10).await;
    let ban = suspicions.ban(network(2), 5 * MINUTE).await.unwrap();
    assert_eq!((ban.reason, ban.strikes), (BanReason::Manual, 0));
    assert_eq!(ban.until.duration_since(ban.since).unwrap(), 5 * MINUTE);
    hand.advance(MINUTE);
    let bans = suspicions.bans().await.unwrap();
    let listed: Vec<_> = bans.iter().map(|ban| (ban.client, ban.left)).collect();
    assert_eq!(listed, [(network(1), 9 * MINUTE), (network(2), 4 * MINUTE)]);
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
    assert_eq!(layer.screening(&Method::GET, &client(1)), Screening::Open);
    let suspicions = layer.suspicions();
    assert!(suspicions.bans().await.unwrap().is_empty());
    assert!(!suspicions.lift(network(1)).await.unwrap());
    let refused = suspicions.ban(network(1), MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Failed);
    assert!(BanReason::all().all(|reason| layer.tally().bans(reason) == 0));
}

/// A shared store in the test's hands.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bans: HashMap<Network, Duration>,
    checks: usize,
    fails: bool,
    hangs: bool,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn answer<T: Send + 'static>(&self, of: impl FnOnce(&mut State) -> T) -> Reply<T> {
        let mut state = self.state();
        if state.hangs {
            Reply::pending(pending())
        } else if state.fails {
            Reply::Ready(Err(StoreError::new(StoreErrorKind::Timeout)))
        } else {
            Reply::Ready(Ok(of(&mut state)))
        }
    }
}

impl BanStore for Shared {
    fn impose(
        &self,
        client: Network,
        kind: IncidentKind,
        sentence: &Sentence,
        roll: u32,
    ) -> Reply<Ban> {
        let length = sentence.length(1, roll);
        self.answer(move |state| {
            state.bans.insert(client, length);
            Ban::new(client, BanReason::Incident(kind), 1, [length; 3])
        })
    }

    fn impose_for(&self, client: Network, length: Duration) -> Reply<Ban> {
        self.answer(move |state| {
            state.bans.insert(client, length);
            Ban::new(client, BanReason::Manual, 0, [length; 3])
        })
    }

    fn lift(&self, client: Network) -> Reply<bool> {
        self.answer(move |state| state.bans.remove(&client).is_some())
    }

    fn banned_for(&self, client: Network) -> Reply<Option<Duration>> {
        self.state().checks += 1;
        self.answer(move |state| state.bans.get(&client).copied())
    }

    fn list(&self, _: usize) -> Reply<Vec<Ban>> {
        self.answer(|_| Vec::new())
    }
}

fn shared() -> (Shared, Hand, SuspicionLayer) {
    let (hand, local) = hand_store();
    let store = Shared::default();
    let bans = Bans::shared(store.clone(), local.clone()).sentence(exact());
    let layer = built(SuspicionLayer::embedded(local).bans(bans));
    (store, hand, layer)
}

#[tokio::test]
async fn a_shared_store_is_asked_for_each_unknown_client_and_not_again_for_a_known_ban() {
    let (store, _, layer) = shared();
    store.state().bans.insert(network(1), MINUTE);
    for _ in 0..10 {
        assert_eq!(status(&layer, 1).await, 429);
    }
    assert_eq!(store.state().checks, 1);
    a_second_passes(&layer);
    for _ in 0..10 {
        assert_eq!(status(&layer, 1).await, 429);
    }
    assert_eq!(store.state().checks, 2);
    for _ in 0..3 {
        assert_eq!(status(&layer, 2).await, 200);
    }
    assert_eq!(store.state().checks, 5);
}

#[tokio::test]
async fn what_this_process_imposes_or_lifts_it_knows_at_once() {
    let (store, _, layer) = shared();
    fail(&layer, 1, 10).await;
    let checks = store.state().checks;
    assert_eq!(status(&layer, 1).await, 429);
    layer.suspicions().ban(network(2), MINUTE).await.unwrap();
    assert_eq!(status(&layer, 2).await, 429);
    assert_eq!(store.state().checks, checks);
    assert!(layer.suspicions().lift(network(1)).await.unwrap());
    assert_eq!(status(&layer, 1).await, 200);
}

#[tokio::test]
async fn while_the_store_fails_those_bans_hold_that_this_process_knows_of() {
    let (store, hand, layer) = shared();
    for octet in [1, 2, 3] {
        store.state().bans.insert(network(octet), MINUTE);
    }
    assert_eq!(status(&layer, 1).await, 429);
    store.state().fails = true;
    // Known by what the store said before.
    a_second_passes(&layer);
    assert_eq!(status(&layer, 1).await, 429);
    // Known to the store alone.
    assert_eq!(status(&layer, 2).await, 200);
    assert!(layer.suspicions().ban(network(2), MINUTE).await.is_err());
    // Imposed here alone, so the store does not know of it when it is back either.
    fail(&layer, 4, 10).await;
    assert_eq!(status(&layer, 4).await, 429);
    store.state().fails = false;
    assert_eq!(status(&layer, 4).await, 429);
    assert!(layer.suspicions().lift(network(4)).await.unwrap());
    assert_eq!(status(&layer, 4).await, 200);
    hand.advance(MINUTE);
    store.state().fails = true;
    a_second_passes(&layer);
    assert_eq!(status(&layer, 1).await, 200, "its time is over here too");
}

#[tokio::test]
async fn a_ban_that_holds_here_alone_is_listed_and_can_be_lifted_while_the_store_fails() {
    let (store, _, layer) = shared();
    let suspicions = layer.suspicions();
    store.state().fails = true;
    for octet in [1, 2] {
        fail(&layer, octet, 10).await;
    }
    assert!(suspicions.bans().await.is_err());
    assert!(suspicions.lift(network(1)).await.is_err());
    assert_eq!(status(&layer, 1).await, 200);
    assert_eq!(status(&layer, 2).await, 429);
    store.state().fails = false;
    // What the store itself said is not told twice, nor once it is over there.
    store.state().bans.insert(network(3), MINUTE);
    assert_eq!(status(&layer, 3).await, 429);
    let bans = suspicions.bans().await.unwrap();
    let listed: Vec<_> = bans.iter().map(|ban| (ban.client, ban.reason)).collect();
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    assert_eq!(listed, [(network(2), scanning)]);
}

#[tokio::test]
async fn a_lift_that_the_store_tells_of_is_not_undone_by_its_failure() {
    let (store, _, layer) = shared();
    store.state().bans.insert(network(1), MINUTE);
    assert_eq!(status(&layer, 1).await, 429);
    store.state().bans.clear();
    a_second_passes(&layer);
    assert_eq!(status(&layer, 1).await, 200);
    store.state().fails = true;
    assert_eq!(status(&layer, 1).await, 200);
}

#[tokio::test]
async fn a_ban_that_another_process_lifted_is_not_lifted_here_again() {
    let (store, _, layer) = shared();
    let suspicions = layer.suspicions();
    fail(&layer, 1, 10).await;
    store.state().bans.insert(network(2), MINUTE);
    assert_eq!(status(&layer, 2).await, 429);
    // What is known of both here, for the time that the store fails, is not a ban of its own.
    store.state().bans.clear();
    for octet in [1, 2] {
        assert!(!suspicions.lift(network(octet)).await.unwrap(), "{octet}");
    }
    store.state().fails = true;
    for octet in [1, 2] {
        assert_eq!(status(&layer, octet).await, 200, "{octet}");
    }
}

#[tokio::test]
async fn what_an_outer_layer_heard_is_not_asked_again() {
    let (store, _, layer) = shared();
    let screened = |octet, left| {
        let mut request = request(octet, 200);
        request.extensions_mut().insert(Screened::Heard(left));
        request
    };
    let unknown = Screening::Unknown { enforced: true };
    assert_eq!(layer.screening(&Method::GET, &client(1)), unknown);
    assert_eq!(send(&layer, screened(1, None)).await.status(), 200);
    let refused = send(&layer, screened(1, Some(MINUTE))).await;
    assert_eq!(refused.headers()[RETRY_AFTER], "60");
    layer.recorder.hear(network(1), Ok(Some(MINUTE)));
    assert_eq!(layer.screening(&Method::GET, &client(1)), Screening::Banned);
    assert_eq!(status(&layer, 1).await, 429);
    assert_eq!(store.state().checks, 0);
    layer.recorder.hear(network(2), Ok(None));
    assert_eq!(layer.screening(&Method::GET, &client(2)), unknown);
}

#[tokio::test]
async fn a_dry_run_on_a_shared_store_says_so_and_memory_needs_no_asking() {
    let (_, local) = hand_store();
    let bans = Bans::shared(Shared::default(), local.clone()).dry_run();
    let layer = built(SuspicionLayer::embedded(local).bans(bans));
    let unknown = Screening::Unknown { enforced: false };
    assert_eq!(layer.screening(&Method::GET, &client(1)), unknown);
    let (_, layer) = embedded();
    assert_eq!(layer.screening(&Method::GET, &client(1)), Screening::Open);
    layer.suspicions().ban(network(1), MINUTE).await.unwrap();
    assert_eq!(layer.screening(&Method::GET, &client(1)), Screening::Banned);
}

/// Counts how often it was polled ready and called, each clone for itself.
struct Ticketed {
    ready: bool,
    called: Arc<Mutex<u32>>,
}

impl Clone for Ticketed {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            called: Arc::clone(&self.called),
        }
    }
}

impl Service<Request<()>> for Ticketed {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        self.ready = true;
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        *self.called.lock().unwrap() += 1;
        answer(request)
    }
}

#[tokio::test]
async fn a_request_that_waits_goes_to_the_service_that_was_ready_for_it() {
    let (store, _, layer) = shared();
    let called = Arc::new(Mutex::new(0));
    let mut service = layer.layer(Ticketed {
        ready: false,
        called: Arc::clone(&called),
    });
    store.state().hangs = true;
    let mut waiting = Box::pin(service.ready().await.unwrap().call(request(1, 200)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    store.state().hangs = false;
    for (octet, calls) in [(2, 1), (3, 2)] {
        let response = service.ready().await.unwrap().call(request(octet, 200));
        assert_eq!(response.await.unwrap().status(), 200);
        assert_eq!(*called.lock().unwrap(), calls);
    }
    store.state().bans.insert(network(4), MINUTE);
    for _ in 0..2 {
        let refused = service.ready().await.unwrap().call(request(4, 200)).await;
        assert_eq!(refused.unwrap().status(), 429);
    }
    assert_eq!(*called.lock().unwrap(), 2);
    drop(waiting);
}
