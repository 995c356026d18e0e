//! What failed logins add up to: the edges of the script that counts distinct items.

use palisade_tests::redis::RedisServer;

use super::failures::lua;
use super::logins_script::{SECOND, Script, Step, What, agrees};
use super::script::EPOCH;

const MINUTE: u64 = 60 * SECOND;

#[test]
fn an_item_has_left_its_window_at_exactly_its_end() {
    for (late, expected) in [(MINUTE - 1, 1), (MINUTE, 0)] {
        let server = RedisServer::start();
        let mut script = Script::on(&server);
        let mut count = |now, item| {
            let step = Step::new(What::Count, "k", 2, MINUTE, item);
            script.run(now, &[step]).1.len()
        };
        assert_eq!(count(EPOCH, 1), 0);
        assert_eq!(count(EPOCH + late, 2), expected);
    }
}

#[test]
fn a_flood_leaves_64_items_a_sketch_and_a_ttl_on_both() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    for n in 0..200_u64 {
        let steps: Vec<_> = (0..50)
            .map(|k| {
                let item = (n * 50 + k).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Step::new(What::Count, "k", 64, 300 * SECOND, item)
            })
            .collect();
        script.run(EPOCH + n, &steps);
    }
    let size: usize = script.query(&["STRLEN", "k"]);
    assert_eq!(size, 17 + 64 * 13);
    let size: usize = script.query(&["STRLEN", "k:sketch"]);
    assert!(size < 12_400, "{size}");
    for key in ["k", "k:sketch"] {
        let expires: u64 = script.query(&["PEXPIRETIME", key]);
        let window_ends = (EPOCH + 199 + 300 * SECOND) / 1_000;
        assert!(
            (window_ends..window_ends + 2_000).contains(&expires),
            "{key}"
        );
    }
    let state = Step::new(What::State, "k", 64, 300 * SECOND, 0);
    let found = script.run(EPOCH + 200, &[state]).1.remove(0);
    assert!(found.estimated && found.episode);
    assert!(agrees(found.count, true, 10_000, 0.008_1), "{found:?}");
}

#[test]
fn the_number_begins_anew_with_each_episode() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let mut now = EPOCH;
    for episode in 0..3_u64 {
        for n in 0..100_u64 {
            let item = (episode * 100 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let found = script.run(now + n, &[Step::new(What::Count, "k", 4, MINUTE, item)]);
            assert_eq!(found.1.len(), usize::from(n == 3), "{episode} {n}");
        }
        let state = Step::new(What::State, "k", 4, MINUTE, 0);
        let found = script.run(now + 100, &[state]).1.remove(0);
        assert!(agrees(found.count, true, 100, 0.008_1), "{found:?}");
        now += 2 * MINUTE;
    }
}

#[test]
fn a_clock_that_steps_back_neither_loses_items_nor_keeps_them_for_longer_than_a_window() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let mut count = |now, item| {
        let step = Step::new(What::Count, "k", 3, MINUTE, item);
        script.run(now, &[step]).1.len()
    };
    assert_eq!(count(EPOCH + MINUTE, 1), 0);
    assert_eq!(count(EPOCH, 2), 0);
    assert_eq!(count(EPOCH + 1, 3), 1);
    // They count as seen when the clock had stepped back.
    assert_eq!(count(EPOCH + MINUTE + 1, 4), 0);
    assert_eq!(count(EPOCH + MINUTE + 2, 5), 0);
    assert_eq!(count(EPOCH + MINUTE + 3, 6), 1);
}

#[test]
fn what_is_no_trail_or_sketch_is_dropped_and_counted() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let step = |item| Step::new(What::Count, "k", 2, MINUTE, item);
    let header = |magic: &str| format!("\\x9a\\x{magic}{}", "\\x00".repeat(15));
    for broken in [
        "SET k x".to_owned(),
        "RPUSH k x".to_owned(),
        format!("SET k \"{}abcd\"", header("03")),
        format!("SET k \"{}abcdefghijklm\"", header("02")),
    ] {
        script.query::<()>(&["FLUSHALL"]);
        server.cli(&["EVAL", &lua(&broken), "0"]);
        assert_eq!(script.run(EPOCH, &[step(1)]), (1, vec![]), "{broken}");
        let (broken, found) = script.run(EPOCH, &[step(2)]);
        assert_eq!((broken, found.len()), (0, 1));
    }
    // A trail that is none is in no episode.
    for command in ["SET f x", "RPUSH f x"] {
        script.query::<()>(&["FLUSHALL"]);
        server.cli(&["EVAL", &lua(command), "0"]);
        let steps = [
            Step::new(What::IsFailing, "f", 2, MINUTE, 0),
            Step::new(What::CountIf, "k", 1, MINUTE, 1),
        ];
        assert_eq!(script.run(EPOCH, &steps), (0, vec![]), "{command}");
    }
    for command in ["SET k:sketch x", "RPUSH k:sketch x"] {
        script.query::<()>(&["FLUSHALL"]);
        let fill: Vec<_> = (0..64).map(step).collect();
        script.run(EPOCH, &fill);
        // The sketch exists since it began, so it is replaced only now.
        script.run(EPOCH, &[step(64)]);
        script.query::<()>(&["DEL", "k:sketch"]);
        server.cli(&["EVAL", &lua(command), "0"]);
        assert_eq!(script.run(EPOCH, &[step(65)]), (1, vec![]), "{command}");
        let state = Step::new(What::State, "k", 2, MINUTE, 0);
        let (broken, found) = script.run(EPOCH, &[state]);
        assert_eq!((broken, found[0].count), (0, 64), "as many as are kept");
    }
}

#[test]
fn refuses_arguments_that_do_not_fit_together() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let step = |what: u8| [&[what, 0, 1, 0, 0, 0x0f, 0x42, 0x40][..], &[0; 8]].concat();
    for (keys, plan) in [
        (0, vec![]),
        (2, vec![]),
        (1, step(1)),
        (3, step(1)),
        (2, step(2)),
        (2, step(1)[..15].to_vec()),
        (2, [&step(1)[..], &[1]].concat()),
        (2, step(0)),
        (2, step(6)),
    ] {
        let keys: Vec<_> = (0..keys).map(|key| key.to_string()).collect();
        let error = script.ask(EPOCH, &keys, &plan).unwrap_err().to_string();
        assert!(error.contains("count_distinct"), "{error}");
        assert_eq!(script.query::<u64>(&["DBSIZE"]), 0);
    }
}
