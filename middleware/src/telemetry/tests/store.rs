use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::exposition::{scrape, telemetry};
use crate::model::metrics::{Metric, Metrics};
use crate::model::{Operation, Outcome};
use crate::store::{Analytics, Calls, metrics};

/// A store as one test wants it.
#[derive(Default)]
pub(super) struct Store {
    breaker_open: AtomicBool,
    corrupt_keys: AtomicU64,
}

impl Metrics for Store {
    const METRICS: &'static [Metric<Self>] = &[
        Metric::new(metrics::BREAKER, |store, series| {
            series.add(&[], store.breaker_open.load(Ordering::Relaxed).into());
        }),
        Metric::new(metrics::CORRUPT, |store, series| {
            series.add(&[], store.corrupt_keys.load(Ordering::Relaxed));
        }),
        Metric::new(metrics::OVER_BUDGET, |_, series| {
            for kind in Analytics::ALL {
                series.add(&[kind.as_str()], 0);
            }
        }),
    ];
}

const BREAKER: &str = "shop_store_breaker_open";
const CORRUPT: &str = "shop_store_corrupt_keys_total";

#[tokio::test]
async fn a_store_that_is_watched_shows_its_state_at_each_scrape() {
    let telemetry = telemetry();
    assert!(scrape(&telemetry).await.values(BREAKER, &[]).is_empty());

    let store = Arc::new(Store::default());
    telemetry.watch(&store);
    for (count, open) in [(0, 0.0), (1, 0.0), (2, 1.0)] {
        store.corrupt_keys.store(count, Ordering::Relaxed);
        store.breaker_open.store(count > 1, Ordering::Relaxed);
        let scrape = scrape(&telemetry).await;
        assert_eq!(scrape.values(CORRUPT, &[]), [count as f64]);
        assert_eq!(scrape.values(BREAKER, &[]), [open]);
    }
}

#[tokio::test]
async fn several_stores_are_one_metric() {
    let telemetry = telemetry();
    for (breaker_open, corrupt_keys) in [(false, 3), (true, 4), (false, 0)] {
        telemetry.watch(&Arc::new(Store {
            breaker_open: breaker_open.into(),
            corrupt_keys: corrupt_keys.into(),
        }));
    }
    let scrape = scrape(&telemetry).await;
    assert_eq!(scrape.values(CORRUPT, &[]), [7.0]);
    assert_eq!(scrape.values(BREAKER, &[]), [1.0]);
}

#[tokio::test]
async fn calls_are_recorded_in_seconds_by_operation_and_outcome() {
    let telemetry = telemetry();
    let observe = telemetry.timer::<Calls>();
    observe(Operation::Admit, Outcome::Ok, Duration::from_micros(200));
    observe(Operation::Admit, Outcome::Ok, Duration::from_micros(300));
    observe(
        Operation::Admit,
        Outcome::Timeout,
        Duration::from_millis(51),
    );
    let scrape = scrape(&telemetry).await;
    let bucket = |outcome, le| {
        let labels = [("operation", "admit"), ("outcome", outcome), ("le", le)];
        scrape.values("shop_store_operation_duration_seconds_bucket", &labels)
    };
    assert_eq!(bucket("ok", "0.0001"), [0.0]);
    assert_eq!(bucket("ok", "0.00025"), [1.0]);
    assert_eq!(bucket("ok", "0.0005"), [2.0]);
    assert_eq!(bucket("timeout", "0.05"), [0.0]);
    assert_eq!(bucket("timeout", "0.1"), [1.0]);
}
