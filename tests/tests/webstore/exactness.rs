//! In any true window: never more than the quota, never fewer than possible.

use std::time::{Duration, Instant};

use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};
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

/// Whoever was denied found as many as the quota that may have been within the window by then.
fn assert_never_fewer(sent: &[Sent], quota: usize, window: Duration) {
    for denied in sent.iter().filter(|sent| !sent.admitted) {
        let held = sent
            .iter()
            .filter(|sent| sent.admitted)
            // Not surely decided after it, and not surely a window before it.
            .filter(|other| other.at <= denied.answered && other.answered + window >= denied.at)
            .count();
        assert!(held >= quota, "denied with {held} within {window:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_from_two_processes_admit_exactly_the_quota() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}[rate_limit]\nip = '200/1h'\n");
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config));
    let sent = burst(&processes.each_ref().map(Webstore::client), 1_000).await;
    assert_eq!(admitted(&sent), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_admit_exactly_the_quota_of_one_process_on_memory() {
    let webstore = Webstore::start(None, "[rate_limit]\nip = '200/1h'\n");
    let sent = burst(&[webstore.client()], 1_000).await;
    assert_eq!(admitted(&sent), 200);
}

const QUOTA: usize = 50;
/// Long against the fraction of a second that a burst takes, so that each ends within its part of the window. Where one does
/// not, less is certain, and less is demanded.
const WINDOW: Duration = Duration::from_secs(10);
const LIMIT: &str = "[rate_limit]\nip = '50/10s'\n";

/// When the first of a burst was sent, and the last answered.
fn span(sent: &[Sent]) -> (Instant, Instant) {
    let first = sent.iter().map(|sent| sent.at).min().unwrap();
    let last = sent.iter().map(|sent| sent.answered).max().unwrap();
    (first, last)
}

/// Two bursts that share a window, a third just after the first has left it, then steady, then idle.
async fn bursts_around_the_edge(clients: &[Client]) {
    const MARGIN: Duration = Duration::from_millis(20);
    let mut all = Vec::new();

    let first = burst(clients, QUOTA / 2).await;
    assert_eq!(admitted(&first), QUOTA / 2);

    tokio::time::sleep_until((span(&first).0 + WINDOW * 3 / 5).into()).await;
    // Half of these are admitted, later in the window of the first.
    let second = burst(clients, QUOTA).await;

    // The first burst has left the window and the second has not.
    tokio::time::sleep_until((span(&first).1 + WINDOW + MARGIN).into()).await;
    // And half of these, just after it.
    let third = burst(clients, QUOTA).await;

    all.extend(first.into_iter().chain(second).chain(third));
    // Steady, at about the rate of the quota, from each process in turn.
    for client in clients.iter().cycle().take(QUOTA * 3 / 2) {
        all.push(send(client.clone()).await);
        tokio::time::sleep(WINDOW / (QUOTA as u32)).await;
    }
    assert_never_more(&all, QUOTA, WINDOW);
    assert_never_fewer(&all, QUOTA, WINDOW);

    // Idle for a whole window, so that all of the quota is there again.
    tokio::time::sleep(WINDOW + MARGIN).await;
    let last = burst(clients, QUOTA).await;
    assert_eq!(admitted(&last), QUOTA);
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_at_the_edge_of_a_window_never_exceed_it_from_two_processes_on_redis() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{LIMIT}");
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config));
    bursts_around_the_edge(&processes.each_ref().map(Webstore::client)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_at_the_edge_of_a_window_never_exceed_it_on_memory() {
    let webstore = Webstore::start(None, LIMIT);
    bursts_around_the_edge(&[webstore.client()]).await;
}
