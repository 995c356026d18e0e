//! How long a decision holds the server, under the worst that it can be asked and the worst that it can find.

use palisade_tests::redis::RedisServer;
use redis::Connection;
use tokio::task::JoinSet;

use super::script::{Ask, SOURCE, log_of, plan_of};
use super::{Request, limits, patient, quota};

/// The server's own measure of a call, in microseconds.
const MOST: u64 = 20_000;
const MINUTE: u64 = 60_000_000;
const MILLION: u64 = 1_000_000;
/// The most requests of a call.
const BATCH: usize = 32;

struct Server {
    connection: Connection,
    sha: String,
    _server: RedisServer,
}

impl Server {
    fn start() -> Self {
        let server = RedisServer::start();
        let client = redis::Client::open(server.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let load = redis::cmd("SCRIPT")
            .arg("LOAD")
            .arg(SOURCE)
            .query(&mut connection);
        Self {
            sha: load.unwrap(),
            connection,
            _server: server,
        }
    }

    fn now(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut self.connection).unwrap();
        seconds * MILLION + micros
    }

    fn set(&mut self, key: &str, value: &[u8]) {
        redis::cmd("SET")
            .arg(key)
            .arg(value)
            .exec(&mut self.connection)
            .unwrap();
    }

    /// Fills every key of a batch with what `source` holds.
    fn copy(&mut self) {
        for key in 0..BATCH {
            let mut copy = redis::cmd("COPY");
            copy.arg("source").arg(key.to_string()).arg("REPLACE");
            copy.exec(&mut self.connection).unwrap();
        }
    }

    /// The least time of some calls, each after `prepare`: a machine that is busy with something else does not decide.
    fn holds(&mut self, requests: &[Vec<Ask>], mut prepare: impl FnMut(&mut Self)) -> u64 {
        let calls = (0..5).map(|_| {
            prepare(self);
            redis::cmd("CONFIG")
                .arg("RESETSTAT")
                .exec(&mut self.connection)
                .unwrap();
            let mut call = redis::cmd("EVALSHA");
            call.arg(&self.sha)
                .arg(requests.iter().map(Vec::len).sum::<usize>());
            for ask in requests.iter().flatten() {
                call.arg(&ask.key);
            }
            call.arg(plan_of(requests))
                .exec(&mut self.connection)
                .unwrap();
            let stats = redis::cmd("INFO")
                .arg("commandstats")
                .query(&mut self.connection);
            let stats: String = stats.unwrap();
            let line = stats
                .lines()
                .find(|line| line.starts_with("cmdstat_evalsha:"));
            let usec = line.and_then(|line| line.split("usec=").nth(1)?.split(',').next());
            usec.unwrap().parse().unwrap()
        });
        calls.min().unwrap()
    }
}

/// A request of each of a batch's clients.
fn batch(limit: u32, cost: u32) -> Vec<Vec<Ask>> {
    let ask = |key: usize| Ask {
        key: key.to_string(),
        limit,
        window: MINUTE,
        cost,
        enforced: true,
    };
    (0..BATCH).map(|key| vec![ask(key)]).collect()
}

/// A million stamps in the window, the newest made `back` microseconds before now.
fn million(now: u64, back: i64) -> Vec<u8> {
    let newest = now.wrapping_sub_signed(back);
    log_of((1..=MILLION).rev().map(|age| newest - age * 50))
}

#[test]
fn no_decision_holds_the_server_whatever_the_quota_the_cost_and_the_log() {
    let mut server = Server::start();
    let mut told = Vec::new();
    let mut tell = |what: &str, micros: u64| told.push(format!("{micros} µs: {what}"));

    let now = server.now();
    server.set("source", &million(now, 0));
    let lowered = server.holds(&batch(200, 1), Server::copy);
    tell(
        "logs of a million under a quota that was lowered to 200",
        lowered,
    );
    let full = server.holds(&batch(1_000_000, 300), Server::copy);
    tell("full logs of a million", full);

    let now = server.now();
    server.set("source", &million(now, 30 * MILLION as i64));
    let aside = server.holds(&batch(1_000_000, 300), Server::copy);
    tell("logs of a million, half of which has left", aside);
    let now = server.now();
    server.set("source", &million(now, 2 * MINUTE as i64));
    let expired = server.holds(&batch(1_000_000, 300), Server::copy);
    tell("logs of a million, all of which has left", expired);

    let now = server.now();
    server.set("source", &million(now, -3_600 * MILLION as i64));
    let ahead = server.holds(&batch(1_000_000, 1), Server::copy);
    tell("logs of a million that a clock left in the future", ahead);

    server.set("source", &vec![b'7'; 5_000_002]);
    let garbage = server.holds(&batch(200, 1), Server::copy);
    tell("five megabytes of garbage", garbage);

    let empty = |server: &mut Server| {
        redis::cmd("FLUSHALL").exec(&mut server.connection).unwrap();
    };
    let one = batch(1_000_000, 10_000).concat();
    tell(
        "one request under 32 policies, at the highest cost",
        server.holds(&[one], empty),
    );
    let shared = batch(1_000_000, 312).into_iter().map(|mut request| {
        request[0].key = "shared".to_owned();
        request
    });
    let shared: Vec<_> = shared.collect();
    tell(
        "32 requests of one client that cost 312 each",
        server.holds(&shared, empty),
    );

    println!("{}", told.join("\n"));
    let worst = told
        .iter()
        .map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap());
    assert!(worst.max().unwrap() < MOST, "{told:#?}");
}

#[tokio::test]
async fn requests_share_a_call_only_up_to_a_cost_of_ten_thousand_together() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let limits = limits(&store);
    // The connection, and the script's text.
    Request::of("192.0.2.1", "ada")
        .admit(&limits)
        .await
        .unwrap();
    server.cli(&["CONFIG", "RESETSTAT"]);
    let mut asked = JoinSet::new();
    for _ in 0..BATCH {
        let limits = limits.clone();
        asked.spawn(async move {
            // Two of these, under two policies each, would write 12,000 stamps.
            let mut request = Request::of("192.0.2.1", "ada");
            request.quotas = [quota(1_000_000, 60), quota(1_000_000, 60)];
            request.cost = 3_000;
            request.admit(&limits).await.unwrap().admitted
        });
    }
    assert!(asked.join_all().await.into_iter().all(|admitted| admitted));
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = format!("cmdstat_evalsha:calls={BATCH},");
    assert!(stats.contains(&calls), "{stats}");
}
