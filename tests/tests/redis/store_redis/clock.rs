//! Clocks that step.

use palisade_tests::redis::RedisServer;

use super::script::{EPOCH, Script, ask, log_of};

const MINUTE: u64 = 60_000_000;
const DAY: u64 = 86_400_000_000;

#[test]
fn a_hit_leaves_at_exactly_one_window() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    assert!(script.one(EPOCH, ask("k", 1, MINUTE)).0);
    let (admitted, tier) = script.one(EPOCH + MINUTE - 1, ask("k", 1, MINUTE));
    assert!(!admitted);
    assert_eq!((tier.reset, tier.retry), (1, 1));
    assert!(script.one(EPOCH + MINUTE, ask("k", 1, MINUTE)).0);
}

#[test]
fn a_step_back_blocks_nobody_for_longer_than_a_window_and_lets_nothing_extra_pass() {
    for (limit, step) in [
        (10, 5 * MINUTE),
        (10, 5 * DAY),
        (1000, 5 * MINUTE),
        (1000, 5 * DAY),
    ] {
        let server = RedisServer::start();
        let mut script = Script::on(&server);
        let request = ask("k", limit, MINUTE);
        for i in 0..limit {
            assert!(script.one(EPOCH + u64::from(i), request.clone()).0);
        }
        let back = EPOCH - step;
        let (admitted, tier) = script.one(back, request.clone());
        assert!(!admitted, "nothing extra");
        assert_eq!(tier.retry, 60_000_000, "one window from the step");
        let expires: u64 = redis::cmd("PEXPIRETIME")
            .arg("k")
            .query(script.redis())
            .unwrap();
        let leaves = (back + MINUTE) / 1000;
        assert!(
            (leaves..leaves + 2000).contains(&expires),
            "{expires} instead of {leaves}"
        );
        // The denial itself wrote the capped log, so the hits leave one window from it, not from the next request.
        assert!(!script.one(back + MINUTE - 1, request.clone()).0);
        assert!(script.one(back + MINUTE, request.clone()).0);
        let expires: i64 = redis::cmd("PEXPIRETIME")
            .arg("k")
            .query(script.redis())
            .unwrap();
        assert!(expires >= ((back + 2 * MINUTE) / 1000) as i64);
    }
}

#[test]
fn a_step_back_between_hits_keeps_those_before_it_as_they_are() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    for at in [0, 10, 50] {
        assert!(script.one(EPOCH + at * 1_000_000, ask("k", 3, MINUTE)).0);
    }
    // Back to second 20: the hit of second 50 counts as made now, those of 0 and 10 stay.
    let (_, tier) = script.one(EPOCH + 20_000_000, ask("k", 3, MINUTE));
    assert_eq!(tier.retry, 40_000_000);
    assert!(script.one(EPOCH + 60_000_000, ask("k", 3, MINUTE)).0);
    assert!(script.one(EPOCH + 70_000_000, ask("k", 3, MINUTE)).0);
    assert!(!script.one(EPOCH + 79_999_999, ask("k", 3, MINUTE)).0);
    assert!(script.one(EPOCH + 80_000_000, ask("k", 3, MINUTE)).0);
}

#[test]
fn a_step_forward_ends_every_window() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    for _ in 0..5 {
        assert!(script.one(EPOCH, ask("k", 5, MINUTE)).0);
    }
    let (admitted, tier) = script.one(EPOCH + 3 * DAY, ask("k", 5, MINUTE));
    assert!(admitted);
    assert_eq!(tier.remaining, 4);
}

#[test]
fn counts_across_the_turn_of_the_stamps() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let turn = (EPOCH >> 40 << 40) + (1 << 40);
    for limit in [20, 2000] {
        let key = limit.to_string();
        let stamps = (0..u64::from(limit)).map(|i| turn - 500 + i);
        redis::cmd("SET")
            .arg(&key)
            .arg(log_of(stamps))
            .exec(script.redis())
            .unwrap();
        let (admitted, tier) = script.one(turn + 5000, ask(&key, limit, MINUTE));
        assert!(!admitted);
        assert_eq!(tier.retry, 60_000_000 - 5500);
        let (admitted, tier) = script.one(turn + MINUTE, ask(&key, limit, MINUTE));
        assert!(admitted);
        // Those from before the turn have left, and the one made at it.
        let left = 501.min(limit);
        assert_eq!(tier.remaining, i64::from(left) - 1);
    }
}

#[test]
fn a_log_with_garbage_in_its_middle_begins_afresh_where_it_would_answer_nonsense() {
    let server = RedisServer::start();
    let mut script = Script::on(&server);
    let mut stamps: Vec<u64> = (0..10).map(|i| EPOCH + i).collect();
    for middle in &mut stamps[3..7] {
        // Three days in the future, between two stamps of now.
        *middle += 3 * DAY;
    }
    redis::cmd("SET")
        .arg("k")
        .arg(log_of(stamps))
        .exec(script.redis())
        .unwrap();
    let reply = script.run(EPOCH + 20, &[vec![ask("k", 6, MINUTE)]]);
    let (admitted, tiers) = &reply.verdicts[0];
    assert_eq!((reply.broken, *admitted), (1, true));
    assert_eq!(
        (tiers[0].remaining, tiers[0].reset, tiers[0].retry),
        (5, MINUTE as i64, 0)
    );
    assert_eq!(script.one(EPOCH + 20, ask("k", 6, MINUTE)).1.remaining, 4);
}
