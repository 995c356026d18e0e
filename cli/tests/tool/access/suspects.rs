//! What failures add up to in a replay; counted here anew, in the simplest way.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::logs::{Hit, Logs, network, traffic, written};

/// First conviction, incidents, and the requests that had passed by then, by client.
type Convicted = BTreeMap<String, (i64, u64, u64)>;

/// When a client was admitted, failed, and was last reported in this episode.
#[derive(Default)]
struct Past {
    admitted: Vec<i64>,
    failures: Vec<i64>,
    reported: Option<i64>,
}

/// Counts every window anew, in the logs as [`written`] writes them: `limit` is `(requests, seconds)` for each network, `threshold` likewise for failures.
fn convictions(
    hits: &[Hit],
    limit: (usize, i64),
    threshold: (usize, i64),
    is_failure: fn(u16) -> bool,
) -> Convicted {
    // Lines of one second stand in the order of the files.
    let every_second = |from: usize| hits.iter().skip(from).step_by(2).cloned();
    let mut sorted: Vec<Hit> = every_second(0).chain(every_second(1)).collect();
    sorted.sort_by_key(|hit| hit.at);
    let mut by_client: BTreeMap<String, Past> = BTreeMap::new();
    let mut convicted = Convicted::new();
    for hit in sorted {
        let client = network(&hit.client);
        let past = by_client.entry(client.clone()).or_default();
        let Past {
            admitted,
            failures,
            reported,
        } = past;
        let within = |log: &[i64], window| log.iter().filter(|&&at| at > hit.at - window).count();
        if within(admitted, limit.1) >= limit.0 {
            continue;
        }
        admitted.push(hit.at);
        if !is_failure(hit.status) {
            continue;
        }
        let (count, window) = threshold;
        let before = within(failures, window);
        failures.push(hit.at);
        if before * 2 < count {
            *reported = None;
        }
        let is_incident = match *reported {
            Some(last) => hit.at - last >= window,
            None => before + 1 >= count,
        };
        if is_incident {
            *reported = Some(hit.at);
            let passed = admitted.len() as u64;
            convicted.entry(client).or_insert((hit.at, 0, passed)).1 += 1;
        }
    }
    convicted
}

fn listed(report: &Value, kind: &str) -> Convicted {
    let clients = report["suspicious"][kind].as_array().unwrap();
    let firsts = clients.iter().map(|client| client["first"].as_str());
    assert!(firsts.is_sorted(), "{clients:?}");
    let read = |client: &Value| {
        let first: Timestamp = client["first"].as_str().unwrap().parse().unwrap();
        let number = |key: &str| client[key].as_u64().unwrap();
        let said = (
            first.as_second(),
            number("incidents"),
            number("requests_before"),
        );
        (client["client"].as_str().unwrap().to_owned(), said)
    };
    clients.iter().map(read).collect()
}

#[test]
fn convicts_exactly_whom_counting_every_window_convicts() {
    let hits = traffic();
    let logs = written(&hits);
    let mut some = 0;
    for (quota, limit) in [("1000/1m", (1000, 60)), ("5/10s", (5, 10))] {
        for (threshold, counts) in [("3/10s", (3, 10)), ("4/30s", (4, 30)), ("10/5m", (10, 300))] {
            let scanning = format!("endpoint_scanning={threshold}");
            let abuse = format!("abuse={threshold}");
            let arguments = ["common.log", "wrapped.log", "--ip", quota];
            let options = ["--suspicion", &scanning, "--suspicion", &abuse];
            let report = logs.json(&[&arguments[..], &options].concat());
            let expected = convictions(&hits, limit, counts, |status| status == 404);
            assert_eq!(listed(&report, "endpoint_scanning"), expected, "{scanning}");
            // The traffic has no other client error.
            assert_eq!(listed(&report, "abuse"), expected, "{abuse}");
            assert_eq!(listed(&report, "credential_stuffing"), Convicted::new());
            some += expected.len();
        }
    }
    assert!(some > 12, "{some} convictions are too few to tell anything");
}

/// One line a second, from `192.0.2.<client>` with each status, each for another path.
fn log(hits: &[(u8, u16)]) -> String {
    let mut log = String::new();
    for (second, (client, status)) in hits.iter().enumerate() {
        let time = format!("22/Dec/2016:16:{:02}:{:02} +0300", second / 60, second % 60);
        let line = format!(r#""GET /login-{second} HTTP/1.1""#);
        writeln!(log, "192.0.2.{client} - - [{time}] {line} {status} 1").unwrap();
    }
    log
}

#[test]
fn each_kind_convicts_at_its_default_threshold_and_not_before() {
    for (status, kind, count) in [
        (401, "credential_stuffing", 5),
        (404, "endpoint_scanning", 10),
        (400, "abuse", 20),
        (401, "credential_stuffing_slow", 20),
    ] {
        // A success first, which is no failure and yet has passed.
        let mut hits = vec![(7, 200)];
        hits.extend(vec![(7, status); count - 1]);
        let logs = Logs::new();
        let report = logs.write("access.log", log(&hits)).json(&["access.log"]);
        assert_eq!(report["suspicious"][kind], Value::Array(vec![]), "{kind}");
        hits.push((7, status));
        let report = logs.write("access.log", log(&hits)).json(&["access.log"]);
        let convicted = &report["suspicious"][kind];
        assert_eq!(convicted.as_array().unwrap().len(), 1, "{kind}");
        assert_eq!(convicted[0]["client"], "192.0.2.7");
        assert_eq!(convicted[0]["incidents"], 1);
        assert_eq!(convicted[0]["requests_before"], count + 1, "{kind}");
    }
}

#[test]
fn what_the_limits_deny_and_what_the_old_server_limited_is_no_failure() {
    let logs = Logs::new();
    logs.write("denied.log", log(&[(1, 404); 30]))
        .write("limited.log", log(&[(1, 429); 30]));
    let convicted = |arguments: &[&str]| {
        let report = logs.json(arguments);
        ["endpoint_scanning", "abuse"].map(|kind| listed(&report, kind).len())
    };
    assert_eq!(convicted(&["denied.log"]), [1, 1]);
    assert_eq!(convicted(&["denied.log", "--ip", "9/1m"]), [0, 0]);
    assert_eq!(convicted(&["limited.log"]), [0, 0]);
}

#[test]
fn a_configuration_says_thresholds_and_exemptions_and_an_option_beats_it() {
    let logs = Logs::new();
    logs.write("access.log", log(&[(1, 404), (2, 404), (1, 404), (2, 404)]))
        .write(
            "limits.toml",
            "suspicion.endpoint_scanning = '2/5m'\nsuspicion.abuse = 'off'\n\
             suspicion.exempt = { cidrs = ['192.0.2.2/32'] }",
        )
        .write(
            "routes.toml",
            "suspicion.endpoint_scanning = '2/5m'\nsuspicion.exempt = { routes = ['GET /{page}'] }",
        );
    let scanners = |arguments: &[&str]| {
        let report = logs.json(&[&["access.log"], arguments].concat());
        listed(&report, "endpoint_scanning")
            .into_keys()
            .collect::<Vec<_>>()
    };
    assert_eq!(scanners(&["--config", "limits.toml"]), ["192.0.2.1"]);
    let option = ["--suspicion", "endpoint_scanning=3/5m"];
    let none: [&str; 0] = [];
    assert_eq!(
        scanners(&[&["--config", "limits.toml"], &option[..]].concat()),
        none
    );
    assert_eq!(scanners(&["--config", "routes.toml"]), none);
    for (route, scanners_there) in [("GET /{page}", 2), ("POST /{page}", 0)] {
        let watch = format!("{{ threshold = '2/5m', routes = ['{route}'] }}");
        logs.write(
            "narrow.toml",
            format!("suspicion.endpoint_scanning = {watch}"),
        );
        let found = scanners(&["--config", "narrow.toml"]);
        assert_eq!(found.len(), scanners_there, "{route}");
    }
    let repeated = ["--suspicion", "endpoint_scanning=2/5m"];
    assert_eq!(
        scanners(&[&option[..], &repeated].concat()),
        ["192.0.2.1", "192.0.2.2"]
    );
}

#[test]
fn a_banned_client_is_refused_twice_as_long_the_second_time() {
    // A 404 each second: the tenth bans for 20 s; the bans end with seconds 29 and, after the next offence, later.
    let logs = Logs::new();
    logs.write("access.log", log(&[(1, 404); 120]));
    let arguments = [
        "access.log",
        "--suspicion",
        "endpoint_scanning=10/10s",
        "--suspicion",
        "abuse=off",
        "--ban",
        "20s",
    ];
    let report = logs.json(&arguments);
    // 0 to 9 pass, 10 to 28 are refused; 29 to 38 pass, 39 to 77 are refused; 78 to 87 pass, the rest is refused.
    let banned = &report["bans"][0];
    assert_eq!(report["bans"].as_array().unwrap().len(), 1);
    assert_eq!(banned["client"], "192.0.2.1");
    assert_eq!(banned["reason"], "endpoint_scanning");
    assert_eq!(banned["first"], "2016-12-22T13:00:09Z");
    assert_eq!(banned["bans"], 3);
    assert_eq!(banned["requests_refused"], 19 + 39 + 32);
    assert_eq!(report["denied"], 19 + 39 + 32);
    assert_eq!(report["suspicious"]["endpoint_scanning"][0]["incidents"], 3);
    assert_eq!(logs.json(&arguments[..5])["bans"], Value::Array(vec![]));
    let (status, error) = logs.refused(&["access.log", "--ban", "1ms"]);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("--ban: "), "{error}");
    let (status, error) = logs.refused(&["access.log", "--ban", "25h"]);
    assert_eq!(status, Some(2));
    let allowed = "--ban cannot be `1day 1h`: allowed is a duration of 1s to 1day, the longest ban";
    assert!(error.contains(allowed), "{error}");
}

#[test]
fn a_dry_run_bans_no_more_often_than_bans_would() {
    let logs = Logs::new();
    logs.write("access.log", log(&[(1, 404); 120]));
    logs.write(
        "bans.toml",
        "[suspicion]\nendpoint_scanning = '10/10s'\n[suspicion.bans]\nfor = '20s'\nmode = 'dry_run'\n",
    );
    let report = logs.json(&["access.log", "--config", "bans.toml"]);
    // Banned at second 9 for 20 s, at 38 for 40 s and at 87 for 80 s, as by bans that refuse: what fails in between is of a
    // banned client.
    let banned = &report["bans"][0];
    assert_eq!(banned["bans"], 3);
    assert_eq!(banned["requests_refused"], 19 + 39 + 32);
    assert_eq!(report["denied"], 0);
    assert_eq!(report["suspicious"]["abuse"][0]["incidents"], 1);
    let scanning = &report["suspicious"]["endpoint_scanning"][0];
    assert_eq!(scanning["incidents"], 12);
}

#[test]
fn a_scanner_is_banned_and_neither_an_office_nor_a_phone_nor_a_broken_link() {
    let mut log = String::new();
    let mut line = |client: u8, user: &str, second: usize, path: &str, status: u16| {
        let time = format!("22/Dec/2016:16:{:02}:{:02} +0300", second / 60, second % 60);
        let request = format!(r#""GET {path} HTTP/1.1""#);
        writeln!(
            log,
            "192.0.2.{client} - {user} [{time}] {request} {status} 1"
        )
        .unwrap();
    };
    for n in 0..12 {
        line(1, &format!("user-{n}"), n, &format!("/page-{n}"), 404);
        line(2, "-", n, &format!("/icon-{}.png", n % 5), 404);
        line(3, "-", n, &format!("/broken?visit={n}"), 404);
        line(4, "-", n, &format!("/scan-{n}"), 404);
        line(5, "mallory", n, &format!("/scan-{n}"), 404);
    }
    let logs = Logs::new();
    logs.write("access.log", log);
    let report = logs.json(&["access.log", "--ban", "10m"]);
    // Each is an incident, as ever.
    assert_eq!(listed(&report, "endpoint_scanning").len(), 5);
    let banned = report["bans"].as_array().unwrap();
    let banned: Vec<_> = banned.iter().map(|ban| &ban["client"]).collect();
    assert_eq!(banned, ["192.0.2.4", "user:mallory"]);
}

#[test]
fn prints_a_row_for_each_kind_and_as_many_clients_as_asked_for() {
    let logs = Logs::new();
    let hits: Vec<_> = (1..=3).flat_map(|client| [(client, 404); 10]).collect();
    logs.write("access.log", log(&hits));
    let arguments = ["access.log", "--top", "2", "--suspicion", "abuse=off"];
    let text = String::from_utf8(logs.replay(&arguments).stdout).unwrap();
    let expected = "
suspicious                 at      client         first (UTC)           incidents   requests before
credential_stuffing        5/5m    nobody
endpoint_scanning          10/5m   192.0.2.1      2016-12-22 13:00:09           1                10
                                   192.0.2.2      2016-12-22 13:00:19           1                10
                                   … and 1 more
abuse                      off
credential_stuffing_slow   20/2h   nobody
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn says_what_a_threshold_can_be() {
    let logs = Logs::new();
    for (option, says) in [
        ("abuse", "`<kind>=<count>/<duration>` or `<kind>=off`"),
        (
            "scanning=1/1m",
            "no kind `scanning`: allowed are `credential_stuffing`, `endpoint_scanning`",
        ),
        ("abuse=20", "cannot be `20`: allowed is"),
        ("abuse=0/1m", "or `off`"),
    ] {
        let (status, error) = logs.refused(&["access.log", "--suspicion", option]);
        assert_eq!(status, Some(2), "{option}: {error}");
        assert!(error.contains(says), "{option}: {error}");
    }
}
