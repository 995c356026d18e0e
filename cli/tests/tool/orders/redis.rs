//! Loading into a real redis-server.
use std::str::FromStr;

use palisade_tests::redis::RedisServer;
use serde_json::Value;

use super::{CDNOW, CSV, load_with_secret, replay, replay_with, report};

fn loaded(server: &RedisServer, arguments: &[&str], at: &str) -> Value {
    let options = ["--at", at, "--json"];
    let output = load_with_secret(&server.url(), &[arguments, &options].concat());
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
fn items_are_loaded_as_one_order_each_and_nothing_of_a_file_that_is_refused() {
    let server = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("items.csv"), super::ITEMS).unwrap();
    let url = server.url();
    let replay =
        |arguments: &[&str]| replay_with(&[("REDIS_URL", &url)], directory.path(), arguments);
    let arguments = ["items.csv", "--format", "csv", "--redis"];
    assert_eq!(replay(&arguments).status.code(), Some(1));
    assert_eq!(server.cli(&["dbsize"]), "0");
    for _ in 0..2 {
        let items = [&arguments[..], &["--lines", "items"]].concat();
        assert!(replay(&items).status.success());
        let of = |field| server.cli(&["hget", "palisade:customer:{ada}", field]);
        assert_eq!(
            (of("spend"), of("orders")),
            ("6800".to_owned(), "3".to_owned())
        );
        let moment = jiff::Timestamp::from_str("1998-06-05T00:00:00Z").unwrap();
        assert_eq!(of("last_activity"), moment.as_millisecond().to_string());
    }
}

#[test]
fn a_customer_is_kept_as_the_service_keeps_one() {
    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "palisade", "~shop:*"]);
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
    // The user who may do everything has no password, so the URL may be an argument.
    let url = server.admin_url();
    let arguments = ["orders.csv", "--format", "csv", "--redis", &url];
    let output = replay(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    let place = "error: orders.csv:2: `customer_id` cannot be `Ada L` without PALISADE_SECRET";
    assert!(error.starts_with(place), "{error}");
    assert_eq!(server.cli(&["dbsize"]), "0");
    // Nothing is kept without a server.
    assert!(replay(directory.path(), &arguments[..3]).status.success());
}

#[test]
fn a_store_that_is_away_is_named_and_no_report_is_printed() {
    let server = RedisServer::stopped();
    let output = load_with_secret(&server.url(), &CDNOW);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: the store failed: "), "{error}");
    assert_eq!(error.matches("refused").count(), 1, "{error}");
    assert_eq!(error.matches("the store failed").count(), 1, "{error}");
    assert!(output.stdout.is_empty());
}
