//! Logs that the tests write, the command over them, and the simplest count of what must come out.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Output};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::palisade;

/// One line of a log that the test writes.
#[derive(Clone)]
pub(super) struct Hit {
    pub(super) at: i64,
    pub(super) client: String,
    pub(super) request: &'static str,
    pub(super) status: u16,
}

/// 2016-12-22T13:30:00Z.
const START: i64 = 1_482_413_400;

/// A few hundred hits from a dozen clients at different paces, in bursts and steadily, not in order of time.
pub(super) fn traffic() -> Vec<Hit> {
    const REQUESTS: [&str; 5] = [
        r#"GET /shop/1?q=\"a\" HTTP/1.1"#,
        "POST /de/orders HTTP/1.1",
        r"\x16\x03\x01",
        "-",
        "",
    ];
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut hits = Vec::new();
    for client in 0..12_u64 {
        for _ in 0..20 + client * 10 {
            hits.push(Hit {
                at: START + next(30 * (1 + client % 4)) as i64 + 60 * next(3) as i64,
                client: match client % 3 {
                    0 => format!("2001:db8:0:{:x}::{:x}", client + 1, next(1000)),
                    _ => format!("192.0.2.{client}"),
                },
                request: REQUESTS[next(5) as usize],
                status: [200, 301, 404, 500][next(4) as usize],
            });
        }
    }
    // A shuffle, since logs are not in order either.
    for last in (1..hits.len()).rev() {
        hits.swap(last, next(last as u64 + 1) as usize);
    }
    hits
}

pub(super) fn line(hit: &Hit, wrapped: bool) -> String {
    let offset = if wrapped { 3 } else { -5 };
    let at = Timestamp::from_second(hit.at)
        .unwrap()
        .to_zoned(jiff::tz::offset(offset).to_time_zone());
    let time = at.strftime("%d/%b/%Y:%H:%M:%S %z");
    let common = format!(
        r#"{} - - [{time}] "{}" {} 382"#,
        hit.client, hit.request, hit.status
    );
    if wrapped {
        format!(r#""{common} "http://example.org/" "Mozilla/5.0 (X; Y)"""#)
    } else {
        common
    }
}

/// The network that an address counts as with a prefix of 64 bits.
pub(super) fn network(client: &str) -> String {
    match client.rsplit_once("::") {
        Some((prefix, _)) => format!("{prefix}::/64"),
        None => client.to_owned(),
    }
}

/// What is denied under `limit` in `(t-w, t]`, by client: how often, and first when.
pub(super) fn denials(hits: &[Hit], limit: usize, window: i64) -> BTreeMap<String, (u64, i64)> {
    let mut sorted = hits.to_vec();
    sorted.sort_by_key(|hit| hit.at);
    let mut admitted: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut denied: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for hit in sorted {
        let client = network(&hit.client);
        let log = admitted.entry(client.clone()).or_default();
        if log.iter().filter(|&&at| at > hit.at - window).count() < limit {
            log.push(hit.at);
        } else {
            denied.entry(client).or_insert((0, hit.at)).0 += 1;
        }
    }
    denied
}

/// A directory with logs in it, and the command run there.
pub(super) struct Logs(TempDir);

impl Logs {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.0.path().join(name), content).unwrap();
        self
    }

    pub(super) fn directory(&self) -> &std::path::Path {
        self.0.path()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = palisade(&["replay", "access"]);
        command.args(arguments).current_dir(self.0.path());
        command
    }

    pub(super) fn replay(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.replay(&[&["--json"], arguments].concat());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            output.stderr.is_empty(),
            "a progress bar without a terminal"
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(super) fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.replay(arguments);
        assert!(output.stdout.is_empty());
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

/// The traffic in two files, each in its own format and time zone.
pub(super) fn written(hits: &[Hit]) -> Logs {
    let (mut common, mut wrapped) = (String::new(), String::new());
    for (index, hit) in hits.iter().enumerate() {
        let (log, is_wrapped) = if index % 2 == 0 {
            (&mut common, false)
        } else {
            (&mut wrapped, true)
        };
        writeln!(log, "{}", line(hit, is_wrapped)).unwrap();
    }
    let logs = Logs::new();
    logs.write("common.log", common)
        .write("wrapped.log", wrapped);
    logs
}
