//! `scripts/generate-traffic.sh` against a real webstore: it tells apart what is as it should be and what is not.

use std::path::Path;
use std::process::Command;

use palisade_tests::webstore::Webstore;

/// The settings that everything can be met with.
const SETTINGS: &str = include_str!("../../../load/webstore.toml");

fn script() -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/generate-traffic.sh");
    let mut command = Command::new("bash");
    command.arg(path);
    command
}

fn told(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn generate(store: &Webstore, arguments: &[&str]) -> (Option<i32>, String) {
    let (shop, admin) = (
        format!("http://{}", store.shop),
        format!("http://{}", store.admin),
    );
    told(
        script()
            .args(["--url", &shop, "--admin", &admin])
            .args(arguments),
    )
}

/// The rows of a verdict, each without it.
fn rows<'a>(told: &'a str, verdict: &str) -> Vec<&'a str> {
    let rows = told.lines().filter_map(|line| line.strip_prefix(verdict));
    rows.map(str::trim).collect()
}

#[test]
fn everything_is_met_with_the_settings_of_the_load_test() {
    let store = Webstore::start(None, SETTINGS);
    let (status, told) = generate(&store, &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains("all 52 expectations met, 0 steps skipped"),
        "{told}"
    );
    assert!(!told.contains('\x1b'), "colours only on a terminal: {told}");

    // Another run has other clients and users, and meets the same.
    let (status, told) = generate(&store, &["--skip", "credential_stuffing_slow,ip"]);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(rows(&told, "skip").len(), 2, "{told}");
}

#[test]
fn a_webstore_with_every_default_meets_what_it_offers_and_the_rest_is_skipped_with_the_reason() {
    let store = Webstore::start(None, "");
    let (status, told) = generate(&store, &[]);
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains("all 34 expectations met, 6 steps skipped"),
        "{told}"
    );
    let skipped = rows(&told, "skip");
    for step in [
        "sessions",
        "checkout",
        "ban",
        "password_spraying",
        "distributed_stuffing",
        "success_after_failures",
    ] {
        let reason = skipped.iter().find(|row| row.starts_with(step)).unwrap();
        assert!(reason.contains("load/webstore.toml"), "{reason}");
    }
}

#[test]
fn doubled_limits_are_found() {
    let settings = SETTINGS
        .replace("ip = \"200/1m\"", "ip = \"400/1m\"")
        .replace("user = \"60/1m\"", "user = \"120/1m\"")
        .replace("vip = \"120/1m\"", "vip = \"240/1m\"")
        .replace("quota = \"12/1m\"", "quota = \"24/1m\"");
    assert_eq!(
        settings.matches("/1m").count(),
        SETTINGS.matches("/1m").count()
    );
    let store = Webstore::start(None, &settings);
    let (status, told) = generate(
        &store,
        &["--patience", "3", "--skip", "credential_stuffing_slow"],
    );
    assert_eq!(status, Some(1), "{told}");
    let wrong = rows(&told, "WRONG");
    for limit in ["user", "checkout", "ip"] {
        let denials = format!("denials by the limit {limit}");
        assert!(
            wrong.iter().any(|row| row.starts_with(&denials)),
            "{limit}: {told}"
        );
    }
    assert!(wrong.iter().any(|row| row.contains("200 (62x)")), "{told}");
    assert!(
        !wrong.iter().any(|row| row.starts_with("incidents")),
        "{told}"
    );

    // Told of them, it expects them.
    let skipped = "credential_stuffing_slow,credential_stuffing";
    let quotas = [
        "--ip-limit",
        "400",
        "--user-limit",
        "120",
        "--checkout-limit",
        "24",
    ];
    let (status, told) = generate(&store, &[&quotas[..], &["--skip", skipped]].concat());
    assert_eq!(status, Some(0), "{told}");
}

#[test]
fn detectors_that_take_twice_as_much_are_found() {
    let settings = SETTINGS
        .replace(
            "credential_stuffing = \"5/5m\"",
            "credential_stuffing = \"10/5m\"",
        )
        .replace(
            "endpoint_scanning = \"10/5m\"",
            "endpoint_scanning = \"20/5m\"",
        )
        .replace("abuse = \"20/5m\"", "abuse = \"40/5m\"")
        .replace(
            "credential_stuffing_slow = \"20/2h\"",
            "credential_stuffing_slow = \"40/2h\"",
        )
        .replace(
            "password_spraying = \"5/5m\"",
            "password_spraying = \"10/5m\"",
        )
        .replace(
            "distributed_stuffing = \"4/1h\"",
            "distributed_stuffing = \"8/1h\"",
        );
    let store = Webstore::start(None, &settings);
    let (status, told) = generate(&store, &["--patience", "1"]);
    assert_eq!(status, Some(1), "{told}");
    let wrong = rows(&told, "WRONG");
    for kind in [
        "credential_stuffing",
        "endpoint_scanning",
        "abuse",
        "credential_stuffing_slow",
        "password_spraying",
        "distributed_stuffing",
        "success_after_failures",
    ] {
        let incidents = format!("incidents of {kind} ");
        assert!(
            wrong.iter().any(|row| row.starts_with(&incidents)),
            "{kind}: {told}"
        );
    }
    assert!(
        wrong.iter().any(|row| row.starts_with("bans for")),
        "{told}"
    );
}

#[test]
fn what_cannot_run_says_why() {
    let (status, said) = told(script().args(["--url", "http://127.0.0.1:1"]));
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("http://127.0.0.1:1 does not answer"),
        "{said}"
    );
    let store = Webstore::start(None, "[rate_limit]\nheaders = 'none'\n");
    let (status, said) = generate(&store, &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("rate_limit.headers must be draft-11"),
        "{said}"
    );
    for arguments in [&["--ip-limit", "many"][..], &["--admin"], &["--fast"]] {
        let (status, said) = told(script().args(arguments));
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(arguments[0]), "{said}");
    }
    let (status, said) = told(script().arg("--help"));
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("Exit status: 0") && !said.contains("set -euo"),
        "{said}"
    );
}
