//! Servers that die, hang, refuse to write, and come back.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use palisade::rate_limit::StoreErrorKind;
use palisade::rate_limit::store::Admit;
use palisade::store::redis::RedisStore;
use palisade::store::{Operation, Outcome};
use palisade_tests::distance::Distance;
use palisade_tests::redis::{RedisServer, until_closed};
use palisade_tests::time::{let_all_run, standing_still, until};
use tokio::time::Instant;

use super::{Request, limits};
use crate::charge;

/// A call that is to be answered takes none of it, for time stands still meanwhile. While a server hangs, paused time goes
/// on to the deadline at once.
const DEADLINE: Duration = Duration::from_secs(1);

fn store(server: &RedisServer) -> RedisStore {
    RedisStore::builder(&server.url())
        .deadline(DEADLINE)
        .build()
        .unwrap()
}

fn on(server: RedisServer) -> (RedisServer, RedisStore, Arc<dyn Admit>) {
    let store = store(&server);
    let limits = limits(&store);
    (server, store, limits)
}

/// Asks a server that answers, however late.
async fn admit(limits: &Arc<dyn Admit>) -> Result<bool, StoreErrorKind> {
    standing_still(ask(limits)).await
}

async fn ask(limits: &Arc<dyn Admit>) -> Result<bool, StoreErrorKind> {
    let request = Request::of("192.0.2.1", "ada");
    request
        .admit(limits)
        .await
        .map(|verdict| verdict.admitted)
        .map_err(|error| error.kind())
}

/// Asks, and goes away while the call is under way.
async fn leave(limits: &Arc<dyn Admit>) {
    let _ = tokio::time::timeout(Duration::ZERO, ask(limits)).await;
}

/// Asks until the breaker opens, at the fifth failure in a row.
async fn open_breaker(store: &RedisStore, limits: &Arc<dyn Admit>, kinds: &[StoreErrorKind]) {
    for i in 0..5 {
        assert!(!store.health().is_breaker_open(), "open after {i} failures");
        let kind = admit(limits).await.unwrap_err();
        assert!(kinds.contains(&kind), "{kind:?}");
    }
    assert!(store.health().is_breaker_open());
    assert!(kinds.contains(&store.health().last_error().unwrap()));
    tokio::time::pause();
    let rejected = Instant::now();
    for _ in 0..1000 {
        assert_eq!(ask(limits).await, Err(StoreErrorKind::Rejected));
    }
    assert_eq!(
        rejected.elapsed(),
        Duration::ZERO,
        "they wait for something"
    );
    tokio::time::resume();
}

async fn assert_returns(store: &RedisStore, limits: &Arc<dyn Admit>) {
    until_closed(&store.health()).await;
    assert_eq!(admit(limits).await, Ok(true));
}

#[tokio::test]
async fn a_killed_server_fails_at_once_and_is_used_again_when_it_returns() {
    let (mut server, store, limits) = on(RedisServer::start());
    assert_eq!(admit(&limits).await, Ok(true));
    server.kill();
    // Refused connections do not wait for the deadline: time stands still.
    open_breaker(&store, &limits, &[StoreErrorKind::Failed]).await;
    server.restart();
    assert_returns(&store, &limits).await;
}

#[tokio::test]
async fn a_hung_server_delays_each_request_by_the_deadline_until_the_breaker_opens() {
    let (server, store, limits) = on(RedisServer::start());
    assert_eq!(admit(&limits).await, Ok(true));
    server.pause();
    tokio::time::pause();
    let paused = Instant::now();
    let together: Vec<_> = (0..5)
        .map(|_| {
            let limits = limits.clone();
            tokio::spawn(async move { ask(&limits).await })
        })
        .collect();
    for request in together {
        assert_eq!(request.await.unwrap(), Err(StoreErrorKind::Timeout));
    }
    let waited = paused.elapsed();
    assert!(waited >= DEADLINE && waited < 2 * DEADLINE, "{waited:?}");
    // Requests that share a call fail as one.
    let mut failures = 0;
    while !store.health().is_breaker_open() {
        assert_eq!(ask(&limits).await, Err(StoreErrorKind::Timeout));
        failures += 1;
        assert!(
            failures < 5,
            "the breaker opens at the fifth failure in a row"
        );
    }
    assert!(
        failures >= 3,
        "five requests at once were more than two failures"
    );
    assert_eq!(store.health().last_error(), Some(StoreErrorKind::Timeout));
    assert_eq!(ask(&limits).await, Err(StoreErrorKind::Rejected));
    tokio::time::resume();
    server.resume();
    assert_returns(&store, &limits).await;
}

#[tokio::test]
async fn one_slow_call_is_one_failure_and_each_request_one_timeout_on_a_thread_that_was_busy() {
    let server = RedisServer::start();
    let timeouts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&timeouts);
    let store = RedisStore::builder(&server.url())
        .deadline(DEADLINE)
        .observer(move |_, outcome, _| {
            counted.fetch_add(usize::from(outcome == Outcome::Timeout), Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let limits = limits(&store);
    assert_eq!(admit(&limits).await, Ok(true));
    server.pause();
    let mut asking: Vec<_> = (0..32).map(|_| Box::pin(ask(&limits))).collect();
    poll_fn(|cx| {
        let mut polled = asking.iter_mut().map(|it| it.as_mut().poll(cx));
        assert!(polled.all(|it| it.is_pending()));
        Poll::Ready(())
    })
    .await;
    let_all_run().await;
    // Their own timers and that of their call are due by now, and this task comes first.
    std::thread::sleep(2 * DEADLINE);
    for asking in asking {
        assert_eq!(asking.await, Err(StoreErrorKind::Timeout));
    }
    let_all_run().await;
    assert!(!store.health().is_breaker_open());
    assert_eq!(timeouts.load(Ordering::Relaxed), 32);
    server.resume();
}

#[tokio::test]
async fn one_slow_call_opens_no_breaker_however_many_requests_wait_for_it() {
    let (server, store, limits) = on(RedisServer::start());
    assert_eq!(admit(&limits).await, Ok(true));
    server.pause();
    tokio::time::pause();
    let together: Vec<_> = (0..32)
        .map(|_| {
            let limits = limits.clone();
            tokio::spawn(async move { ask(&limits).await })
        })
        .collect();
    for request in together {
        assert_eq!(request.await.unwrap(), Err(StoreErrorKind::Timeout));
    }
    assert!(!store.health().is_breaker_open());
    tokio::time::resume();
    server.resume();
    // What was sent is decided late; a new connection finds the server as it is.
    assert_eq!(admit(&limits).await, Ok(true));
}

#[tokio::test]
async fn a_server_at_some_distance_is_asked_without_waiting_for_the_call_before() {
    let server = RedisServer::start();
    let distance = Distance::before(&server).await;
    let deadline = Duration::from_secs(10);
    let store = RedisStore::builder(distance.url())
        .deadline(deadline)
        .build()
        .unwrap();
    let limits = limits(&store);
    assert_eq!(admit(&limits).await, Ok(true));
    distance.hold();
    tokio::time::pause();
    let mut requests = Vec::new();
    for _ in 0..5 {
        // Longer than a request waits for the call before, a tenth of the deadline.
        tokio::time::sleep(deadline / 9).await;
        let asked = distance.asked();
        let limits = limits.clone();
        requests.push(tokio::spawn(async move { ask(&limits).await }));
        let_all_run().await;
        assert!(distance.asked() > asked, "asked once at a time");
    }
    tokio::time::resume();
    distance.let_through();
    standing_still(async {
        for request in requests {
            assert_eq!(request.await.unwrap(), Ok(true));
        }
    })
    .await;
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[test]
fn a_blocked_thread_keeps_no_other_runtime_waiting_past_the_deadline() {
    let (_server, _store, limits) = on(RedisServer::start());
    let first = runtime();
    assert_eq!(first.block_on(admit(&limits)), Ok(true));
    // A lane is started on the first runtime, which then drives nothing any more.
    first.block_on(leave(&limits));
    let (answer, waited) = runtime().block_on(async {
        tokio::time::pause();
        let asked = Instant::now();
        (ask(&limits).await, asked.elapsed())
    });
    assert!(waited < 2 * DEADLINE, "waited {waited:?}");
    assert!(
        matches!(answer, Ok(true) | Err(StoreErrorKind::Timeout)),
        "{answer:?}"
    );
    drop(first);
}

#[tokio::test]
async fn a_server_that_hung_up_while_idle_costs_no_request() {
    let (mut server, _store, limits) = on(RedisServer::start());
    for _ in 0..3 {
        assert_eq!(admit(&limits).await, Ok(true));
        server.restart();
        // The client reads the end of the connection when its task runs.
        let_all_run().await;
    }
    assert_eq!(admit(&limits).await, Ok(true));
}

#[tokio::test]
async fn starts_while_the_server_is_down() {
    let (mut server, store, limits) = on(RedisServer::stopped());
    open_breaker(&store, &limits, &[StoreErrorKind::Failed]).await;
    assert!(store.check().await.is_err());
    server.restart();
    assert_returns(&store, &limits).await;
    assert!(standing_still(store.check()).await.is_ok());
}

#[tokio::test]
async fn a_replica_is_left_until_it_is_a_master() {
    let (server, store, limits) = on(RedisServer::start());
    assert_eq!(admit(&limits).await, Ok(true));
    // Of a master that does not exist: it stays read-only.
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    open_breaker(&store, &limits, &[StoreErrorKind::Failed]).await;
    assert!(store.check().await.is_err());
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_returns(&store, &limits).await;
}

#[tokio::test]
async fn a_server_out_of_memory_fails_until_it_has_some() {
    let (server, store, limits) = on(RedisServer::start());
    assert_eq!(admit(&limits).await, Ok(true));
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    open_breaker(&store, &limits, &[StoreErrorKind::Failed]).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_returns(&store, &limits).await;
}

#[tokio::test]
async fn counts_every_request_and_probe_by_how_it_ended() {
    let mut server = RedisServer::start();
    let seen: Arc<Mutex<Vec<(Operation, Outcome)>>> = Arc::default();
    let observed = Arc::clone(&seen);
    let store = RedisStore::builder(&server.url())
        .deadline(DEADLINE)
        .breaker(2, Duration::from_millis(20))
        .observer(move |operation, outcome, _| observed.lock().unwrap().push((operation, outcome)))
        .build()
        .unwrap();
    let limits = limits(&store);
    admit(&limits).await.unwrap();
    server.kill();
    for _ in 0..3 {
        admit(&limits).await.unwrap_err();
    }
    let told = |wanted| seen.lock().unwrap().contains(&(Operation::Probe, wanted));
    until("a probe failed", async || told(Outcome::Error)).await;
    server.restart();
    let failed_probes = || {
        let seen = seen.lock().unwrap();
        let failed = |told: &&_| **told == (Operation::Probe, Outcome::Error);
        seen.iter().filter(failed).count()
    };
    let before = failed_probes();
    until("a probe succeeded", async || told(Outcome::Ok)).await;
    // The contract's two seconds, of which the interval of the probes is one at most: the first probe after the return
    // finds the server, and one may have been under way.
    assert!(failed_probes() <= before + 1);
    let seen = seen.lock().unwrap();
    let admits: Vec<_> = seen
        .iter()
        .filter(|(operation, _)| *operation == Operation::Admit)
        .map(|&(_, outcome)| outcome)
        .collect();
    assert_eq!(
        admits,
        [
            Outcome::Ok,
            Outcome::Error,
            Outcome::Error,
            Outcome::Rejected
        ]
    );
}

#[tokio::test]
async fn a_dropped_store_ends_its_probes() {
    let server = RedisServer::stopped();
    let probes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&probes);
    let store = RedisStore::builder(&server.url())
        .breaker(1, Duration::from_millis(10))
        .observer(move |operation, _, _| {
            counted.fetch_add(
                usize::from(operation == Operation::Probe),
                Ordering::Relaxed,
            );
        })
        .build()
        .unwrap();
    admit(&limits(&store)).await.unwrap_err();
    until("a probe", async || probes.load(Ordering::Relaxed) > 0).await;
    drop(store);
    // The observer lives in the store, so it is the last to know.
    until("the store is freed", async || {
        Arc::strong_count(&probes) == 1
    })
    .await;
}

#[test]
fn serves_another_runtime_after_its_first_was_shut_down_midway() {
    let (_server, _store, limits) = on(RedisServer::start());
    let first = runtime();
    assert_eq!(first.block_on(admit(&limits)), Ok(true));
    // Under way, and never finished.
    first.block_on(leave(&limits));
    drop(first);
    let second = runtime();
    // At most one request meets the connection that went with its runtime.
    let _ = second.block_on(ask(&limits));
    assert_eq!(second.block_on(admit(&limits)), Ok(true));
}

#[test]
fn an_open_breaker_does_not_outlive_the_runtime_of_its_probes() {
    let (mut server, store, limits) = on(RedisServer::stopped());
    runtime().block_on(open_breaker(&store, &limits, &[StoreErrorKind::Failed]));
    server.restart();
    assert_eq!(runtime().block_on(admit(&limits)), Ok(true));
}

#[test]
fn fails_outside_a_runtime_without_a_panic() {
    let server = RedisServer::stopped();
    let limits = limits(&store(&server));
    let key = super::text("ada");
    let charge = charge(0, &key, super::quota(1, 60));
    let palisade::rate_limit::store::Reply::Ready(Err(error)) = limits.admit(&[charge]) else {
        panic!("asked without a runtime");
    };
    assert_eq!(error.kind(), StoreErrorKind::Failed);
}
