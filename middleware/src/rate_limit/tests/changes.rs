//! The lines that tell when a policy begins and ceases to deny, and to do without its store.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::log::Lines;

const SECOND: Duration = Duration::from_secs(1);

/// A store that fails while its switch is on, or whose breaker is open, and otherwise has room.
#[derive(Clone, Default)]
struct Failing {
    fails: Arc<AtomicBool>,
    is_open: Arc<AtomicBool>,
}

impl Store for Failing {
    fn bind(&self, _: &[Logs]) -> Arc<dyn Admit> {
        Arc::new(self.clone())
    }
}

impl Admit for Failing {
    fn is_failing(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    fn admit(&self, charges: &[Charge<'_>]) -> Reply<Verdict> {
        if self.fails.load(Ordering::Relaxed) {
            return Reply::Ready(Err(StoreError::new(StoreErrorKind::Failed)));
        }
        let room = Tier {
            remaining: 9,
            reset: SECOND,
            retry: None,
        };
        Reply::Ready(Ok(Verdict {
            admitted: true,
            banned: Default::default(),
            tiers: charges.iter().map(|_| room).collect(),
        }))
    }
}

/// Lets the tasks see that so much time passed.
async fn pass(seconds: u32) {
    for _ in 0..seconds {
        tokio::time::sleep(SECOND).await;
    }
    // The tick of the last second.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn embedded(text: &str) -> (Hand, RateLimitLayer) {
    let (hand, store) = hand_store();
    let policy = Policy::ip().quota(quota(text));
    let layer = RateLimitLayer::embedded(store).policy(policy);
    (hand, layer.build().unwrap())
}

async fn deny(layer: &RateLimitLayer, times: usize) {
    let mut service = layer.layer(tower::service_fn(echo));
    for _ in 0..times {
        assert_eq!(send(&mut service, request(1, None)).await.status(), 429);
    }
}

async fn admit(layer: &RateLimitLayer, times: usize) {
    let mut service = layer.layer(tower::service_fn(echo));
    for _ in 0..times {
        assert_eq!(send(&mut service, request(1, None)).await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_denies_says_so_once_and_once_that_it_ceased() {
    let (lines, _guard) = Lines::capture();
    let (hand, layer) = embedded("2/20s");
    admit(&layer, 2).await;
    pass(60).await;
    assert_eq!(lines.take(), Vec::<String>::new());

    deny(&layer, 1_000).await;
    let denying = "WARN rate_limit_denying policy=ip";
    assert_eq!(lines.take(), [denying]);
    pass(15).await;
    deny(&layer, 500).await;
    // A window since the last denial was seen, not since the first.
    pass(20).await;
    assert_eq!(lines.take(), Vec::<String>::new());
    pass(2).await;
    let ceased = "INFO rate_limit_ceased denied=1500 policy=ip";
    assert_eq!(lines.take(), [ceased]);

    hand.advance(20 * SECOND);
    admit(&layer, 2).await;
    deny(&layer, 3).await;
    pass(100).await;
    let ceased = "INFO rate_limit_ceased denied=3 policy=ip";
    assert_eq!(lines.take(), [denying, ceased]);
}

#[tokio::test(start_paused = true)]
async fn a_short_window_is_waited_for_ten_seconds() {
    let (lines, _guard) = Lines::capture();
    let (_, layer) = embedded("1/1s");
    admit(&layer, 1).await;
    deny(&layer, 1).await;
    pass(10).await;
    assert_eq!(lines.take().len(), 1);
    pass(2).await;
    assert_eq!(lines.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_policy_has_its_own_lines() {
    let (lines, _guard) = Lines::capture();
    let (_, store) = hand_store();
    let layer = RateLimitLayer::embedded(store)
        .policy(Policy::ip().quota(quota("1/10s")))
        .policy(Policy::user().quota(quota("1/1m")))
        .policy(Policy::new("tried", PartitionBy::Ip, quota("1/10s")).dry_run())
        .build()
        .unwrap();
    let mut service = layer.layer(tower::service_fn(echo));
    for _ in 0..5 {
        send(&mut service, request(1, Some("ada"))).await;
    }
    assert_eq!(
        lines.take(),
        [
            "WARN rate_limit_denying policy=ip",
            "WARN rate_limit_denying policy=user",
        ]
    );
    pass(100).await;
    assert_eq!(
        lines.take(),
        [
            "INFO rate_limit_ceased denied=4 policy=ip",
            "INFO rate_limit_ceased denied=4 policy=user",
        ]
    );
}

fn shared(mode: OnStoreFailure) -> (Failing, RateLimitLayer) {
    let store = Failing::default();
    let policy = Policy::ip().quota(quota("2/1h")).on_store_failure(mode);
    let layer = RateLimitLayer::shared(store.clone(), MemoryStore::new()).policy(policy);
    (store, layer.build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_fallback_says_so_once_and_once_that_the_store_decides_again() {
    for (mode, told) in [
        (OnStoreFailure::Local, "admitted=2 denied=98 mode=local"),
        (OnStoreFailure::Open, "admitted=100 denied=0 mode=open"),
        (OnStoreFailure::Closed, "admitted=0 denied=100 mode=closed"),
    ] {
        let (lines, _guard) = Lines::capture();
        let (store, layer) = shared(mode);
        let mut service = layer.layer(tower::service_fn(echo));
        admit(&layer, 1).await;
        store.fails.store(true, Ordering::Relaxed);
        for _ in 0..100 {
            send(&mut service, request(1, None)).await;
        }
        let fallback = format!("WARN rate_limit_fallback mode={} policy=ip", mode.as_str());
        let mut begun = lines.take();
        begun.retain(|line| !line.contains("rate_limit_denying"));
        assert_eq!(begun, [fallback]);

        // While its breaker is open, a store without traffic is not restored.
        store.is_open.store(true, Ordering::Relaxed);
        pass(60).await;
        assert_eq!(lines.take(), Vec::<String>::new());
        store.is_open.store(false, Ordering::Relaxed);
        store.fails.store(false, Ordering::Relaxed);
        pass(1).await;
        let restored = format!("INFO rate_limit_restored {told} policy=ip");
        assert_eq!(lines.take(), [restored]);
        admit(&layer, 5).await;
        pass(60).await;
        assert!(lines.take().iter().all(|line| !line.contains("fallback")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_now_and_then_is_told_of_once() {
    let (lines, _guard) = Lines::capture();
    let (store, layer) = shared(OnStoreFailure::Open);
    for second in 0..60 {
        for fails in [true, false, true] {
            store.fails.store(fails, Ordering::Relaxed);
            admit(&layer, 100).await;
        }
        store.fails.store(second % 2 == 0, Ordering::Relaxed);
        pass(1).await;
    }
    assert_eq!(
        lines.take(),
        ["WARN rate_limit_fallback mode=open policy=ip"]
    );
    store.fails.store(false, Ordering::Relaxed);
    pass(10).await;
    let restored = "INFO rate_limit_restored admitted=12000 denied=0 mode=open policy=ip";
    assert_eq!(lines.take(), [restored]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_dropped_is_not_kept_alive() {
    let (lines, _guard) = Lines::capture();
    let (_, layer) = embedded("1/1h");
    admit(&layer, 1).await;
    deny(&layer, 1).await;
    let changes = Arc::downgrade(&layer.decider.changes);
    drop(layer);
    assert!(changes.upgrade().is_none());
    assert_eq!(lines.take().len(), 1);
    pass(4_000).await;
    assert_eq!(lines.take(), Vec::<String>::new());
}

#[test]
fn a_runtime_that_ends_lets_the_next_begin_again_and_none_is_only_the_first_line() {
    let (lines, _guard) = Lines::capture();
    let (_, layer) = embedded("1/1h");
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    runtime().block_on(admit(&layer, 1));
    for denied in [5, 7] {
        runtime().block_on(deny(&layer, denied));
        assert_eq!(lines.take(), ["WARN rate_limit_denying policy=ip"]);
    }
    runtime().block_on(async {
        deny(&layer, 1).await;
        pass(3_700).await;
    });
    // What was denied in the runtimes that ended is told too.
    let ceased = "INFO rate_limit_ceased denied=13 policy=ip";
    assert_eq!(lines.take(), ["WARN rate_limit_denying policy=ip", ceased]);

    let without = || {
        let mut future = std::pin::pin!(deny(&layer, 3));
        let waker = std::task::Waker::noop();
        let polled = future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_ready());
    };
    without();
    without();
    assert_eq!(lines.take(), ["WARN rate_limit_denying policy=ip"]);
}

#[test]
fn a_runtime_without_a_timer_is_only_the_first_line() {
    let (lines, _guard) = Lines::capture();
    let (_, layer) = embedded("1/1h");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        admit(&layer, 1).await;
        for _ in 0..3 {
            deny(&layer, 3).await;
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(lines.take(), ["WARN rate_limit_denying policy=ip"]);
}
