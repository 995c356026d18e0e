use std::time::{Duration, Instant};

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::output;

use crate::support::{Request, Webstore, command, config_file, run};

/// The value of every series whose line starts so, and that has all of these labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let series = metrics.lines().filter(|line| {
        let has_name = line
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{'));
        has_name && labels.iter().all(|label| line.contains(label))
    });
    let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}

/// Looks at the metrics until none of these is at 0.
fn wait_until_moved(store: &Webstore, wanted: &[(&str, &[&str])]) {
    let started = Instant::now();
    let mut still = wanted.to_vec();
    loop {
        let metrics = store.admin("/metrics").body;
        still.retain(|(name, labels)| sum(&metrics, name, labels) == 0.0);
        if still.is_empty() {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "still at 0: {still:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

const STAGES: &str = "webstore_funnel_stage_total";
const VISITORS: &str = "webstore_funnel_visitors_total";
const CUSTOMERS: &str = "webstore_customers";
const SEGMENTS: &str = "webstore_customer_segment_total";
const INCIDENTS: &str = "webstore_security_suspicious_activity_total";
const SESSIONS: &str = "webstore_session_operations_total";
const LIMITS: &str = "webstore_rate_limit_requests_total";

/// What a newcomer is to see within seconds.
const LIVELY: [(&str, &[&str]); 24] = [
    (STAGES, &[r#"stage="browse_catalog""#, r#"country="DE""#]),
    (STAGES, &[r#"stage="view_product""#, r#"country="JP""#]),
    (STAGES, &[r#"stage="add_to_cart""#]),
    (STAGES, &[r#"stage="checkout_complete""#]),
    (VISITORS, &[r#"stage="checkout_complete""#]),
    (CUSTOMERS, &[r#"segment="returning""#]),
    (CUSTOMERS, &[r#"segment="at_risk""#]),
    (CUSTOMERS, &[r#"segment="churned""#]),
    (CUSTOMERS, &[r#"segment="vip""#]),
    (SEGMENTS, &[r#"segment="new""#]),
    (SEGMENTS, &[r#"segment="at_risk""#]),
    (SEGMENTS, &[r#"segment="churned""#]),
    (SEGMENTS, &[r#"segment="vip""#]),
    (INCIDENTS, &[r#"type="endpoint_scanning""#]),
    (INCIDENTS, &[r#"type="credential_stuffing""#]),
    (INCIDENTS, &[r#"type="distributed_stuffing""#]),
    (
        "webstore_security_bans_total",
        &[r#"reason="endpoint_scanning""#],
    ),
    (
        "webstore_security_banned_requests_total",
        &[r#"result="denied""#],
    ),
    (SESSIONS, &[r#"operation="create""#, r#"outcome="done""#]),
    (SESSIONS, &[r#"operation="end""#, r#"outcome="done""#]),
    (
        SESSIONS,
        &[r#"operation="validate""#, r#"outcome="forged""#],
    ),
    // The thief's, whose victim has ended the session.
    (
        SESSIONS,
        &[r#"operation="validate""#, r#"outcome="refused""#],
    ),
    (LIMITS, &[r#"policy="ip""#, r#"result="denied""#]),
    (LIMITS, &[r#"policy="user""#, r#"result="denied""#]),
];

#[test]
fn a_demo_brings_everything_to_life_and_ends_cleanly_while_it_runs() {
    let store = Webstore::start(&["--demo"]);
    wait_until_moved(&store, &LIVELY);
    // Somebody real is served beside the visitors, whose addresses are not this one.
    assert_eq!(store.get("/US/products").status, 200);
    store.signal("TERM");
    let (status, rest) = store.wait();
    assert_eq!(status, Some(0), "{rest}");
    assert!(rest.contains("drained"), "{rest}");
}

#[test]
fn a_demo_believes_the_header_that_the_file_names() {
    let file = config_file("[client]\nforwarded_header = 'forwarded'\n");
    let store = Webstore::start(&["--demo", "--config", file.path().to_str().unwrap()]);
    // Were they not believed to be many, their one address would be denied soon.
    let visited: [(&str, &[&str]); 2] = [
        (VISITORS, &[r#"stage="add_to_cart""#]),
        (INCIDENTS, &[r#"type="distributed_stuffing""#]),
    ];
    wait_until_moved(&store, &visited);
    let as_many = Request::get("/US/products").header("forwarded", "for=192.0.2.255");
    assert_eq!(
        store.ask(as_many).header("ratelimit"),
        Some(r#""ip";r=199;t=60"#)
    );
}

#[test]
fn a_demo_is_refused_where_others_could_claim_addresses_or_its_own_are_not_believed() {
    let file = config_file("[client]\ntrusted_proxies = ['10.0.0.0/8']\n");
    let file = file.path().to_str().unwrap();
    let cases: [(&[&str], &str); 3] = [
        (
            &["--listen", "0.0.0.0:0"],
            "--listen cannot be 0.0.0.0:0 with --demo",
        ),
        (
            &["--admin", "0.0.0.0:0"],
            "--admin cannot be 0.0.0.0:0 with --demo",
        ),
        (
            &["--config", file],
            "`client.trusted_proxies` does not contain 127.0.0.1",
        ),
    ];
    for (arguments, why) in cases {
        let ended = run(&[&["--demo"], arguments].concat());
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

/// What the program says on stdout before its first visitor.
fn announced(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let command = command.args(arguments).envs(environment.iter().copied());
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut process = spawned.unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        said = said + &line + "\n";
        if line.contains("DEMO TRAFFIC") {
            break;
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    said
}

#[test]
fn a_demo_says_where_and_as_whom_to_sign_in_and_one_can() {
    let said = announced(&["--demo"], &[]);
    let (_, invitation) = said.split_once("account page on http://").expect(&said);
    assert!(
        invitation.contains("/account: sign in as ada or bob with the password palisade"),
        "{said}"
    );

    let store = Webstore::start(&["--demo"]);
    assert_eq!(store.get("/account").status, 200);
    let login = Request::post("/login", r#"{"user": "bob", "password": "palisade"}"#);
    let answer = store.ask(login.header("sec-fetch-site", "same-origin"));
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("session=pls_"), "{cookie}");
    let (cookie, _) = cookie.split_once(';').unwrap();
    let mine = Request::get("/api/v1/users/me/sessions").header("cookie", cookie);
    let listed = store.ask(mine).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "nobody else is bob");
}

#[test]
fn made_up_tokens_are_guesses_in_a_demo_and_who_sends_them_is_banned() {
    let store = Webstore::start(&["--demo"]);
    let started = Instant::now();
    let forged = |n: u32| {
        let token = format!("Bearer pls_YWRh.{n:021}A.{:064}", 0);
        let request = Request::get("/US/cart").header("authorization", &token);
        // An address that no visitor of the demo has.
        store.ask(request.header("x-forwarded-for", "100.64.0.1"))
    };
    let mut sent = 0;
    while forged(sent).status != 429 {
        assert!(started.elapsed() < Duration::from_secs(60), "{sent} tokens");
        sent += 1;
    }
    assert!(sent >= 5, "banned after {sent} tokens");
}

#[test]
fn a_demo_has_sessions_on_redis_too_although_no_secret_is_configured() {
    let redis = RedisServer::start();
    let url = redis.admin_url();
    let said = announced(&["--demo"], &[("REDIS_URL", url.as_str())]);
    assert!(said.contains("account page"), "{said}");
    // Without visitors there are none.
    let file = config_file("[sessions]\n");
    let mut refused = command(&["--config", file.path().to_str().unwrap()]);
    let refused = output(refused.env("REDIS_URL", &url));
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("store.secret_file"), "{why}");
}

#[test]
fn nobody_visits_without_a_demo() {
    let store = Webstore::start(&[]);
    let visitor = Request::get("/US/products").header("x-forwarded-for", "192.0.2.255");
    assert_eq!(
        store.ask(visitor).header("ratelimit"),
        Some(r#""ip";r=199;t=60"#)
    );
    let metrics = store.admin("/metrics").body;
    assert_eq!(
        sum(
            &metrics,
            LIMITS,
            &[r#"policy="ip""#, r#"result="admitted""#]
        ),
        1.0
    );
}
