//! Loading into a real redis-server.
use palisade_tests::redis::RedisServer;
use serde_json::Value;

use super::{CDNOW, CSV, replay, replay_with_secret, report};

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
fn an_id_that_must_be_hashed_is_not_loaded_without_the_secret_of_the_service() {
    let server = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    let file = "order_id,customer_id,at,amount,currency\n1,Ada L,1998-07-01,1.00,USD\n";
    std::fs::write(directory.path().join("orders.csv"), file).unwrap();
    let url = server.url();
    let arguments = ["orders.csv", "--format", "csv", "--redis", &url];
    let output = replay(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("set PALISADE_SECRET"), "{error}");
    assert_eq!(server.cli(&["dbsize"]), "0");
    // Nothing is kept without a server.
    assert!(replay(directory.path(), &arguments[..3]).status.success());
}

#[test]
fn a_store_that_is_away_is_named_and_no_report_is_printed() {
    let server = RedisServer::stopped();
    let output = replay_with_secret(&[&CDNOW[..], &["--redis", &server.url()]].concat());
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: the store failed: "), "{error}");
    assert_eq!(error.matches("refused").count(), 1, "{error}");
    assert_eq!(error.matches("the store failed").count(), 1, "{error}");
    assert!(output.stdout.is_empty());
}
