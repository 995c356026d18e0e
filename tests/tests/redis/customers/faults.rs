//! A server that fails, and keys that hold something else.

use std::time::Duration;

use palisade::rate_limit::StoreErrorKind;
use palisade::segment::store::KeepCustomers;
use palisade::store::redis::RedisStore;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::standing_still;

use super::{DAY, NOW, at, keep, order, patient, seen, user};

/// How each call of the port fails, in the order apply, fetch, export, erase, sweep.
async fn failures(kept: &dyn KeepCustomers) -> [Option<StoreErrorKind>; 5] {
    let kind = |error: palisade::rate_limit::StoreError| error.kind();
    [
        kept.apply(&[seen("ada", NOW)]).await.err().map(kind),
        kept.fetch(&user("ada")).await.err().map(kind),
        kept.export(&user("ada")).await.err().map(kind),
        kept.erase(&user("ada"), at(NOW)).await.err().map(kind),
        kept.sweep(at(NOW)).await.err().map(kind),
    ]
}

#[tokio::test]
async fn a_server_that_dies_or_hangs_opens_the_breaker_and_then_nothing_waits() {
    for hangs in [false, true] {
        let mut server = RedisServer::start();
        let store = RedisStore::builder(&server.url())
            .deadline(Duration::from_secs(1))
            .build()
            .unwrap();
        let kept = keep(&store);
        standing_still(kept.apply(&[seen("ada", NOW)]))
            .await
            .unwrap();
        server.fail(hangs);
        // Goes on to the deadline at once.
        tokio::time::pause();
        for _ in 0..5 {
            assert!(!store.health().is_breaker_open());
            kept.fetch(&user("ada")).await.unwrap_err();
        }
        assert!(store.health().is_breaker_open());
        assert_eq!(failures(&*kept).await, [Some(StoreErrorKind::Rejected); 5]);
        tokio::time::resume();
        server.recover();
        palisade_tests::redis::until_closed(&store.health()).await;
        standing_still(kept.apply(&[seen("ada", NOW)]))
            .await
            .unwrap();
        let fetched = standing_still(kept.fetch(&user("ada"))).await;
        assert!(fetched.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_replica_refuses_what_writes_and_keeps_the_requests_breaker_closed() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let kept = keep(&store);
    kept.apply(&[seen("ada", NOW)]).await.unwrap();
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let failed = Some(StoreErrorKind::Failed);
    for _ in 0..6 {
        let expected = [failed, None, None, failed, failed];
        assert_eq!(failures(&*kept).await, expected);
    }
    assert!(!store.health().is_breaker_open());
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(failures(&*kept).await, [None; 5]);
}

/// A record that cannot be read is no broken one, which a change replaces.
#[tokio::test]
async fn a_record_that_the_user_may_not_read_is_kept() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let kept = keep(&store);
    kept.apply(&[order("ada", NOW, "1", 50_001)]).await.unwrap();
    server.cli(&["ACL", "SETUSER", "palisade", "-hmget"]);
    let failed = kept.apply(&[seen("ada", NOW + DAY)]).await;
    assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Failed);
    assert_eq!(store.health().broken_logs(), 0);
    server.cli(&["ACL", "SETUSER", "palisade", "+hmget"]);
    let known = kept.fetch(&user("ada")).await.unwrap().unwrap();
    assert_eq!((known.orders, known.spend), (1, 50_001));
}

/// Whatever of a change a server out of memory would take, it must not take alone.
#[tokio::test]
async fn a_server_out_of_memory_applies_a_change_whole_or_not_at_all() {
    let server = RedisServer::start();
    let kept = keep(&patient(&server).build().unwrap());
    for key in ["palisade:customer:{ada}", "palisade:customers:vip"] {
        server.cli(&["SET", key, "x"]);
        server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        let failed = kept.apply(&[order("ada", NOW, "1", 50_001)]).await;
        assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Failed);
        assert_eq!(server.cli(&["GET", key]), "x");
        assert_eq!(server.cli(&["DBSIZE"]), "1");
        server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        let applied = kept.apply(&[order("ada", NOW, "1", 50_001)]).await.unwrap();
        assert!(applied[0].fresh);
        server.cli(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn scripts_and_records_lost_on_the_server_are_made_again_within_the_call() {
    let server = RedisServer::start();
    let kept = keep(&patient(&server).build().unwrap());
    for lost in [&["SCRIPT", "FLUSH"][..], &["FLUSHALL"]] {
        kept.apply(&[seen("ada", NOW)]).await.unwrap();
        server.cli(&["SCRIPT", "FLUSH"]);
        server.cli(lost);
        assert_eq!(failures(&*kept).await, [None; 5]);
    }
}

#[tokio::test]
async fn what_is_no_customer_counts_as_absent_is_counted_and_replaced() {
    const KEY: &str = "palisade:customer:{ada}";
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let kept = keep(&store);
    let fields: [&[&str]; 7] = [
        &["first_activity", "1"],
        &["last_activity", "x"],
        &["last_activity", "-1"],
        &["last_activity", "9007199254740992"],
        &["last_activity", "1", "spend", "1.5"],
        &["last_activity", "1", "spend", "9223372036854775808"],
        &["last_activity", "1", "orders", "-1"],
    ];
    let mut broken: Vec<Vec<&str>> = vec![vec!["SET", KEY, "x"], vec!["RPUSH", KEY, "x"]];
    broken.extend(fields.map(|fields| [&["HSET", KEY], fields].concat()));
    for command in broken {
        server.cli(&["FLUSHALL"]);
        server.cli(&command);
        let before = store.health().broken_logs();
        let fetched = kept.fetch(&user("ada")).await.unwrap();
        assert_eq!(fetched, None, "{command:?}");
        assert_eq!(
            kept.export(&user("ada")).await.unwrap(),
            None,
            "{command:?}"
        );
        let applied = kept.apply(&[order("ada", NOW, "1", 5)]).await.unwrap();
        let record = applied[0].record.unwrap();
        assert_eq!(
            (record.spend, record.last_activity),
            (5, at(NOW)),
            "{command:?}"
        );
        assert_eq!(store.health().broken_logs(), before + 3, "{command:?}");
        let fetched = kept.fetch(&user("ada")).await.unwrap();
        assert_eq!(fetched, Some(record), "{command:?}");
    }
}

/// The server would copy it into its answer, during which it serves nobody.
#[tokio::test]
async fn no_field_of_a_customer_is_read_that_is_longer_than_ours() {
    let server = RedisServer::start();
    let store = patient(&server).build().unwrap();
    let kept = keep(&store);
    kept.apply(&[order("ada", NOW, "1", 5)]).await.unwrap();
    let client = redis::Client::open(server.admin_url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    for field in ["counted", "spend"] {
        let mut planted = redis::cmd("HSET");
        planted.arg("palisade:customer:{ada}").arg(field);
        planted.arg(vec![b'7'; 5_000_000]);
        planted.exec(&mut connection).unwrap();
        let before = store.health().broken_logs();
        let record = kept.fetch(&user("ada")).await.unwrap();
        let export = kept.export(&user("ada")).await.unwrap();
        if field == "counted" {
            let export = export.unwrap();
            assert_eq!((Some(export.record), export.counted), (record, Vec::new()));
        } else {
            assert_eq!((record, export), (None, None));
        }
        let broken = if field == "counted" { 1 } else { 2 };
        assert_eq!(store.health().broken_logs(), before + broken, "{field}");
    }
    let sent = server.cli(&["INFO", "stats"]);
    let sent = sent
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    let sent = sent.unwrap().trim().parse::<u64>().unwrap();
    assert!(sent < 1_000_000, "{sent}");
}

#[tokio::test]
async fn a_hash_with_a_last_activity_alone_is_a_customer() {
    let server = RedisServer::start();
    let kept = keep(&patient(&server).build().unwrap());
    server.cli(&["HSET", "palisade:customer:{ada}", "last_activity", "5"]);
    let fetched = kept.fetch(&user("ada")).await.unwrap().unwrap();
    assert_eq!(
        (fetched.first_activity, fetched.spend, fetched.orders),
        (at(5), 0, 0)
    );
    let applied = kept.apply(&[order("ada", 7, "1", 5)]).await.unwrap();
    let record = applied[0].record.unwrap();
    assert_eq!((record.first_activity, record.spend), (at(5), 5));
}

/// Every other key of the wrong type: both indices, the lease, the erasure, and the ids of orders.
#[tokio::test]
async fn no_other_key_of_the_wrong_type_stops_anything() {
    let server = RedisServer::start();
    let kept = keep(&patient(&server).build().unwrap());
    for wrong in [
        &["RPUSH", "palisade:customers:vip", "x"][..],
        &["SET", "palisade:customers:others", "x"],
        &["RPUSH", "palisade:customers:sweep", "x"],
        &["SET", "palisade:customers:sweep", "who never lets go"],
        &["RPUSH", "palisade:customer-erased:{ada}", "x"],
        &[
            "HSET",
            "palisade:customer:{ada}",
            "last_activity",
            "5",
            "counted",
            "x",
        ],
        &["ZADD", "palisade:customers:others", "1", "a}b{*\n"],
    ] {
        server.cli(&["FLUSHALL"]);
        server.cli(wrong);
        assert_eq!(failures(&*kept).await, [None; 5], "{wrong:?}");
        let changes = [order("ada", NOW + 1, "1", 50_001), seen("bob", NOW)];
        assert!(kept.apply(&changes).await.unwrap()[0].fresh, "{wrong:?}");
        let sweep = kept.sweep(at(NOW)).await.unwrap().expect("the lease");
        let population = sweep.population;
        assert_eq!((population.vip, population.returning), (1, 1), "{wrong:?}");
        for key in server.cli(&["KEYS", "*"]).lines() {
            assert_ne!(server.cli(&["PTTL", key]), "-1", "{wrong:?}: {key}");
        }
    }
}
