//! The script itself, with the clock in the test's hands.

use palisade_tests::redis::RedisServer;
use redis::{Connection, Value};

pub(crate) const SOURCE: &str = lua!("refused", "admit_request");

/// A clock in a script's last two arguments.
pub(crate) const CLOCK: (&str, &str) = ("call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}");

/// Past any real time, so that no expiry falls due while a test steps its clock back by days.
pub(crate) const EPOCH: u64 = 4_000_000_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) key: String,
    pub(crate) limit: u32,
    pub(crate) window: u64,
    pub(crate) cost: u32,
    pub(crate) enforced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) remaining: i64,
    pub(crate) reset: i64,
    pub(crate) retry: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) broken: i64,
    pub(crate) verdicts: Vec<(bool, Vec<Tier>)>,
    /// Bytes of logs that the script read.
    pub(crate) read: i64,
}

pub(crate) struct Script {
    connection: Connection,
    sha: String,
}

pub(crate) fn ask(key: &str, limit: u32, window: u64) -> Ask {
    Ask {
        key: key.to_owned(),
        limit,
        window,
        cost: 1,
        enforced: true,
    }
}

/// The charges of a batch, as the script reads them.
pub(crate) fn plan_of(requests: &[Vec<Ask>]) -> Vec<u8> {
    let mut plan = Vec::new();
    for request in requests {
        for (place, ask) in request.iter().enumerate() {
            plan.push(u8::from(place == 0) | u8::from(ask.enforced) << 1);
            plan.extend(ask.limit.to_be_bytes());
            plan.extend(&ask.window.to_be_bytes()[3..]);
            plan.extend(ask.cost.to_be_bytes());
        }
    }
    plan
}

/// Loads a script of which this much is another, each of it there once.
pub(crate) fn load(
    server: &RedisServer,
    source: &str,
    others: &[(&str, &str)],
) -> (Connection, String) {
    let source = others.iter().fold(source.to_owned(), |source, (from, to)| {
        assert_eq!(source.matches(from).count(), 1, "{from}");
        source.replace(from, to)
    });
    let client = redis::Client::open(server.admin_url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut load = redis::cmd("SCRIPT");
    let sha = load.arg("LOAD").arg(source).query(&mut connection).unwrap();
    (connection, sha)
}

impl Script {
    /// The script with a clock in `ARGV[2]` and `ARGV[3]`, and with what it reads counted.
    pub(crate) fn on(server: &RedisServer) -> Self {
        let others = [
            ("call('TIME')", "{ARGV[2], ARGV[3]}"),
            ("#ARGV ~= 1", "#ARGV ~= 3"),
            (
                "local call, try = redis.call, redis.pcall",
                "local read = 0
                 local function count(r)
                   if type(r) == 'string' then read = read + #r end
                   if type(r) == 'table' then for _, v in ipairs(r) do count(v) end end
                   return r
                 end
                 local function call(...) return count(redis.call(...)) end
                 local function try(...) return count(redis.pcall(...)) end",
            ),
            (
                "reply[1] = dropped\n",
                "reply[1] = dropped\nfilled = filled + 1\nreply[filled] = read\n",
            ),
        ];
        let (connection, sha) = load(server, SOURCE, &others);
        Self { connection, sha }
    }

    pub(crate) fn redis(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Decides a batch at `now`, in microseconds.
    pub(crate) fn run(&mut self, now: u64, requests: &[Vec<Ask>]) -> Reply {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.sha)
            .arg(requests.iter().map(Vec::len).sum::<usize>());
        for ask in requests.iter().flatten() {
            call.arg(&ask.key);
        }
        call.arg(plan_of(requests))
            .arg(now / 1_000_000)
            .arg(now % 1_000_000);
        let reply: Vec<u8> = call.query(&mut self.connection).unwrap();
        let mut numbers = reply.chunks_exact(5).map(|number| {
            let number = number
                .iter()
                .fold(0, |number, byte| number << 8 | i64::from(*byte));
            if number == (1 << 40) - 1 { -1 } else { number }
        });
        let mut next = || numbers.next().unwrap();
        let broken = next();
        let verdicts = requests
            .iter()
            .map(|request| {
                let admitted = next() == 1;
                let tier = |_: &Ask| Tier {
                    remaining: next(),
                    reset: next(),
                    retry: next(),
                };
                (admitted, request.iter().map(tier).collect())
            })
            .collect();
        Reply {
            broken,
            verdicts,
            read: next(),
        }
    }

    /// One request under one policy.
    pub(crate) fn one(&mut self, now: u64, ask: Ask) -> (bool, Tier) {
        let (admitted, tiers) = self.run(now, &[vec![ask]]).verdicts.remove(0);
        (admitted, tiers[0])
    }
}

#[test]
fn refuses_arguments_that_do_not_fit_together() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let sha = script.sha.clone();
    for (keys, plan) in [(0, 0), (1, 13), (1, 15), (2, 14), (1, 0)] {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&sha).arg(keys);
        for key in 0..keys {
            call.arg(key);
        }
        let reply = call
            .arg(vec![0_u8; plan])
            .arg(0)
            .arg(0)
            .query::<Value>(script.redis());
        assert!(
            reply
                .unwrap_err()
                .to_string()
                .contains("admit_request wants")
        );
    }
}

/// A log of `stamps`, as the script writes it.
pub(crate) fn log_of(stamps: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut log = vec![0x9a, 1];
    for stamp in stamps {
        log.extend(&stamp.to_be_bytes()[3..]);
    }
    log
}

#[test]
fn decides_under_a_quota_of_a_million_without_reading_the_log() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    // A million hits in a minute, one each 60 µs; the window has moved on by a third of it.
    let log = log_of((0..1_000_000).map(|i| EPOCH + i * 60));
    redis::cmd("SET")
        .arg("million")
        .arg(log)
        .exec(script.redis())
        .unwrap();
    let now = EPOCH + 80_000_000;
    let asked = vec![ask("million", 1_000_000, 60_000_000)];
    let reply = script.run(now, std::slice::from_ref(&asked));
    // Stamps up to 20,000,000 µs have left: 333,334 of them.
    assert_eq!(reply.verdicts[0].1[0].remaining, 333_333);
    assert!(reply.verdicts[0].0 && reply.read < 64_000, "{reply:?}");

    // The log was set aside, whole. Nothing of it is read or written any more but for the search.
    let mut length = |key: &str| -> usize {
        let length = redis::cmd("STRLEN").arg(key).query(script.redis());
        length.unwrap()
    };
    assert_eq!([length("million"), length("million:older")], [7, 5_000_002]);
    let reply = script.run(now + 20_000_000, &[asked]);
    assert_eq!(reply.verdicts[0].1[0].remaining, 666_665);
    assert!(reply.verdicts[0].0 && reply.read < 64_000, "{reply:?}");
}

#[test]
fn reads_two_short_logs_once() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let request = vec![ask("ip", 200, 60_000_000), ask("user", 60, 60_000_000)];
    for _ in 0..60 {
        script.run(EPOCH, std::slice::from_ref(&request));
    }
    assert_eq!(script.run(EPOCH + 1, &[request]).read, 2 * (2 + 60 * 5));
}
