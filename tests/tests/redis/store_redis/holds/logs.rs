//! What somebody else may have left at the keys of a decision: its logs, what is set aside of them, and the bans that it looks up.

use std::time::SystemTime;

use palisade::client::Network;
use palisade::rate_limit::PartitionKey;
use palisade_tests::redis::RedisServer;

use super::super::{limits, patient};
use super::planted::{Call, bears, call};
use super::{Ask, MILLION, MINUTE, SOURCE, Server, all_short, log_of, plan_of};

/// Elements of a set whose freeing is seen.
const ELEMENTS: u64 = MILLION / 2;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_micros() as u64
}

fn plan() -> Vec<u8> {
    let ask = Ask {
        key: "log".to_owned(),
        limit: 1_000_000,
        window: MINUTE,
        cost: 1,
        enforced: true,
    };
    plan_of(&[vec![ask]])
}

fn decided() -> Call {
    call(SOURCE, &["log"], &[&plan()])
}

fn wrote(key: &str, value: &[u8]) -> Call {
    call("redis.call('SET', KEYS[1], ARGV[1])", &[key], &[value])
}

/// Long enough to be set aside by the next decision, since all of it has left the window.
fn left() -> Vec<u8> {
    log_of((0..2_000).map(|stamp| now() - 2 * MINUTE + stamp))
}

#[test]
fn logs() {
    bears(&[decided()], &decided(), &["log"]);
}

#[test]
fn logs_that_are_set_aside() {
    bears(&[wrote("log", &left())], &decided(), &["log", "log:older"]);
    let mut goes_on = left();
    goes_on[1] = 0x11;
    bears(
        &[wrote("log", &goes_on), wrote("log:older", &left())],
        &decided(),
        &["log", "log:older"],
    );
}

#[test]
fn bans_that_a_decision_looks_up() {
    let mut gated = plan();
    gated[0] &= !1;
    let gated = [&[1 | 2 | 8][..], &[0; 13], &gated].concat();
    // Of the future, as a clock that stepped back leaves it, so that it is written anew.
    let ahead = now() + 60 * MINUTE;
    let ban = [
        &[0x9a, 3][..],
        &(ahead + MINUTE).to_be_bytes()[1..],
        &[0, 1, 0],
        &ahead.to_be_bytes()[1..],
    ];
    let gated = call(SOURCE, &["ban", "log"], &[&gated]);
    bears(&[wrote("ban", &ban.concat())], &gated, &["ban"]);
}

#[test]
fn a_set_of_many_that_stands_where_a_log_is_set_aside_is_not_freed_in_the_call() {
    let mut server = Server::start(SOURCE);
    let script = format!("for i = 1, {ELEMENTS} do redis.call('ZADD', KEYS[1], i, i) end");
    redis::Script::new(&script)
        .key("source")
        .invoke::<()>(&mut server.connection)
        .unwrap();
    let micros = server.holds(&["log".to_owned()], &[plan()], |server, _| {
        server.set("log", &left());
        server.copy(&["log:older".to_owned()]);
    });
    all_short(
        &mut server,
        &[(micros, "a set of half a million".to_owned())],
    );
}

#[tokio::test]
async fn a_long_log_that_is_forgotten_is_not_freed_in_the_call() {
    let server = RedisServer::start();
    let limits = limits(&patient(&server).build().unwrap());
    let key: PartitionKey = Network::of("192.0.2.1".parse().unwrap(), 64).into();
    let log = "palisade:rate:ip:60s:ip:{192.0.2.1}";
    server.cli(&["SETRANGE", log, "30000000", "x"]);
    assert!(limits.forget(&key).await.unwrap());
    assert_eq!(server.cli(&["EXISTS", log]), "0");
    // It has another name, and expires.
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_rename:calls=1,"), "{stats}");
    assert!(!limits.forget(&key).await.unwrap());
}
