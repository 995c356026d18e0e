//! What each loss of a log can add to one window: a quota, and no more.

use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::Webstore;
use tokio::task::JoinSet;

/// All of a test lies within this window of an hour. The deadline is longer than a busy machine takes for a call,
/// and as short as a test can wait for a server that hangs.
const CONFIG: &str = "[store]\ndeadline = '5s'\n[rate_limit]\nip = '100/1h'\n";
const QUOTA: usize = 100;

/// Two processes with one limit, and one client of each.
struct Processes([(Webstore, Client); 2]);

impl Processes {
    fn start(redis: &RedisServer) -> Self {
        Self([(), ()].map(|()| {
            let webstore = Webstore::start(Some(&redis.url()), CONFIG);
            let client = webstore.client();
            (webstore, client)
        }))
    }

    /// So many requests to each process, all at once; how many of them each admitted.
    async fn admit(&self, requests: usize) -> [usize; 2] {
        let mut tasks = JoinSet::new();
        for (process, (_, client)) in self.0.iter().enumerate() {
            for _ in 0..requests {
                let client = client.clone();
                tasks.spawn(async move { (process, client.get("/us/products", &[]).await.status) });
            }
        }
        let mut admitted = [0; 2];
        for (process, status) in tasks.join_all().await {
            assert!(status == 200 || status == 429, "{status}");
            admitted[process] += usize::from(status == 200);
        }
        admitted
    }

    /// What each process has counted by now.
    async fn counts(&self, result: &str) -> [f64; 2] {
        let mut counts = [0.0; 2];
        for (count, (webstore, _)) in counts.iter_mut().zip(&self.0) {
            let labels = [("policy", "ip"), ("result", result)];
            let scrape = webstore.scrape().await;
            *count = scrape.sum("webstore_rate_limit_requests_total", &labels);
        }
        counts
    }

    async fn until_redis_decides(&self) {
        for (webstore, _) in &self.0 {
            webstore.until_breaker_closes().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_add_at_most_one_quota_for_each_process_however_often_redis_goes_and_returns() {
    let redis = RedisServer::start();
    let processes = Processes::start(&redis);
    // Never to a denial while Redis answers: a remembered one would be given without asking the local log.
    assert_eq!(processes.admit(10).await, [10, 10]);
    assert_eq!(processes.counts("admitted").await, [10.0, 10.0]);

    redis.pause();
    assert_eq!(processes.admit(30).await, [30, 30]);
    assert_eq!(processes.counts("fallback_admitted").await, [30.0, 30.0]);
    redis.resume();
    processes.until_redis_decides().await;
    // Redis may have charged the 60 as well, since their calls can wait in its socket; these 20 still fit.
    assert_eq!(processes.admit(10).await, [10, 10]);
    assert_eq!(processes.counts("admitted").await, [20.0, 20.0]);

    // Each process goes on counting where it left off, up to one quota.
    redis.pause();
    assert_eq!(processes.admit(QUOTA).await, [70, 70]);
    assert_eq!(processes.counts("fallback_admitted").await, [100.0, 100.0]);
    assert_eq!(processes.counts("fallback_denied").await, [30.0, 30.0]);
    redis.resume();
    processes.until_redis_decides().await;

    // And so does Redis.
    processes.admit(QUOTA).await;
    let by_redis: f64 = processes.counts("admitted").await.iter().sum();
    assert!((40.0..=100.0).contains(&by_redis), "{by_redis} by Redis");
    assert_eq!(processes.counts("fallback_admitted").await, [100.0, 100.0]);
    assert!(
        processes
            .counts("denied")
            .await
            .iter()
            .all(|denied| *denied > 0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_empties_redis_adds_one_quota_and_its_outage_one_for_each_process() {
    let mut redis = RedisServer::start();
    let processes = Processes::start(&redis);
    assert_eq!(processes.admit(QUOTA / 2).await, [QUOTA / 2; 2]);
    redis.kill();
    assert_eq!(processes.admit(QUOTA + 20).await, [QUOTA; 2]);
    assert_eq!(processes.counts("fallback_denied").await, [20.0, 20.0]);
    redis.restart();
    processes.until_redis_decides().await;
    assert_eq!(processes.admit(QUOTA).await.iter().sum::<usize>(), QUOTA);
    assert_eq!(processes.admit(QUOTA).await, [0, 0]);
    // One quota before, one after, and one of each process in between.
    let admitted: f64 = processes.counts("admitted").await.iter().sum();
    assert_eq!(admitted, 2.0 * QUOTA as f64);
    assert_eq!(processes.counts("fallback_admitted").await, [100.0; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_adds_one_quota_and_no_more() {
    let redis = RedisServer::start();
    let processes = Processes::start(&redis);
    assert_eq!(processes.admit(QUOTA / 2).await, [QUOTA / 2; 2]);
    redis.cli(&["FLUSHALL"]);
    assert_eq!(processes.admit(QUOTA).await.iter().sum::<usize>(), QUOTA);
    assert_eq!(processes.admit(QUOTA).await, [0, 0]);
    assert_eq!(processes.counts("fallback_admitted").await, [0.0, 0.0]);
}
