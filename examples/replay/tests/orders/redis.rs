//! Loading into a real redis-server.
use palisade_tests::redis::RedisServer;
use serde_json::Value;

use crate::{CDNOW, CSV, replay_with_secret, report};

fn loaded(server: &RedisServer, arguments: &[&str], at: &str) -> Value {
    let options = ["--at", at, "--redis", &server.url(), "--json"];
    let output = replay_with_secret(&[arguments, &options].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_load_reports_what_memory_reports_and_a_second_one_changes_nothing() {
    for file in [CDNOW, CSV] {
        let server = RedisServer::start();
        let expected = report(&[&file[..], &["--at", "1998-07-01"]].concat());
        assert_eq!(loaded(&server, &file, "1998-07-01"), expected);
        let keys = server.cli(&["dbsize"]);
        assert_eq!(loaded(&server, &file, "1998-07-01"), expected);
        assert_eq!(server.cli(&["dbsize"]), keys);
        let later = report(&[&file[..], &["--at", "1998-08-01"]].concat());
        assert_eq!(loaded(&server, &file, "1998-08-01"), later);
    }
}

#[test]
fn a_customer_is_kept_as_the_service_keeps_one() {
    let server = RedisServer::start();
    let arguments = [&CDNOW[..], &["--prefix", "shop:", "--retention", "100d"]].concat();
    loaded(&server, &arguments, "1998-07-01");
    let key = "shop:customer:{00006}";
    assert_eq!(server.cli(&["hget", key, "spend"]), "50001");
    assert_eq!(server.cli(&["hget", key, "orders"]), "2");
    let ttl: u64 = server.cli(&["ttl", key]).parse().unwrap();
    assert!((99 * 86_400..=100 * 86_400).contains(&ttl), "{ttl}");
}

#[test]
fn a_store_that_is_away_is_named_and_no_report_is_printed() {
    let server = RedisServer::stopped();
    let output = replay_with_secret(&[&CDNOW[..], &["--redis", &server.url()]].concat());
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: the store failed: "), "{error}");
    assert!(output.stdout.is_empty());
}
