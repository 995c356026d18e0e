use palisade_tests::webstore::output;

use crate::support::{Request, Webstore, command, config_file, run};

/// Why the program refuses to start with this file: exit status 2, and nothing on stdout.
#[track_caller]
fn refusal(text: &str) -> String {
    let file = config_file(text);
    let path = file.path().to_str().unwrap();
    let output = run(&[
        "--config",
        path,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text:?}: {stderr}");
    assert_eq!(output.stdout, b"");
    assert!(stderr.contains(path), "{stderr}");
    stderr
}

#[test]
fn a_value_that_cannot_be_used_exits_2_with_file_key_value_and_what_is_allowed() {
    for (text, key, value, allowed) in [
        (
            "[rate_limit]\nip = '0/1m'",
            "rate_limit.ip",
            "0/1m",
            "1 to 1",
        ),
        (
            "[rate_limit]\nuser = 'lots'",
            "rate_limit.user",
            "lots",
            "<count>/<duration>",
        ),
        ("[rate_limit]\nmode = 'maybe'", "mode", "maybe", "dry_run"),
        (
            "[rate_limit]\nheaders = 'all'",
            "headers",
            "all",
            "draft-11",
        ),
        (
            "[rate_limit]\non_store_failure = 'panic'",
            "on_store_failure",
            "panic",
            "local",
        ),
        (
            "[rate_limit.policies.checkout]\nkey = 'user'\nquota = '5/1y'",
            "checkout",
            "5/1y",
            "<duration>",
        ),
        ("[store]\ndeadline = 'soon'", "store.deadline", "soon", "ms"),
        ("[store]\nprefix = ''", "store.prefix", "", "character"),
        (
            "[client]\ntrusted_proxies = ['10.0.0.0/99']",
            "client.trusted_proxies",
            "10.0.0.0/99",
            "10.0.0.0/8",
        ),
        (
            "[client]\nforwarded_header = 'x-real-ip'",
            "forwarded_header",
            "x-real-ip",
            "forwarded",
        ),
        (
            "[client]\nipv6_prefix = 129",
            "client.ipv6_prefix",
            "129",
            "128",
        ),
        (
            "[funnel]\nvisitors = '59s'",
            "funnel.visitors",
            "59s",
            "`1m` to `30d`, or `off`",
        ),
        (
            "[segments]\nretention = '60d'",
            "segments.retention",
            "60d",
            "segments.churned_after",
        ),
        (
            "[suspicion]\nabuse = '20'",
            "suspicion.abuse",
            "20",
            "<count>/<duration>",
        ),
        (
            "[rate_limit.policies.p]\nkey = 'ip'\nquota = '5/1m'\nroutes = ['/a/*/b']",
            "rate_limit.policies.p.routes",
            "/a/*/b",
            "`*` at its end",
        ),
    ] {
        let message = refusal(text);
        for part in [key, value, allowed] {
            assert!(message.contains(part), "{part:?} in {message}");
        }
    }
}

#[test]
fn a_route_that_the_shop_does_not_have_exits_2_or_is_told_with_the_nearest() {
    let policy = "[rate_limit.policies.p]\nkey = 'ip'\nquota = '5/1m'\nroutes = ";
    let output = {
        let file = config_file(&format!("{policy}['POST /us/orders']"));
        let path = file.path().to_str().unwrap();
        run(&[
            "--config",
            path,
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ])
    };
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    for part in [
        "`rate_limit.policies.p.routes`",
        "`POST /us/orders`",
        "`POST /{country}/orders`",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    let mut store = Webstore::configured(&format!("{policy}['POST /logn', '/log*']"));
    let event = store.wait_for_log(
        "a setting names no route of the service: only requests without a route can meet it, by their path",
    );
    assert_eq!(event["event"], "route_unknown");
    assert_eq!(event["key"], "rate_limit.policies.p.routes");
    assert_eq!(
        (&event["value"], &event["nearest"]),
        (&"POST /logn".into(), &"POST /login".into())
    );
}

#[test]
fn an_unknown_key_and_broken_toml_exit_2() {
    assert!(refusal("[rate_limit]\nipp = '200/1m'").contains("ipp"));
    assert!(refusal("[funnel]\nvisitor = '24h'").contains("visitor"));
    assert!(refusal("[rate_limits]\nip = '200/1m'").contains("rate_limits"));
    refusal("[rate_limit");
}

#[test]
fn a_file_that_cannot_be_read_exits_2() {
    let output = run(&["--config", "/nowhere/webstore.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("/nowhere/webstore.toml"), "{stderr}");
}

#[test]
fn a_redis_url_that_cannot_be_used_exits_2_and_its_password_stays_secret() {
    let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let output = output(command.env("REDIS_URL", "rediss//ada:hunter2@localhost"));
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("REDIS_URL"), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_redis_url_that_is_no_text_exits_2() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let url = std::ffi::OsStr::from_bytes(b"redis://:hunter2\xff@localhost");
    let output = output(command.env("REDIS_URL", url));
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("REDIS_URL"), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn an_empty_secret_is_none_as_an_empty_redis_url_is() {
    let store = Webstore::with_empty_environment();
    assert_eq!(store.get("/US/products").status, 200);
}

#[test]
fn every_setting_of_the_contract_is_accepted() {
    let store = Webstore::configured(
        r#"
        [store]
        prefix = "shop:"
        deadline = "50ms"

        [client]
        trusted_proxies = ["10.0.0.0/8", "::1/128"]
        forwarded_header = "forwarded"
        ipv6_prefix = 56
        nat64_prefixes = ["2001:db8:64::/96"]

        [rate_limit]
        ip = "1000/1h30m"
        user = "60/m"
        on_store_failure = "open"
        mode = "enforce"
        headers = "draft-11"
        exempt = { cidrs = ["192.0.2.0/24"], users = ["monitor"], routes = ["GET /{country}/cart"] }

        [rate_limit.policies.checkout]
        key = "user"
        quota = "5/1m"
        cost = 1
        routes = ["POST /{country}/orders"]
        on_store_failure = "closed"
        mode = "dry_run"

        [suspicion]
        credential_stuffing = "5/5m"
        endpoint_scanning = "10/5m"
        abuse = "off"
        credential_stuffing_slow = "20/2h"
        exempt = { cidrs = ["192.0.2.0/24"], users = ["monitor"] }
        hash_clients = true

        [funnel]
        visitors = "24h"

        [segments]
        retention = "400d"
        vip_spend = 50000
        vip_orders = 5
        at_risk_after = "30d"
        churned_after = "90d"
        currency = "EUR"
        sweep_every = "1m"
        enabled = true
        "#,
    );
    let response = store.get("/US/products");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("ratelimit-policy"),
        Some(r#""ip";q=1000;w=5400"#)
    );
}

#[test]
fn the_example_file_is_accepted_and_says_the_defaults() {
    let store = Webstore::configured(include_str!("../../webstore.toml"));
    let response = store.ask(Request::get("/US/products").user("ada"));
    assert_eq!(
        response.header("ratelimit-policy"),
        Some(r#""ip";q=200;w=60, "user";q=60;w=60"#)
    );
}
