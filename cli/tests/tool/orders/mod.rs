//! `palisade replay orders` from end to end, on excerpts whose reports `expected.py` computes by other means.
mod redis;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::palisade;

fn replay(directory: &Path, arguments: &[&str]) -> Output {
    replay_with(&[], directory, arguments)
}

/// With this environment beside the test's own.
fn replay_with(environment: &[(&str, &str)], directory: &Path, arguments: &[&str]) -> Output {
    palisade(&["replay", "orders"])
        .args(arguments)
        .current_dir(directory)
        .env_remove("REDIS_URL")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn excerpts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tool/orders")
}

/// Over the excerpts, into a server, with the secret that a service would have.
fn load_with_secret(url: &str, arguments: &[&str]) -> Output {
    let secret = ("PALISADE_SECRET", "a secret of at least sixteen bytes");
    let arguments = [arguments, &["--redis"]].concat();
    replay_with(&[("REDIS_URL", url), secret], &excerpts(), &arguments)
}

/// The report on one of the excerpts, each of which covers every boundary.
fn report(arguments: &[&str]) -> Value {
    let output = replay(&excerpts(), &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const CDNOW: [&str; 3] = ["excerpt.txt", "--format", "cdnow"];
const CSV: [&str; 3] = ["excerpt.csv", "--format", "csv"];

fn expected(customers: u64, orders: u64, spend: u64, segments: [u64; 4]) -> Value {
    let [returning, at_risk, churned, vip] = segments;
    let segments =
        json!({ "returning": returning, "at_risk": at_risk, "churned": churned, "vip": vip });
    json!({ "customers": customers, "orders": orders, "spend": spend, "segments": segments })
}

#[test]
fn reports_what_a_calculation_by_other_means_finds_in_the_cdnow_format() {
    let at = |at: &str| report(&[&CDNOW[..], &["--at", at]].concat());
    assert_eq!(at("1998-07-01"), expected(13, 30, 179_047, [5, 3, 3, 2]));
    assert_eq!(at("1998-08-01"), expected(14, 34, 183_484, [0, 8, 2, 4]));
    assert_eq!(at("1996-12-31"), expected(0, 0, 0, [0; 4]));
}

#[test]
fn reports_what_a_calculation_by_other_means_finds_in_csv() {
    let at = |at: &str| report(&[&CSV[..], &["--at", at]].concat());
    let july = expected(11, 21, 115_833, [4, 3, 2, 2]);
    assert_eq!(at("1998-07-01"), july);
    assert_eq!(at("1998-07-01T02:00:00+02:00"), july);
    assert_ne!(at("1998-07-01T00:00:00.001Z"), july);
    assert_eq!(at("1998-08-01"), expected(12, 23, 177_333, [0, 5, 4, 3]));
}

#[test]
fn counts_every_order_until_now_without_a_date() {
    let now = report(&CDNOW);
    assert_eq!(
        (&now["customers"], &now["orders"]),
        (&14.into(), &34.into())
    );
    assert_eq!(now["segments"]["returning"], 0);
}

#[test]
fn criteria_are_options() {
    let with = |options: &[&str]| {
        let arguments = [&CDNOW[..], &["--at", "1998-07-01"], options].concat();
        report(&arguments)["segments"].clone()
    };
    assert_eq!(
        with(&["--vip-spend", "50001", "--vip-orders", "6"])["vip"],
        0
    );
    assert_eq!(
        with(&["--vip-spend", "49999", "--vip-orders", "4"])["vip"],
        5
    );
    let later = with(&["--at-risk-after", "31d", "--churned-after", "91d"]);
    assert_eq!(
        (&later["returning"], &later["churned"]),
        (&6.into(), &2.into())
    );
}

#[test]
fn prints_a_table_and_what_was_left_out() {
    let arguments = [&CSV[..], &["--at", "1998-07-01"]].concat();
    let text = String::from_utf8(replay(&excerpts(), &arguments).stdout).unwrap();
    assert_eq!(
        text,
        "\
21 orders of 11 customers, 1,158.33 USD, as of 1998-07-01 00:00:00 UTC
2 orders are later and do not count
2 orders repeat an id that was counted before, with the same amount; if they are its items, say --lines items

segment     customers    share
returning           4   36.4 %
at_risk             3   27.3 %
churned             2   18.2 %
vip                 2   18.2 %
"
    );
}

/// A line for each item: of 4 orders, 3 have several, two of them equal ones, and none all in a row.
const ITEMS: &str = "order_id,customer_id,at,amount,currency
1,ada,1998-06-01,1.00,USD
2,ada,1998-06-02,2.00,USD
1,ada,1998-06-01,1.00,USD
1,bea,1998-06-03,4.00,USD
3,ada,1998-06-04,8.00,USD
2,ada,1998-06-05,16.00,USD
3,ada,1998-06-04,8.00,USD
3,ada,1998-06-04,32.00,USD
";

#[test]
fn the_amounts_of_an_orders_items_are_added() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("items.csv"), ITEMS).unwrap();
    let arguments = [
        "items.csv",
        "--format",
        "csv",
        "--at",
        "1998-07-01",
        "--json",
    ];
    let refused = replay(directory.path(), &arguments);
    assert_eq!(refused.status.code(), Some(1));
    let items = [&arguments[..], &["--lines", "items"]].concat();
    let output = replay(directory.path(), &items);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["customers"], &report["orders"], &report["spend"]),
        (&2.into(), &4.into(), &7_200.into())
    );
}

#[test]
fn reads_what_gzip_made() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("items.csv"), ITEMS).unwrap();
    let gzip = std::process::Command::new("gzip")
        .args(["-k", "items.csv"])
        .current_dir(directory.path())
        .status();
    assert!(gzip.unwrap().success());
    let of = |file: &str| {
        replay(
            directory.path(),
            &[
                file,
                "--format",
                "csv",
                "--at",
                "1998-07-01",
                "--lines",
                "items",
            ],
        )
        .stdout
    };
    assert!(!of("items.csv").is_empty());
    assert_eq!(of("items.csv.gz"), of("items.csv"));
}

#[test]
fn names_file_line_field_value_and_what_is_allowed() {
    let directory = TempDir::new().unwrap();
    let head = "order_id,customer_id,at,amount,currency\n";
    let csv = |row: &str| format!("{head}1,ada,1998-07-01,1.00,USD\n{row}\n");
    let long = format!("1 19970101 1 1.00\n{}\n", "x".repeat(1 << 20));
    for (name, content, says) in [
        (
            "a.csv",
            csv("2,ada,1998-07-01,-1.00,USD"),
            "a.csv:3: `amount` cannot be `-1.00`: allowed is an amount from 0.00",
        ),
        (
            "b.csv",
            csv("2,ada,1898-07-01,1.00,USD"),
            "b.csv:3: `at` cannot be `1898-07-01`: allowed is a date such as",
        ),
        (
            "h.csv",
            csv("2,bea,1998-07-01,5.00,USD\n1,ada,1998-07-01,2.05,USD"),
            "h.csv:4: the order `1` cannot be of 2.05 here, since it was of 1.00 before: allowed is one amount for an order, \
             or --lines items",
        ),
        (
            "c.csv",
            csv("2,ada,1998-07-01,1.00,EUR"),
            "c.csv:3: `currency` cannot be `EUR`: allowed is `USD`",
        ),
        (
            "d.csv",
            csv("2,a\0da,1998-07-01,1.00,USD"),
            r"d.csv:3: `customer_id` cannot be `a\x00da`: allowed is 1 to 256",
        ),
        (
            "e.csv",
            csv("2,\"ada\n\n,1.00"),
            "e.csv:3: the line cannot be",
        ),
        (
            "f.csv",
            "1,2\n".to_owned(),
            "f.csv:1: the line cannot be `1,2`: allowed is the header `order_id,",
        ),
        ("g.csv", String::new(), "g.csv:1: "),
        (
            "a.txt",
            "1 19970101 1 1.00\n1 19970132 1 1.00\n".to_owned(),
            "a.txt:2: `date` cannot be `19970132`",
        ),
        (
            "b.txt",
            long,
            "b.txt:2: the line is too long: allowed is at most 64 KiB",
        ),
        (
            "c.txt",
            "\0\0\0\n".to_owned(),
            r"c.txt:1: the line cannot be `\x00\x00\x00`: allowed is four fields",
        ),
    ] {
        std::fs::write(directory.path().join(name), content).unwrap();
        let format = if name.ends_with("csv") {
            "csv"
        } else {
            "cdnow"
        };
        let output = replay(directory.path(), &[name, "--format", format]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
        assert!(
            error.starts_with(&format!("error: {says}")),
            "{name}: {error}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn refuses_settings_that_cannot_be_used() {
    let directory = TempDir::new().unwrap();
    for (arguments, code, says) in [
        (
            &["none.txt", "--format", "cdnow"][..],
            1,
            "error: none.txt: ",
        ),
        (&["x", "--format", "xml"], 2, "cdnow"),
        (&["x"], 2, "--format"),
        (
            &["x", "--format", "csv", "--redis", "localhost"],
            2,
            "error: --redis: `redis_url` cannot be",
        ),
        (
            &["x", "--format", "csv", "--redis"],
            2,
            "error: --redis has no URL, and the environment no REDIS_URL",
        ),
        (
            &["x", "--format", "csv", "--at", "1998"],
            2,
            "allowed is a date such as `1998-07-01`",
        ),
        (&["x", "--format", "csv", "--vip-spend=-1"], 2, "-1"),
        (
            &["x", "--format", "csv", "--at-risk-after", "90d"],
            2,
            "`--at-risk-after` cannot be `90d`: allowed is less than --churned-after",
        ),
        (
            &["x", "--format", "csv", "--retention", "90d"],
            2,
            "allowed is more than --churned-after",
        ),
    ] {
        let output = replay(directory.path(), arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn a_password_is_refused_where_everybody_may_read_it() {
    let directory = TempDir::new().unwrap();
    for url in [
        "redis://:hunter2@127.0.0.1:1",
        "rediss://shop:hunter2@db/0",
        "unix:///run/redis.sock?pass=hunter2",
        "shop:hunter2@db",
    ] {
        let output = replay(directory.path(), &["x", "--format", "csv", "--redis", url]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("REDIS_URL") && !error.contains("hunter2"),
            "{error}"
        );
    }
    let environment = [("REDIS_URL", "redis://:hunter2@db?protocol=resp2")];
    let arguments = ["x", "--format", "csv", "--redis"];
    let output = replay_with(&environment, directory.path(), &arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("error: REDIS_URL in the environment: `redis_url` cannot be"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}
