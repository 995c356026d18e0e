//! `palisade replay access` from end to end; what it must say is counted here anew, in the simplest way.
mod forwarded;
mod logs;
mod suspects;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use jiff::Timestamp;
use serde_json::Value;

use logs::{Logs, denials, line, traffic, written};

#[test]
fn denies_exactly_what_counting_every_window_denies() {
    let hits = traffic();
    let logs = written(&hits);
    for (quota, limit, window) in [
        ("1/1s", 1, 1),
        ("5/10s", 5, 10),
        ("20/1m", 20, 60),
        ("200/1m", 200, 60),
    ] {
        let report = logs.json(&["common.log", "wrapped.log", "--ip", quota]);
        let expected = denials(&hits, limit, window);
        let total: u64 = expected.values().map(|(denied, _)| denied).sum();
        assert_eq!(report["lines"], hits.len());
        assert_eq!(report["parsed"], hits.len());
        assert_eq!(report["clients"], 12);
        assert_eq!(report["denied"], total, "{quota}");
        assert_eq!(report["admitted"], hits.len() as u64 - total);
        let ip = &report["policies"]["ip"];
        assert_eq!(ip["denied"], total);
        assert_eq!(ip["clients_limited"], expected.len());
        let listed: BTreeMap<String, (u64, i64)> = ip["clients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|client| {
                let first: Timestamp = client["first"].as_str().unwrap().parse().unwrap();
                let denied = client["denied"].as_u64().unwrap();
                (
                    client["client"].as_str().unwrap().to_owned(),
                    (denied, first.as_second()),
                )
            })
            .collect();
        assert_eq!(listed, expected, "{quota}");
    }
}

#[test]
fn a_suggested_limit_denies_nobody_and_one_less_denies_somebody() {
    let hits = traffic();
    let logs = written(&hits);
    let suggested =
        &logs.json(&["common.log", "wrapped.log"])["policies"]["ip"]["suggested_limits"];
    let nobody = suggested["nobody"].as_u64().unwrap();
    assert!(denials(&hits, nobody as usize, 60).is_empty());
    assert!(!denials(&hits, nobody as usize - 1, 60).is_empty());
    let at = |limit: u64| {
        logs.json(&["common.log", "wrapped.log", "--ip", &format!("{limit}/1m")])["denied"].as_u64()
    };
    assert_eq!(at(nobody), Some(0));
    assert_ne!(at(nobody - 1), Some(0));
}

#[test]
fn a_configuration_says_routes_users_exemptions_and_dry_runs() {
    let logs = Logs::new();
    let mut log = String::new();
    for (client, user, request, status) in [
        ("192.0.2.1", "ann", "POST /de/orders HTTP/1.1", 201),
        ("192.0.2.1", "ann", "POST /de/orders?again HTTP/1.1", 201),
        ("192.0.2.1", "ann", "GET /de/orders HTTP/1.1", 200),
        ("192.0.2.2", "-", "POST /de/orders HTTP/1.1", 201),
        // Not verified: the password was wrong.
        ("192.0.2.2", "ann", "POST /de/orders HTTP/1.1", 401),
        ("10.0.0.1", "bob", "POST /de/orders HTTP/1.1", 201),
        ("10.0.0.1", "bob", "POST /de/orders HTTP/1.1", 201),
    ] {
        writeln!(
            log,
            r#"{client} - {user} [22/Dec/2016:16:30:52 +0300] "{request}" {status} 1"#
        )
        .unwrap();
    }
    logs.write("access.log", log).write(
        "limits.toml",
        r#"
        [store]
        redis_url = "redis://127.0.0.1:1"
        secret_file = "/nowhere"
        [rate_limit]
        ip = "2/1m"
        exempt = { cidrs = ["10.0.0.0/8"] }
        [rate_limit.policies.ip]
        mode = "dry_run"
        [rate_limit.policies.checkout]
        key = "user"
        quota = "1/1m"
        routes = ["POST /{country}/orders"]
        "#,
    );
    let report = logs.json(&["access.log", "--config", "limits.toml"]);
    let (ip, user, checkout) = (
        &report["policies"]["ip"],
        &report["policies"]["user"],
        &report["policies"]["checkout"],
    );
    assert_eq!(
        (&report["admitted"], &report["denied"]),
        (&6.into(), &1.into())
    );
    assert_eq!(
        (&checkout["requests"], &checkout["denied"]),
        (&2.into(), &1.into())
    );
    assert_eq!(checkout["clients"][0]["client"], "ann");
    assert_eq!((&user["requests"], &user["denied"]), (&3.into(), &0.into()));
    // A request that `checkout` denied is charged to no policy, so the dry run never finds its quota used up.
    assert_eq!(
        (&ip["requests"], &ip["denied"], &ip["dry_run"]),
        (&5.into(), &0.into(), &true.into())
    );
    assert_eq!(ip["suggested_limits"]["nobody"], 3);

    let report = logs.json(&["access.log", "--config", "limits.toml", "--ip", "1/1m"]);
    // The first of each address had room; what `checkout` denied is no statement of the dry run.
    assert_eq!(report["policies"]["ip"]["denied"], 2);
    assert_eq!(report["denied"], 1, "a dry run denies nothing");

    let elsewhere = [
        "access.log",
        "--config",
        "limits.toml",
        "--route",
        "/de/orders",
    ];
    assert_eq!(logs.json(&elsewhere)["policies"]["checkout"]["requests"], 0);
}

#[test]
fn a_service_that_is_closed_today_was_open_when_the_log_was_written() {
    let logs = written(&traffic());
    logs.write("open.toml", "rate_limit.ip = '3/1m'");
    logs.write(
        "closed.toml",
        "rate_limit.ip = '3/1m'\n[maintenance]\nmode = 'on'",
    );
    let with = |config: &str| logs.json(&["common.log", "--config", config]);
    assert_eq!(with("closed.toml"), with("open.toml"));
}

#[test]
fn counts_lines_that_cannot_be_read_and_goes_on() {
    let logs = Logs::new();
    let good = br#"192.0.2.1 - - [22/Dec/2016:16:30:52 +0300] "GET /\xff HTTP/1.1" 200 1"#;
    let raw =
        b"192.0.2.1 - - [22/Dec/2016:16:30:52 +0300] \"GET /\xff\xfe HTTP/1.1\" 200 1 \"\xc3\x28\"";
    let long = vec![b'x'; 1 << 20];
    let log = [
        &good[..],
        b"",
        b"host.example - -",
        raw,
        b"\xff\xfe",
        &long,
        good,
    ]
    .join(&b"\r\n"[..]);
    let report = logs.write("access.log", log).json(&["access.log"]);
    assert_eq!(
        (&report["lines"], &report["parsed"], &report["unparsed"]),
        (&7.into(), &3.into(), &4.into())
    );
    let reasons: u64 = report["unparsed_because"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(reasons, 4);
    let text = String::from_utf8(logs.replay(&["access.log"]).stdout).unwrap();
    assert!(
        text.contains("4 of 7 lines cannot be read, the first at access.log:2: the line is empty"),
        "{text}"
    );
}

#[test]
fn prints_a_table_of_as_many_clients_as_asked_for() {
    let hits = traffic();
    let logs = written(&hits);
    let arguments = ["common.log", "wrapped.log", "--ip", "5/10s", "--top", "2"];
    let text = String::from_utf8(logs.replay(&arguments).stdout).unwrap();
    let (text, _) = text.split_once("\nsuspicious ").unwrap();
    let limited = denials(&hits, 5, 10);
    let listed: BTreeSet<&str> = limited.keys().map(String::as_str).collect();
    let rows = text
        .lines()
        .filter(|row| listed.contains(row.split_whitespace().next().unwrap_or_default()));
    assert_eq!(rows.count(), 2, "{text}");
    assert!(
        text.ends_with(&format!("… and {} more\n", limited.len() - 2)),
        "{text}"
    );
}

#[test]
fn reads_the_standard_input() {
    let logs = Logs::new();
    let mut child = logs
        .command(&["-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let hits = traffic();
    let mut stdin = child.stdin.take().unwrap();
    for hit in &hits {
        writeln!(stdin, "{}", line(hit, true)).unwrap();
    }
    drop(stdin);
    let report: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(report["parsed"], hits.len());
}

#[test]
fn says_what_is_wrong_with_the_input_or_a_setting() {
    let logs = Logs::new();
    logs.write("empty.log", "")
        .write("packed.log", b"\x1f\x8b\x08\x00")
        .write("odd.log", "<html>\nnothing\n")
        .write(
            "good.log",
            r#"192.0.2.1 - - [22/Dec/2016:16:30:52 +0300] "GET / HTTP/1.1" 200 1"#,
        )
        .write("unknown.toml", "rate_limit.ipp = '1/1m'")
        .write("zero.toml", "rate_limit.ip = '0/1m'");
    for (arguments, code, says) in [
        (&["missing.log"][..], 1, "error: missing.log: "),
        (&["good.log", "missing.log"], 1, "error: missing.log: "),
        (&["."], 1, "error: .: "),
        (
            &["good.log", "packed.log"],
            1,
            "error: packed.log: the compressed data breaks off",
        ),
        (&["empty.log"], 1, "the logs hold no lines"),
        (
            &["odd.log"],
            1,
            "none of the 2 lines can be read; odd.log:1: it does not begin with the client's IP address",
        ),
        (&["good.log", "--config", "none.toml"], 2, "none.toml"),
        (&["good.log", "--config", "unknown.toml"], 2, "ipp"),
        (
            &["good.log", "--config", "zero.toml"],
            2,
            "`rate_limit.ip` cannot be `0/1m`: allowed is",
        ),
        (&["good.log", "--ip", "none"], 2, "such as `200/1m`"),
        (
            &["good.log", "--route", "/{a"],
            2,
            "the route `/{a` cannot be used",
        ),
        (&[], 2, "FILE"),
    ] {
        let (status, error) = logs.refused(arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}
