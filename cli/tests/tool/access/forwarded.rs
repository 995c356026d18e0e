//! Logs of a server behind proxies: who the clients are, and what is said where the log does not tell.
use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use super::logs::Logs;

/// Thirty clients with ten requests each in one minute, through two proxies, as nginx's packaged format has it. A forged
/// address stands left of each, and every tenth comes through the inner proxy as well.
fn nginx() -> String {
    let mut log = String::new();
    for n in 0..300 {
        let (client, second) = (n % 30, n % 60);
        let inner = if n % 10 == 0 { ", 10.0.0.2" } else { "" };
        let time = format!("[17/May/2015:10:05:{second:02} +0000]");
        let forwarded = format!("203.0.113.9, 192.0.2.{client}{inner}");
        let _ = writeln!(
            log,
            r#"10.0.0.1 - - {time} "GET /{n} HTTP/1.1" 200 5 "http://a/\x22b" "M \"q\" (X)" "{forwarded}""#
        );
    }
    log
}

fn report(logs: &Logs, arguments: &[&str]) -> Value {
    logs.json(&[&["access.log", "--ip", "20/1m"], arguments].concat())
}

#[test]
fn clients_behind_trusted_proxies_are_found_as_the_service_finds_them() {
    let logs = Logs::new();
    logs.write("access.log", nginx());
    logs.write(
        "proxies.toml",
        "[client]\ntrusted_proxies = ['10.0.0.0/8']\n",
    );
    for arguments in [
        &["--config", "proxies.toml"][..],
        &["--trusted-proxy", "10.0.0.0/8"],
    ] {
        let report = report(&logs, arguments);
        assert_eq!(
            (&report["parsed"], &report["clients"]),
            (&300.into(), &30.into())
        );
        assert_eq!(report["denied"], 0, "{report}");
        assert_eq!(report["forwarded_ignored"], 0);
    }
    // Only the outer proxy is trusted: the inner one is the client of a tenth.
    let outer = report(&logs, &["--trusted-proxy", "10.0.0.1"]);
    assert_eq!(outer["clients"], 28);
    assert_eq!(outer["denied"], 10);
}

#[test]
fn a_proxy_that_no_line_came_through_and_a_route_that_no_request_met_are_told() {
    let logs = Logs::new();
    logs.write("access.log", nginx());
    // The outer one is the peer of every line, and the inner one stands in the header of a tenth.
    let met = ["--trusted-proxy", "10.0.0.1", "--trusted-proxy", "10.0.0.2"];
    let met = [&met[..], &["--route", "/{page}"]].concat();
    let unmet = ["--trusted-proxy", "172.16.0.0/12", "--route", "/{page}/x"];
    let all = [&met[..], &unmet].concat();
    let told = report(&logs, &all);
    assert_eq!(told["unmet_proxies"], serde_json::json!(["172.16.0.0/12"]));
    assert_eq!(told["unmet_routes"], serde_json::json!(["/{page}/x"]));
    let said = |arguments: &[&str]| {
        let arguments = [&["access.log"], arguments].concat();
        String::from_utf8(logs.replay(&arguments).stdout).unwrap()
    };
    let text = said(&all);
    for note in [
        "no line has an address of --trusted-proxy 172.16.0.0/12",
        "no request met --route /{page}/x",
    ] {
        assert!(text.contains(note), "{text}");
    }
    let text = said(&met);
    assert!(!text.contains("changes nothing"), "{text}");
}

#[test]
fn a_header_that_is_not_heeded_is_told() {
    let logs = Logs::new();
    logs.write("access.log", nginx());
    let untrusting = report(&logs, &[]);
    assert_eq!(
        (&untrusting["clients"], &untrusting["denied"]),
        (&1.into(), &280.into())
    );
    assert_eq!(untrusting["forwarded_ignored"], 300);
    let text = logs.command(&["access.log"]).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("300 lines have a forwarding header that is not heeded"),
        "{text}"
    );
    assert!(text.contains("--trusted-proxy"), "{text}");
}

#[test]
fn the_header_of_the_standard_is_read_too_and_a_translators_client_is_its_ipv4_address() {
    let logs = Logs::new();
    let mut log = String::new();
    let time = "[17/May/2015:10:05:03 +0000]";
    // The last proxy but one comes through the translator too.
    for (proxy, forwarded) in [
        (
            "10.0.0.1",
            r#"for=\"[64:ff9b::192.0.2.1]:443\";proto=https, for=10.0.0.2"#,
        ),
        ("10.0.0.1", r"for=\x22[2001:db8:64::c000:201]\x22"),
        ("2001:db8:64::a00:3", "for=192.0.2.1"),
        ("10.0.0.1", "-"),
    ] {
        let _ = writeln!(
            log,
            r#"{proxy} - - {time} "GET / HTTP/1.1" 200 5 "-" "-" "{forwarded}""#
        );
    }
    logs.write("access.log", log);
    let config = "[client]\ntrusted_proxies = ['10.0.0.0/8']\nforwarded_header = 'forwarded'\n\
                  nat64_prefixes = ['2001:db8:64::/96']\n[rate_limit]\nip = '2/1m'\n";
    logs.write("config.toml", config);
    let report = logs.json(&["access.log", "--config", "config.toml"]);
    // The last had no header, so the proxy itself asked.
    assert_eq!(
        (&report["parsed"], &report["clients"]),
        (&4.into(), &2.into())
    );
    let limited = &report["policies"]["ip"]["clients"];
    assert_eq!(limited[0]["client"], "192.0.2.1");
    assert_eq!(limited[0]["denied"], 1);
}

#[test]
fn a_line_that_does_not_say_who_the_client_is_is_left_out_by_name() {
    let time = r#"[17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5"#;
    for (line, why) in [
        (
            format!(r#"10.0.0.1 - - {time}"#),
            "its address is one of `client.trusted_proxies`, and no third",
        ),
        (
            format!(r#"10.0.0.1 - - {time} "-" "curl""#),
            "its address is one of `client.trusted_proxies`, and no third",
        ),
        (
            format!(r#"10.0.0.1 - - {time} "-" "curl" "0.003""#),
            "is not what `client.forwarded_header` holds",
        ),
        (
            format!("192.0.2.10 198.51.100.1 - - {time}"),
            "two addresses begin it",
        ),
        (
            format!("shop.example:443 198.51.100.1 - - {time}"),
            "`vhost_combined`",
        ),
    ] {
        let logs = Logs::new();
        logs.write("access.log", format!("{line}\n"));
        let output = logs
            .command(&["access.log", "--trusted-proxy", "10.0.0.0/8"])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {error}");
        assert!(
            error.contains("access.log:1: ") && error.contains(why),
            "{line}: {error}"
        );
    }
}

#[test]
fn compressed_logs_are_read_as_they_are_and_a_cut_one_is_named() {
    let logs = Logs::new();
    logs.write("access.log", nginx())
        .write("older.log", nginx());
    let plain = logs.json(&["access.log", "older.log"]);
    let directory = logs.directory();
    let packed = Command::new("sh")
        .args(["-c", "gzip -c access.log >all.gz && gzip -c older.log >>all.gz && head -c 900 all.gz >cut.gz"])
        .current_dir(directory)
        .status();
    assert!(packed.unwrap().success());
    assert_eq!(logs.json(&["all.gz"]), plain);
    let output = logs.command(&["cut.gz"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("cut.gz: the compressed data breaks off"),
        "{error}"
    );
}

/// A `*` in a policy's route takes what the service's router would take.
#[test]
fn a_star_at_the_end_of_a_route_takes_the_paths_below_it() {
    let logs = Logs::new();
    let time = "[17/May/2015:10:05:03 +0000]";
    let lines = [
        "/us/orders",
        "/us/orders/7",
        "/login",
        "/logout",
        "/",
        "/us",
    ];
    let lines = lines.map(|path| format!("192.0.2.1 - - {time} \"GET {path} HTTP/1.1\" 200 5\n"));
    logs.write("access.log", lines.concat());
    for (routes, requests) in [
        ("'/{country}/*'", 2),
        ("'/log*'", 2),
        ("'/log*', '/{country}/*'", 4),
        ("'/*'", 6),
    ] {
        let policy =
            format!("[rate_limit.policies.p]\nkey = 'ip'\nquota = '5/1m'\nroutes = [{routes}]\n");
        logs.write("config.toml", policy);
        let report = logs.json(&["access.log", "--config", "config.toml"]);
        assert_eq!(report["policies"]["p"]["requests"], requests, "{routes}");
    }
    let policy =
        "[rate_limit.policies.p]\nkey = 'ip'\nquota = '5/1m'\nroutes = ['/{country}/or*']\n";
    logs.write("config.toml", policy);
    let output = logs
        .command(&["access.log", "--config", "config.toml"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error.contains("`/{country}/or*` cannot be replayed"),
        "{error}"
    );
    let route = ["--route", "/{country}/orders"];
    let report = logs.json(&[&["access.log", "--config", "config.toml"], &route[..]].concat());
    assert_eq!(report["policies"]["p"]["requests"], 1);
}
