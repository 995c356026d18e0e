//! The scripts of suspicion, of the bans and of the funnel: as many keys as a call may have, each as long as it can be.

use super::{MILLION, MINUTE, Server, all_short};

/// What a ledger may hold, in bytes.
const BUDGET: &[u8] = b"1000000000";
/// The most failed requests of a call.
const REQUESTS: usize = 32;
/// The most reaches of a call.
const REACHES: usize = 160;
/// Copies of what is too long to be there once for each key of a call.
const FEW: usize = 32;
const DAY: u64 = 1_440 * MINUTE;

/// Stamps, the oldest first and the newest `back` microseconds before now.
fn stamps(now: u64, back: i64, count: u64) -> impl Iterator<Item = [u8; 5]> {
    let newest = now.wrapping_add_signed(-back);
    (0..count).rev().map(move |age| {
        let stamp = (newest - age * 50) % (1 << 40);
        stamp.to_be_bytes()[3..].try_into().unwrap()
    })
}

/// How far back the newest stamp of a trail may lie: now, long left, in the future, and so that half of a thousand have left.
const BACK: [(&str, i64); 4] = [
    ("in the window", 0),
    ("that have left", 2 * MINUTE as i64),
    ("in the future", -3_600 * MILLION as i64),
    ("half of which have left", (MINUTE - 25_000) as i64),
];

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|key| key.to_string()).collect()
}

/// A trail of failures in an episode, with as many routes as there can be.
fn failures(now: u64, back: i64, count: u64) -> Vec<u8> {
    let mut trail = vec![0x9a, 2];
    trail.extend(&(now - MINUTE).to_be_bytes()[1..]);
    trail.extend(&(now - MINUTE).to_be_bytes()[1..]);
    trail.extend([0, 0, 0, 3, 0xe8]);
    trail.extend(2_048_u16.to_be_bytes());
    for route in 0..8 {
        trail.push(255);
        trail.extend([b'a' + route; 255]);
    }
    trail.extend(stamps(now, back, count).flatten());
    trail
}

/// What counts a failure in each of so many trails under a threshold of a thousand.
fn plan_of_failures(keys: usize) -> [Vec<u8>; 3] {
    let mut one = 1_000_u16.to_be_bytes().to_vec();
    one.extend(&MINUTE.to_be_bytes()[3..]);
    one.push(0);
    [one.repeat(keys), BUDGET.to_vec(), b"/login".to_vec()]
}

#[test]
fn no_count_of_failures_holds_the_server_whatever_the_trails() {
    let mut server =
        Server::with_ledger(lua!("refused", "value", "ledger", "kept", "count_failures"));
    let mut told = Vec::new();
    // A 401 counts for three kinds.
    let many = keys(3 * REQUESTS);
    for (which, back) in BACK {
        let now = server.now();
        server.set("source", &failures(now, back, 1_000));
        let micros = server.holds(&many, &plan_of_failures(many.len()), Server::copy);
        told.push((micros, format!("trails of a thousand failures {which}")));
    }
    for (which, back) in BACK {
        let now = server.now();
        let trail = failures(now, back, MILLION);
        let afresh = |server: &mut Server, keys: &[String]| server.afresh(&trail, keys);
        let micros = server.holds(&keys(FEW), &plan_of_failures(FEW), afresh);
        told.push((micros, format!("trails of a million failures {which}")));
    }
    all_short(&mut server, &told);
}

/// A trail of distinct items in an episode.
fn items(now: u64, back: i64, count: u64) -> Vec<u8> {
    let mut trail = vec![0x9a, 4, 0];
    trail.extend(&(now - MINUTE).to_be_bytes()[1..]);
    trail.extend(&(now - MINUTE).to_be_bytes()[1..]);
    for (item, stamp) in stamps(now, back, count).enumerate() {
        trail.extend(item.to_be_bytes());
        trail.extend(stamp);
    }
    trail
}

/// Steps of this number, each under a threshold of so many.
fn plan_of_steps(what: u8, threshold: u16, steps: usize) -> [Vec<u8>; 2] {
    let mut one = vec![what];
    one.extend(threshold.to_be_bytes());
    one.extend(&MINUTE.to_be_bytes()[3..]);
    one.extend(u64::MAX.to_be_bytes());
    [one.repeat(steps), BUDGET.to_vec()]
}

#[test]
fn no_count_of_distinct_items_holds_the_server_whatever_the_trails() {
    let mut server =
        Server::with_ledger(lua!("refused", "value", "ledger", "kept", "count_distinct"));
    let mut told = Vec::new();
    let paired = |count: usize| -> Vec<String> {
        let pair = |key: &String| [key.clone(), format!("{key}:sketch")];
        keys(count).iter().flat_map(pair).collect()
    };
    // A failed login that is a 401 counts for five kinds.
    let many = paired(5 * REQUESTS);
    for (which, back) in BACK {
        let back = if back > MINUTE as i64 / 2 && back < MINUTE as i64 {
            (MINUTE - 1_600) as i64
        } else {
            back
        };
        let now = server.now();
        let trail = items(now, back, 64);
        let prepare = |server: &mut Server, keys: &[String]| {
            let trails: Vec<_> = keys.iter().step_by(2).cloned().collect();
            server.afresh(&trail, &trails);
        };
        for (does, what) in [("counting", 1), ("telling", 5)] {
            let plan = plan_of_steps(what, 64, many.len() / 2);
            let micros = server.holds(&many, &plan, prepare);
            told.push((micros, format!("{does} 64 items {which}")));
        }
    }
    let few = paired(FEW);
    let now = server.now();
    let trail = items(now, 0, 400_000);
    let afresh = |server: &mut Server, keys: &[String]| server.afresh(&trail, keys);
    let micros = server.holds(&few, &plan_of_steps(1, 64, FEW), afresh);
    told.push((micros, "trails of 400,000 items, and sketches".to_owned()));
    let few = keys(FEW);
    server.set("source", &failures(now, 0, MILLION));
    let micros = server.holds(&few, &plan_of_steps(2, 1_000, FEW), Server::copy);
    told.push((micros, "asking after a million failures".to_owned()));
    all_short(&mut server, &told);
}

#[test]
fn no_reading_of_bans_holds_the_server_whatever_the_keys() {
    let mut server = Server::start(lua!("refused", "value", "read_bans"));
    let mut told = Vec::new();
    let now = server.now();
    let mut ban = vec![0x9a, 3];
    ban.extend(&(now + 2 * DAY).to_be_bytes()[1..]);
    ban.extend([0, 1, 0]);
    ban.extend(&(now + DAY).to_be_bytes()[1..]);
    server.set("source", &ban);
    let micros = server.holds(&keys(1_000), &[], Server::copy);
    told.push((micros, "a thousand bans of the future".to_owned()));
    ban.resize(5_000_000, 0);
    server.set("source", &ban);
    let micros = server.holds(&keys(FEW), &[], Server::copy);
    told.push((micros, "five megabytes each".to_owned()));
    all_short(&mut server, &told);
}

#[test]
fn no_reach_holds_the_server_whatever_the_journeys() {
    let mut server = Server::with_ledger(lua!("refused", "value", "ledger", "kept", "reach_stage"));
    let mut told = Vec::new();
    let arguments = |count: usize| {
        let reach = [15, 0, 0, 0, 0, 0];
        [
            MINUTE.to_string().into_bytes(),
            reach.repeat(count),
            BUDGET.to_vec(),
        ]
    };
    let now = server.now();
    let journey = |floor: u64| {
        let mut journey = vec![0x9a, 5, 1];
        journey.extend(&floor.to_be_bytes()[1..]);
        for stage in 1..=15 {
            journey.extend(&(floor + stage).to_be_bytes()[1..]);
        }
        journey
    };
    for (which, floor) in [("of now", now - MILLION), ("of the future", now + DAY)] {
        server.set("source", &journey(floor));
        let micros = server.holds(&keys(REACHES), &arguments(REACHES), Server::copy);
        told.push((micros, format!("journeys of sixteen stages {which}")));
    }
    let mut long = journey(now);
    long.resize(10 + 7 * 700_000, 0);
    let afresh = |server: &mut Server, keys: &[String]| server.afresh(&long, keys);
    let micros = server.holds(&keys(FEW), &arguments(FEW), afresh);
    told.push((micros, "five megabytes each".to_owned()));
    all_short(&mut server, &told);
}
