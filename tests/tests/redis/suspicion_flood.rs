//! A flood of failing requests while Redis hangs: no response waits, memory is bounded, and nothing is lost from the counts.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use palisade::body::Body;
use palisade::client::Client;
use palisade::store::memory::MemoryStore;
use palisade::store::redis::RedisStore;
use palisade::suspicion::{
    BanReason, Bans, FailureResult, IncidentKind, SuspicionLayer, SuspicionTally,
};
use palisade_tests::redis::RedisServer;
use palisade_tests::time::{standing_still, until};
use tower::{Layer, Service};

use crate::store_redis::fill;

const QUEUE: u64 = 1_000;

/// Answers with the status that the request's extension says.
fn answer(request: Request<()>) -> Ready<Result<Response<String>, Infallible>> {
    let mut response = Response::new(String::new());
    *response.status_mut() = *request.extensions().get::<StatusCode>().unwrap();
    ready(Ok(response))
}

/// A failing request, whose response is there the first time that it is asked for.
fn fail<S>(service: &mut S, address: Ipv4Addr, status: StatusCode)
where
    S: Service<Request<()>, Response = Response<Body<String>>, Error = Infallible>,
{
    let mut request = Request::new(());
    request
        .extensions_mut()
        .insert(Client::new(address.into(), 64));
    request.extensions_mut().insert(status);
    let mut response = pin!(service.call(request));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut context) else {
        panic!("the response waits");
    };
    assert_eq!(response.status(), status);
}

fn sum(tally: &SuspicionTally) -> u64 {
    FailureResult::ALL
        .iter()
        .map(|fate| tally.failures(*fate))
        .sum()
}

/// One thread, so that nobody takes from the queue while the flood is on.
#[tokio::test]
async fn a_flood_fills_the_queue_and_no_more_delays_nobody_and_hides_no_guesses() {
    let server = RedisServer::start();
    let store = RedisStore::builder(&server.url())
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    let health = store.health();
    let layer = SuspicionLayer::shared(store, MemoryStore::new())
        .queue(QUEUE as usize)
        .build()
        .unwrap();
    let tally: Arc<SuspicionTally> = layer.tally();
    let mut service = layer.layer(tower::service_fn(answer));
    let scanner = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n);
    let guesser = Ipv4Addr::new(203, 0, 113, 7);

    fail(&mut service, scanner(0), StatusCode::NOT_FOUND);
    standing_still(async {
        while tally.failures(FailureResult::Counted) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.pause();
    // Goes on to the deadlines at once.
    tokio::time::pause();
    let mut sent = 1;
    for breaker_open in [false, true] {
        let dropped = tally.failures(FailureResult::Dropped);
        for n in 0..20_000 {
            fail(&mut service, scanner(n), StatusCode::NOT_FOUND);
        }
        for _ in 0..10 {
            fail(&mut service, guesser, StatusCode::UNAUTHORIZED);
        }
        sent += 20_010;
        assert_eq!(
            tally.failures(FailureResult::Dropped) - dropped,
            20_010 - QUEUE
        );
        assert_eq!(health.is_breaker_open(), breaker_open);
        until("each is counted or dropped", async || sum(&tally) == sent).await;
        until("the breaker is open", async || health.is_breaker_open()).await;
        // The ten guesses took the places of other failures.
        assert_eq!(tally.incidents(IncidentKind::CredentialStuffing), 1);
    }
    assert_eq!(
        tally.incidents(IncidentKind::CredentialStuffingSlow),
        1,
        "twenty guesses"
    );
    assert_eq!(tally.failures(FailureResult::Counted), 1);
    assert_eq!(tally.failures(FailureResult::CountedLocally), 2 * QUEUE);
    server.resume();
}

#[tokio::test]
async fn a_guesser_for_whom_redis_has_no_room_is_found_by_the_process_that_he_meets() {
    let server = RedisServer::start();
    let store = RedisStore::builder(&server.url())
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let layer = SuspicionLayer::shared(store, MemoryStore::new())
        .build()
        .unwrap();
    let tally: Arc<SuspicionTally> = layer.tally();
    let mut service = layer.layer(tower::service_fn(answer));
    let [known, new] = [1, 2].map(|n| Ipv4Addr::new(203, 0, 113, n));
    let counted = |counted: u64| {
        let tally = &tally;
        until("each is counted", async move || sum(tally) == counted)
    };
    fail(&mut service, known, StatusCode::UNAUTHORIZED);
    counted(1).await;
    fill(&server, "failures");
    for _ in 0..5 {
        fail(&mut service, new, StatusCode::UNAUTHORIZED);
        fail(&mut service, known, StatusCode::UNAUTHORIZED);
    }
    counted(11).await;
    assert_eq!(tally.incidents(IncidentKind::CredentialStuffing), 2);
    assert_eq!(tally.failures(FailureResult::Counted), 6);
    assert_eq!(tally.failures(FailureResult::CountedLocally), 5);
    assert_eq!(server.cli(&["KEYS", "*203.0.113.2"]), "");
}

#[tokio::test]
async fn a_scanner_for_whom_redis_has_no_room_is_banned_by_the_process_that_he_meets() {
    let server = RedisServer::start();
    let store = RedisStore::builder(&server.url())
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let memory = MemoryStore::new();
    let layer = SuspicionLayer::shared(store.clone(), memory.clone())
        .bans(Bans::shared(store, memory))
        .build()
        .unwrap();
    let tally: Arc<SuspicionTally> = layer.tally();
    let mut service = layer.layer(tower::service_fn(answer));
    let mut ask = async |path: String, status: StatusCode| {
        let mut request = Request::get(path).body(()).unwrap();
        let address = Ipv4Addr::new(203, 0, 113, 2);
        request
            .extensions_mut()
            .insert(Client::new(address.into(), 64));
        request.extensions_mut().insert(status);
        service.call(request).await.unwrap().status()
    };
    fill(&server, "failures");
    for n in 0..10 {
        let status = ask(format!("/{n}.php"), StatusCode::NOT_FOUND).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let banned = BanReason::Incident(IncidentKind::EndpointScanning);
    until("the scanner is banned", async || tally.bans(banned) == 1).await;
    let status = ask("/".to_owned(), StatusCode::OK).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.cli(&["KEYS", "*"]), "palisade:ledger:failures");
}
