//! A real redis-server that speaks TLS.
use std::path::Path;
use std::process::Output;

use palisade_tests::tls::TlsRedis;

use crate::palisade;

/// Loads one order, trusting no certificate but this.
fn load(url: &str, trusted: &Path) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.txt");
    std::fs::write(&file, "00001 19970101 1 11.77\n").unwrap();
    palisade(&["replay", "orders", "--format", "cdnow"])
        .arg(file)
        .arg("--redis")
        .env("REDIS_URL", url)
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap()
}

#[test]
fn orders_are_loaded_through_tls() {
    let redis = TlsRedis::start();
    let output = load(&redis.url(), &redis.certificate());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let key = "palisade:customer:{00001}";
    assert_eq!(redis.server.cli(&["hget", key, "spend"]), "1177");
    // The port understands nothing else.
    let in_the_clear = redis.url().replace("rediss:", "redis:");
    assert_eq!(
        load(&in_the_clear, &redis.certificate()).status.code(),
        Some(1)
    );
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_no_orders() {
    let (redis, another) = (TlsRedis::start(), TlsRedis::start());
    let output = load(&redis.url(), &another.certificate());
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(redis.server.cli(&["dbsize"]), "0");
}
