//! In any true window: never more than the quota, never fewer than possible.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::{Duration, Instant};

use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::Webstore;
use tokio::task::JoinSet;

/// When a request was sent, when its answer came, and whether it was admitted: the store's decision lies between.
#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    answered: Instant,
    admitted: bool,
}

async fn send(client: Client) -> Sent {
    let at = Instant::now();
    let status = client.get("/us/products", &[]).await.status;
    assert!(status == 200 || status == 429, "{status}");
    Sent {
        at,
        answered: Instant::now(),
        admitted: status == 200,
    }
}

/// All at once, spread over the processes.
async fn burst(clients: &[Client], requests: usize) -> Vec<Sent> {
    let mut tasks = JoinSet::new();
    for client in clients.iter().cycle().take(requests) {
        tasks.spawn(send(client.clone()));
    }
    tasks.join_all().await
}

fn admitted(sent: &[Sent]) -> usize {
    sent.iter().filter(|sent| sent.admitted).count()
}

/// No admissions that surely lie within one window outnumber the quota.
fn assert_never_more(sent: &[Sent], quota: usize, window: Duration) {
    let mut admitted: Vec<_> = sent.iter().filter(|sent| sent.admitted).collect();
    admitted.sort_by_key(|sent| sent.at);
    for first in &admitted {
        let within = admitted
            .iter()
            // Decided after `first` was sent, and before a window had passed since.
            .filter(|other| other.at >= first.at && other.answered < first.at + window)
            .count();
        assert!(within <= quota, "{within} admitted within {window:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_from_two_processes_admit_exactly_the_quota() {
    let redis = RedisServer::start();
    let config = "[rate_limit]\nip = '200/1m'\n";
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), config));
    let sent = burst(&processes.each_ref().map(Webstore::client), 1_000).await;
    assert_eq!(admitted(&sent), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_admit_exactly_the_quota_of_one_process_on_memory() {
    let webstore = Webstore::start(None, "[rate_limit]\nip = '200/1m'\n");
    let sent = burst(&[webstore.client()], 1_000).await;
    assert_eq!(admitted(&sent), 200);
}

/// Idle, a burst at the end of a window, another just after its edge, then steady: two processes, one window of
/// two seconds.
async fn bursts_around_the_edge(clients: &[Client]) {
    const QUOTA: usize = 50;
    const WINDOW: Duration = Duration::from_secs(2);
    let mut all = Vec::new();

    let first = burst(clients, QUOTA / 2).await;
    assert_eq!(admitted(&first), QUOTA / 2);
    let oldest = first.iter().map(|sent| sent.at).min().unwrap();
    let newest = first.iter().map(|sent| sent.answered).max().unwrap();
    all.extend(first);

    tokio::time::sleep_until((oldest + WINDOW * 3 / 4).into()).await;
    let second = burst(clients, QUOTA).await;
    // Unless the machine was so slow that the first burst had left by then.
    if second.iter().all(|sent| sent.answered < oldest + WINDOW) {
        assert_eq!(admitted(&second), QUOTA / 2);
    }
    all.extend(second);

    // The first burst has left the window and the second has not, however slow the machine.
    tokio::time::sleep_until((newest + WINDOW + Duration::from_millis(20)).into()).await;
    let third = burst(clients, QUOTA).await;
    if third
        .iter()
        .all(|sent| sent.answered < oldest + WINDOW * 7 / 4)
    {
        assert_eq!(admitted(&third), QUOTA / 2, "just after the edge");
    }
    all.extend(third);

    // Steady, at about the rate of the quota.
    for _ in 0..3 * QUOTA {
        all.extend(burst(clients, 1).await);
        tokio::time::sleep(WINDOW / (QUOTA as u32)).await;
    }
    assert_never_more(&all, QUOTA, WINDOW);

    // Idle for a whole window, so that all of the quota is there again.
    tokio::time::sleep(WINDOW + Duration::from_millis(20)).await;
    let last = burst(clients, QUOTA).await;
    assert_eq!(admitted(&last), QUOTA);
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_at_the_edge_of_a_window_never_exceed_it_from_two_processes_on_redis() {
    let redis = RedisServer::start();
    let processes =
        [(), ()].map(|()| Webstore::start(Some(&redis.url()), "[rate_limit]\nip = '50/2s'\n"));
    bursts_around_the_edge(&processes.each_ref().map(Webstore::client)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_at_the_edge_of_a_window_never_exceed_it_on_memory() {
    let webstore = Webstore::start(None, "[rate_limit]\nip = '50/2s'\n");
    bursts_around_the_edge(&[webstore.client()]).await;
}
