//! What somebody else may have left at any key of any script: the call is short all the same, it answers, and it frees
//! nothing that is long.

use redis::{Connection, RedisResult};

use super::{MILLION, MINUTE, Server, most};

/// Bytes of what is long, and elements of what has many.
const LONG: usize = 15_000_000;
const MANY: usize = 50_000;
const NAME: &str = "00000000000000000000000000000001";
const OTHER: &str = "00000000000000000000000000000002";
const SESSION: [&str; 3] = ["epoch", "index", "hours"];

/// Makes what is at KEYS[1] as large as it can be, of the kind that it is there: ARGV[1] is what is planted, ARGV[2] how much.
/// What is of another kind is replaced.
const PLANT: &str = "
    local key, what, size = KEYS[1], ARGV[1], tonumber(ARGV[2])
    local kind = redis.call('TYPE', key).ok
    if what == 'string' then
        if kind ~= 'string' then redis.call('UNLINK', key) end
        redis.call('SETRANGE', key, size, 'x')
    elseif what == 'hash' then
        local own = kind == 'hash' and redis.call('HGETALL', key) or {}
        redis.call('COPY', 'source:hash', key, 'REPLACE')
        if #own > 0 then redis.call('HSET', key, unpack(own)) end
    elseif kind == 'zset' then
        redis.call('ZUNIONSTORE', key, 2, key, 'source:' .. what)
    else
        redis.call('COPY', 'source:' .. what, key, 'REPLACE')
    end
";
const PLANTS: [&str; 6] = ["string", "fields", "field", "hash", "+inf", "-inf"];

pub(super) struct Call {
    source: &'static str,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    fn run(&self, connection: &mut Connection) -> RedisResult<redis::Value> {
        let script = redis::Script::new(self.source);
        let mut call = script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        for argument in &self.arguments {
            call.arg(argument);
        }
        call.invoke(connection)
    }
}

pub(super) fn call(source: &'static str, keys: &[&str], arguments: &[&[u8]]) -> Call {
    Call {
        source,
        keys: keys.iter().map(|&key| key.to_owned()).collect(),
        arguments: arguments
            .iter()
            .map(|&argument| argument.to_vec())
            .collect(),
    }
}

/// Calls `call` once for each of these keys and all that may be there, after what `before` has made.
pub(super) fn bears(before: &[Call], call: &Call, keys: &[&str]) {
    let mut server = Server::start(call.source);
    let most = most(&mut server);
    let redis = &mut server.connection;
    for (key, made) in [
        ("source:hash", "redis.call('HSET', KEYS[1], i, i)"),
        ("source:+inf", "redis.call('ZADD', KEYS[1], '+inf', i)"),
        ("source:-inf", "redis.call('ZADD', KEYS[1], '-inf', i)"),
    ] {
        let script = format!("for i = 1, {MANY} do {made} end");
        redis::Script::new(&script)
            .key(key)
            .invoke::<()>(redis)
            .unwrap();
    }
    let mut failed = Vec::new();
    for key in keys {
        for plant in PLANTS {
            // A machine that is busy with something else does not decide.
            let mut tries = 0..5;
            let found = loop {
                let found = cell(&mut server, before, call, key, plant);
                if tries.next().is_none() || found.1.is_none() && found.0 < most {
                    break found;
                }
            };
            if found.1.is_some() || found.0 >= most {
                failed.push(format!("{plant} at {key}: {found:?} µs of {most}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// How long the call takes, and what is wrong with it.
fn cell(
    server: &mut Server,
    before: &[Call],
    call: &Call,
    key: &str,
    plant: &str,
) -> (u64, Option<String>) {
    let names: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(&mut server.connection)
        .unwrap();
    for name in names.iter().filter(|name| !name.starts_with("source:")) {
        redis::cmd("UNLINK")
            .arg(name)
            .exec(&mut server.connection)
            .unwrap();
    }
    for call in before {
        call.run(&mut server.connection).unwrap();
    }
    let mut kind = redis::cmd("TYPE");
    let kind: String = kind.arg(key).query(&mut server.connection).unwrap();
    if plant == "field" && kind != "hash" || plant == "-inf" && kind != "zset" {
        // As `fields` and `+inf`.
        return (0, None);
    }
    let size = if plant == "string" || plant.starts_with("field") {
        LONG
    } else {
        MANY
    };
    if plant.starts_with("field") {
        plant_fields(&mut server.connection, key, plant == "field");
    } else {
        let script = redis::Script::new(PLANT);
        let mut planted = script.key(key);
        planted.arg(plant).arg(size);
        planted.invoke::<()>(&mut server.connection).unwrap();
    }
    let held = server.worked();
    let answer = call.run(&mut server.connection);
    let micros = server.worked() - held;
    if let Err(error) = answer {
        return (micros, Some(error.to_string()));
    }
    let freed = size == LONG && bytes_of(&mut server.connection, key) < LONG as u64;
    (micros, freed.then(|| "what is long was freed".to_owned()))
}

/// Makes the fields of a hash long, or the last alone; not by a script, which would leave its own copy to be freed within the next.
fn plant_fields(connection: &mut Connection, key: &str, last: bool) {
    let fields: RedisResult<Vec<String>> = redis::cmd("HKEYS").arg(key).query(connection);
    let mut fields = fields.unwrap_or_default();
    if fields.is_empty() {
        redis::cmd("UNLINK").arg(key).exec(connection).unwrap();
        fields.push("f".to_owned());
    }
    if last {
        fields.drain(..fields.len() - 1);
    }
    let long = vec![b'7'; LONG / fields.len() + 1];
    for field in fields {
        let mut planted = redis::cmd("HSET");
        planted.arg(key).arg(field).arg(&long);
        planted.exec(connection).unwrap();
    }
}

/// What is held at a key, and at those that it was renamed to and that expire.
fn bytes_of(connection: &mut Connection, key: &str) -> u64 {
    let dropped = format!("{key}:dropped:*");
    let dropped: Vec<String> = redis::cmd("KEYS").arg(dropped).query(connection).unwrap();
    let mut bytes = 0;
    for name in dropped.iter().map(String::as_str).chain([key]) {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(name).arg("SAMPLES").arg(0);
        let used: Option<u64> = usage.query(connection).unwrap();
        let lasts: i64 = redis::cmd("PTTL").arg(name).query(connection).unwrap();
        if name == key || lasts <= 1_000 && lasts != -1 {
            bytes += used.unwrap_or(0);
        }
    }
    bytes
}

fn moment(micros: u64) -> Vec<u8> {
    micros.to_be_bytes()[1..].to_vec()
}

/// A piece of evidence under a threshold of this many things.
fn evidence(threshold: u16) -> Vec<u8> {
    let mut evidence = vec![0];
    evidence.extend(threshold.to_be_bytes());
    evidence.extend(&MINUTE.to_be_bytes()[3..]);
    evidence.extend(7_u64.to_be_bytes());
    evidence
}

fn imposed(threshold: u16) -> Call {
    let terms = [moment(60 * MINUTE), moment(MINUTE)].concat();
    let source = lua!("refused", "value", "impose_ban");
    call(
        source,
        &["bans", "ban", "trail"],
        &[&terms, &evidence(threshold), b"ada"],
    )
}

#[test]
fn bans() {
    let begun: [&[Call]; 2] = [&[], &[imposed(1)]];
    for before in begun {
        bears(before, &imposed(1), &["bans", "ban", "trail"]);
    }
}

#[test]
fn bans_that_do_not_begin() {
    bears(
        &[imposed(1_000)],
        &imposed(1_000),
        &["bans", "ban", "trail"],
    );
}

#[test]
fn bans_that_are_read_and_lifted() {
    let source = lua!("refused", "value", "lift_ban");
    bears(
        &[imposed(1)],
        &call(source, &["ban", "bans"], &[b"ada"]),
        &["ban", "bans"],
    );
    let source = lua!("refused", "value", "read_bans");
    bears(&[imposed(1)], &call(source, &["ban"], &[]), &["ban"]);
}

const RETENTION: &[u8] = b"1000000000";
const ORDER: &[u8] = b"0123456789ab";

fn ordered() -> Call {
    let source = lua!("refused", "value", "customer", "apply_change");
    let arguments: [&[u8]; 8] = [
        RETENTION,
        b"5000",
        b"5",
        b"ada",
        b"1700000000000",
        b"o",
        b"700",
        ORDER,
    ];
    call(source, &["vip", "others", "customer", "erased"], &arguments)
}

fn erased(at: &[u8]) -> Call {
    let source = lua!("refused", "value", "customer", "erase_customer");
    call(
        source,
        &["vip", "others", "customer", "erased"],
        &[b"ada", at, RETENTION],
    )
}

#[test]
fn customers_who_order() {
    let keys = ["vip", "others", "customer", "erased"];
    bears(&[erased(b"1"), ordered()], &ordered(), &keys);
}

#[test]
fn customers_who_are_erased() {
    let keys = ["vip", "others", "customer", "erased"];
    bears(&[erased(b"1"), ordered()], &erased(b"2"), &keys);
}

#[test]
fn customers_who_are_swept() {
    let began = |holder: &[u8]| {
        let source = lua!("refused", "value", "customer", "begin_sweep");
        let arguments: [&[u8]; 8] = [
            holder,
            b"60000",
            b"1",
            b"0",
            b"500",
            b"1800000000000",
            b"0",
            b"0",
        ];
        call(source, &["vip", "others", "lease"], &arguments)
    };
    bears(
        &[ordered(), began(b"a")],
        &began(b"a"),
        &["vip", "others", "lease"],
    );
    let ended = call(lua!("end_sweep"), &["lease"], &[b"a"]);
    bears(&[began(b"a")], &ended, &["lease"]);
    let keys = ["vip", "others", "customer"];
    let source = lua!("refused", "value", "customer", "check_customers");
    let arguments: [&[u8]; 6] = [RETENTION, b"5000", b"5", b"1", b"2", b"ada"];
    bears(&[ordered()], &call(source, &keys, &arguments), &keys);
    let source = lua!("refused", "value", "customer", "forget_customers");
    bears(&[ordered()], &call(source, &keys, &[b"2", b"ada"]), &keys);
}

fn created(name: &str, origin: bool) -> Call {
    let mut plan = vec![0; 8];
    plan.extend([0, 0, 0, 0, 0, 9, 0, 10, 0, if origin { 3 } else { 1 }]);
    let mut tail = [&(60 * MINUTE).to_be_bytes()[2..]; 2].concat();
    tail.extend([0, 0, 0]);
    let source = lua!("refused", "value", "session", "create_session");
    // Each create has a key of its own.
    let once = if name == NAME { "first" } else { "once" };
    let keys = [&SESSION[..], &[once, "origin"]].concat();
    let id = u128::from_str_radix(name, 16).unwrap().to_be_bytes();
    let from = [&id[..], b"ada"].concat();
    let arguments: [&[u8]; 7] = [
        b"s:",
        b"live:",
        name.as_bytes(),
        &plan,
        &[7; 32],
        &tail,
        &from,
    ];
    call(source, &keys[..if origin { 5 } else { 4 }], &arguments)
}

fn of_session(source: &'static str, arguments: &[&[u8]]) -> Call {
    call(
        source,
        &SESSION,
        &[&[&b"s:"[..], b"live:"], arguments].concat(),
    )
}

fn record() -> String {
    format!("s:{NAME}")
}

#[test]
fn sessions_that_are_created() {
    let record = record();
    let keys = [
        "epoch", "index", "hours", "once", "origin", "live:1", "live:2", &record,
    ];
    bears(&[created(NAME, true)], &created(OTHER, true), &keys);
}

#[test]
fn sessions_that_are_proved_and_ended() {
    let record = record();
    let keys = ["epoch", "index", "hours", "live:1", &record];
    let source = lua!("refused", "value", "session", "prove_session");
    let proved: [&[u8]; 6] = [NAME.as_bytes(), &[7; 32], b"0", &[8; 32], b"1", b""];
    bears(&[created(NAME, false)], &of_session(source, &proved), &keys);
    let source = lua!("refused", "value", "session", "end_session");
    bears(
        &[created(NAME, false)],
        &of_session(source, &[NAME.as_bytes()]),
        &keys,
    );
    let source = lua!("refused", "value", "session", "end_sessions");
    bears(
        &[created(NAME, false)],
        &of_session(source, &[b"", &[0; 6]]),
        &keys,
    );
}

#[test]
fn sessions_that_are_told() {
    let record = record();
    let keys = ["epoch", "index", "hours", "live:1", &record];
    for source in [
        lua!("refused", "value", "session", "begin_login"),
        lua!("refused", "value", "session", "list_sessions"),
        lua!("refused", "value", "session", "count_sessions"),
    ] {
        bears(&[created(NAME, false)], &of_session(source, &[]), &keys);
    }
    let source = lua!("refused", "value", "count_live");
    bears(
        &[created(NAME, true)],
        &call(source, &["live:1"], &[]),
        &["live:1"],
    );
    let source = lua!("refused", "value", "find_origin");
    for passed in [&b"0"[..], b"99000"] {
        let arguments: [&[u8]; 4] = [b"s:{", b"epoch:{", b"60000000", passed];
        bears(
            &[created(NAME, true)],
            &call(source, &["origin"], &arguments),
            &["origin"],
        );
    }
}

const BUDGET: &[u8] = b"1000000000";

#[test]
fn failures_logins_and_visits() {
    let mut one = 10_u16.to_be_bytes().to_vec();
    one.extend(&MINUTE.to_be_bytes()[3..]);
    one.push(0);
    let source = lua!("refused", "value", "ledger", "kept", "count_failures");
    let failed = || call(source, &["ledger", "trail"], &[&one, BUDGET, b"/login"]);
    bears(&[failed()], &failed(), &["ledger", "trail"]);

    // A third and a fourth item, of which the trail has 64 and the sketch more.
    let step = |item: u64| {
        let mut step = vec![1];
        step.extend(2_u16.to_be_bytes());
        step.extend(&MINUTE.to_be_bytes()[3..]);
        step.extend(item.to_be_bytes());
        let source = lua!("refused", "value", "ledger", "kept", "count_distinct");
        call(source, &["ledger", "trail", "sketch"], &[&step, BUDGET])
    };
    let before: Vec<_> = (0..70).map(step).collect();
    bears(&before, &step(70), &["ledger", "trail", "sketch"]);

    let source = lua!("refused", "value", "ledger", "kept", "reach_stage");
    let window = (60 * MILLION).to_string();
    let reached = || {
        call(
            source,
            &["ledger", "journey"],
            &[window.as_bytes(), &[0; 6], BUDGET],
        )
    };
    bears(&[reached()], &reached(), &["ledger", "journey"]);
}
