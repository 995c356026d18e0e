//! Limits in a real redis-server that speaks TLS.
use std::thread;
use std::time::{Duration, Instant};

use palisade_tests::tls::TlsRedis;

use crate::support::{PATIENCE, Webstore};

#[test]
fn limits_are_kept_in_redis_through_tls() {
    let redis = TlsRedis::start();
    let store = Webstore::on_tls_redis(&redis);
    let started = Instant::now();
    // The first requests do not wait for the handshake: they are limited by the process itself.
    while redis
        .server
        .cli(&["--scan", "--pattern", "palisade:*"])
        .is_empty()
    {
        assert!(started.elapsed() < PATIENCE, "nothing reached Redis");
        assert_eq!(store.get("/GB/products").status, 200);
        thread::sleep(Duration::from_millis(20));
    }
}
