//! The webstore under attack, and without its Redis: takes minutes, so `scripts/test alerts` runs it apart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use palisade_tests::load::{self, Load};
use palisade_tests::prometheus::Prometheus;
use palisade_tests::redis::RedisServer;
use palisade_tests::repository::{every_second, prometheus_with, text};
use palisade_tests::webstore::{PATIENT, Webstore};

use super::{firing, names};

const WATCHED: [&str; 3] = ["CheckoutStalled", "CredentialStuffing", "RateLimitFallback"];
/// Nobody orders anything without Redis.
const CLOSED: &str = "
[rate_limit.policies.orders]
key = 'ip'
quota = '1000/1m'
routes = ['POST /{country}/orders']
on_store_failure = 'closed'
";
/// How long everything is as it should be.
const CALM: Duration = Duration::from_secs(20);
/// CheckoutStalled looks back five minutes, over the last order, and waits for two more.
const PATIENCE: Duration = Duration::from_secs(9 * 60);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes eight minutes: scripts/test alerts"]
async fn an_outage_and_an_attack_fire_what_is_meant_for_them_and_calm_fires_nothing() {
    load::binary();
    let mut redis = RedisServer::start();
    // Its own `checkout` is for users alone: without Redis, anonymous customers would still be served.
    let settings = text("load/webstore.toml");
    // With sessions nobody could sign in without Redis.
    let settings = settings.replace("\n[sessions]", "\n# [sessions]");
    let config = PATIENT.to_owned() + &settings + CLOSED;
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let prometheus =
        Prometheus::in_folder(prometheus_with(&webstore.admin, None, every_second), &[]).await;
    let run_time = format!("--run-time={}s", (CALM + PATIENCE).as_secs());
    let honest = [
        "--personas=honest",
        "--expect-outage",
        "--seed=1",
        &run_time,
    ];
    let _customers = Load::start(&webstore.shop, &honest);

    let start = Instant::now();
    let orders = "sum(increase(webstore_funnel_stage_total{stage=\"checkout_complete\"}[5m])) > 0";
    while start.elapsed() < CALM || prometheus.query(orders, None).await.unwrap().is_empty() {
        assert!(start.elapsed() < CALM * 4, "nobody ordered anything");
        let alerts = firing(&prometheus).await;
        assert!(alerts.is_empty(), "while all is calm: {alerts:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    redis.kill();
    let stuffer = ["--personas=credential-stuffer", "--seed=2", &run_time];
    let _attacker = Load::start(&webstore.shop, &stuffer);
    let attacked = Instant::now();
    let mut fired = BTreeSet::new();
    while !WATCHED.iter().all(|alert| fired.contains(*alert)) {
        assert!(
            attacked.elapsed() < PATIENCE,
            "after {PATIENCE:?}, only {fired:?}"
        );
        for alert in names(&firing(&prometheus).await) {
            if !fired.contains(&alert) {
                println!("{alert} fires {:?} after the attack", attacked.elapsed());
                fired.insert(alert);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // They go on as long as their cause does.
    let still = names(&firing(&prometheus).await);
    assert!(
        WATCHED.iter().all(|alert| still.contains(*alert)),
        "{still:?}"
    );
}
