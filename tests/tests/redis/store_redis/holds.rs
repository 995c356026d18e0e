//! How long a decision holds the server, under the worst that it can be asked and the worst that it can find; `trails` has the
//! scripts of suspicion and of the funnel, `planted` what other programs may have left, and `logs` what they may have left of logs.

mod logs;
mod planted;
mod trails;

use palisade_tests::redis::RedisServer;
use redis::Connection;
use tokio::task::JoinSet;

use super::script::{Ask, SOURCE, load, log_of, plan_of};
use super::{Request, limits, patient, quota};

/// What a call may take of the server's time, by its own measure, in microseconds: on a machine on which it takes [`USUAL`] for
/// [`WORK`], and longer on a slower one.
const MOST: u64 = 20_000;
const USUAL: u64 = 30_000;
const WORK: &str = "
    local bytes, sum = string.rep('0123456789abc', 64), 0
    for i = 1, 10000 do
        sum = sum + struct.unpack('>I5', bytes, i % 64 * 13 + 1) % 7
        bytes = string.sub(bytes, 14) .. string.sub(bytes, 1, 13)
    end
    return sum
";
const MINUTE: u64 = 60_000_000;
const MILLION: u64 = 1_000_000;
/// The most requests of a call.
const BATCH: usize = 32;

struct Server {
    connection: Connection,
    sha: String,
    _server: RedisServer,
    /// A key that comes before the others.
    ledger: Option<&'static str>,
}

impl Server {
    fn start(source: &str) -> Self {
        let server = RedisServer::start();
        let (connection, sha) = load(&server, source, &[]);
        Self {
            connection,
            sha,
            ledger: None,
            _server: server,
        }
    }

    /// The same for a script whose first key is a ledger.
    fn with_ledger(source: &str) -> Self {
        let mut server = Self::start(source);
        server.ledger = Some("ledger");
        server
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

    /// Fills these keys with what `source` holds.
    fn copy(&mut self, keys: &[String]) {
        for key in keys {
            let mut copy = redis::cmd("COPY");
            copy.arg("source").arg(key).arg("REPLACE");
            copy.exec(&mut self.connection).unwrap();
        }
    }

    /// The same on a server that holds nothing else.
    fn afresh(&mut self, value: &[u8], keys: &[String]) {
        redis::cmd("FLUSHALL").exec(&mut self.connection).unwrap();
        self.set("source", value);
        self.copy(keys);
    }

    /// For how long the thread that runs commands has worked, in microseconds.
    fn worked(&mut self) -> u64 {
        let mut info = redis::cmd("INFO");
        let info: String = info.arg("cpu").query(&mut self.connection).unwrap();
        let seconds = info.lines().filter_map(|line| {
            let (name, seconds) = line.split_once(':')?;
            name.ends_with("_main_thread")
                .then(|| seconds.parse::<f64>().unwrap())
        });
        (seconds.sum::<f64>() * 1e6) as u64
    }

    /// The least time of some calls, each after `prepare`: a machine that is busy with something else does not decide.
    fn holds(
        &mut self,
        keys: &[String],
        arguments: &[Vec<u8>],
        mut prepare: impl FnMut(&mut Self, &[String]),
    ) -> u64 {
        let calls = (0..10).map(|_| {
            prepare(self, keys);
            let mut call = redis::cmd("EVALSHA");
            let ledger = self.ledger.as_slice();
            call.arg(&self.sha).arg(ledger.len() + keys.len());
            call.arg(ledger).arg(keys);
            for argument in arguments {
                call.arg(argument);
            }
            let before = self.worked();
            call.exec(&mut self.connection).unwrap();
            self.worked() - before
        });
        calls.min().unwrap()
    }

    fn decides(&mut self, requests: &[Vec<Ask>], prepare: impl FnMut(&mut Self, &[String])) -> u64 {
        let keys: Vec<_> = requests
            .iter()
            .flatten()
            .map(|ask| ask.key.clone())
            .collect();
        self.holds(&keys, &[plan_of(requests)], prepare)
    }
}

/// What a call may take on this machine.
fn most(server: &mut Server) -> u64 {
    let works = (0..5).map(|_| {
        let before = server.worked();
        let mut work = redis::cmd("EVAL");
        work.arg(WORK).arg(0).exec(&mut server.connection).unwrap();
        server.worked() - before
    });
    MOST * works.min().unwrap().max(USUAL) / USUAL
}

/// Holds that every one of these calls is short.
fn all_short(server: &mut Server, told: &[(u64, String)]) {
    let most = most(server);
    for (micros, what) in told {
        println!("{micros} µs of {most}: {what}");
    }
    assert!(told.iter().all(|(micros, _)| *micros < most), "{told:#?}");
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
    let newest = now.wrapping_add_signed(-back);
    log_of((1..=MILLION).rev().map(|age| newest - age * 50))
}

#[test]
fn no_decision_holds_the_server_whatever_the_quota_the_cost_and_the_log() {
    let mut server = Server::start(SOURCE);
    let mut told = Vec::new();
    let mut tell = |what: &str, micros: u64| told.push((micros, what.to_owned()));

    let now = server.now();
    server.set("source", &million(now, 0));
    let lowered = server.decides(&batch(200, 1), Server::copy);
    tell(
        "logs of a million under a quota that was lowered to 200",
        lowered,
    );
    let full = server.decides(&batch(1_000_000, 300), Server::copy);
    tell("full logs of a million", full);

    let now = server.now();
    server.set("source", &million(now, 30 * MILLION as i64));
    let aside = server.decides(&batch(1_000_000, 300), Server::copy);
    tell("logs of a million, half of which has left", aside);
    let now = server.now();
    server.set("source", &million(now, 2 * MINUTE as i64));
    let expired = server.decides(&batch(1_000_000, 300), Server::copy);
    tell("logs of a million, all of which has left", expired);

    let now = server.now();
    server.set("source", &million(now, -3_600 * MILLION as i64));
    let ahead = server.decides(&batch(1_000_000, 1), Server::copy);
    tell("logs of a million that a clock left in the future", ahead);

    server.set("source", &vec![b'7'; 5_000_002]);
    let garbage = server.decides(&batch(200, 1), Server::copy);
    tell("five megabytes of garbage", garbage);

    let empty = |server: &mut Server, _: &[String]| {
        redis::cmd("FLUSHALL").exec(&mut server.connection).unwrap();
    };
    let one = batch(1_000_000, 10_000).concat();
    tell(
        "one request under 32 policies, at the highest cost",
        server.decides(&[one], empty),
    );
    let shared = batch(1_000_000, 312).into_iter().map(|mut request| {
        request[0].key = "shared".to_owned();
        request
    });
    let shared: Vec<_> = shared.collect();
    tell(
        "32 requests of one client that cost 312 each",
        server.decides(&shared, empty),
    );

    all_short(&mut server, &told);
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
