//! `palisade doctor` on real configurations and real servers.

use std::collections::BTreeMap;
use std::process::Output;

use palisade_tests::echo::{self, Echo};
use palisade_tests::redis::{PASSWORD, RedisServer};
use palisade_tests::repository;
use palisade_tests::tls::TlsRedis;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::palisade;

fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Looks at a configuration, with this environment alone.
fn doctor(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let file = file(config);
    let mut command = palisade(&["doctor", "--config", file.path().to_str().unwrap()]);
    command.args(arguments).env_remove("REDIS_URL");
    command.envs(environment.iter().copied()).output().unwrap()
}

struct Seen {
    code: Option<i32>,
    report: Value,
}

impl Seen {
    fn of(config: &str, environment: &[(&str, &str)]) -> Self {
        let output = doctor(config, &["--json"], environment);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.is_empty(), "{errors}");
        Self {
            code: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap(),
        }
    }

    fn on(url: &str) -> Self {
        Self::of("[store]\ndeadline = '10s'", &[("REDIS_URL", url), SECRET])
    }

    #[track_caller]
    fn check(&self, name: &str) -> [&str; 3] {
        let checks = self.report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == name).unwrap();
        ["verdict", "found", "advice"].map(|key| check[key].as_str().unwrap_or_default())
    }

    fn verdict(&self, name: &str) -> &str {
        self.check(name)[0]
    }

    fn settings(&self) -> BTreeMap<String, [String; 2]> {
        let rows = self.report["settings"].as_array().unwrap().iter();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.map(|row| {
            (
                text(row, "key"),
                ["value", "source"].map(|key| text(row, key)),
            )
        })
        .collect()
    }
}

const SECRET: (&str, &str) = ("PALISADE_SECRET", "sixteen bytes or more");

#[test]
fn a_redis_in_order_passes_every_check() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb"]);
    server.cli(&["ACL", "SETUSER", "palisade", "+config|get"]);
    let seen = Seen::on(&server.url());
    let checks = seen.report["checks"].as_array().unwrap();
    assert!(
        checks.iter().all(|check| check["verdict"] == "ok"),
        "{checks:#?}"
    );
    assert_eq!(
        (seen.code, &seen.report["ok"]),
        (Some(0), &Value::Bool(true))
    );
    assert_eq!(server.cli(&["DBSIZE"]), "0");
    let settings = seen.settings();
    assert_eq!(settings["store.redis_url"], ["set", "environment"]);
    assert_eq!(settings["store.deadline"], ["\"10s\"", "file"]);
    assert_eq!(settings["store.prefix"], ["\"palisade:\"", "default"]);
}

#[test]
fn without_redis_its_checks_are_skipped_for_a_reason() {
    let seen = Seen::of("", &[]);
    assert_eq!(seen.code, Some(0));
    assert!(seen.check("redis.connection")[1].contains("memory"));
    for check in [
        "connection",
        "server",
        "version",
        "commands",
        "eviction",
        "clock",
        "tls",
    ] {
        assert_eq!(seen.verdict(&format!("redis.{check}")), "skipped");
    }
}

#[test]
fn each_check_of_redis_fails_where_it_should_and_says_what_to_do() {
    let cluster = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let seen = Seen::on(&cluster.url());
    let [verdict, found, advice] = seen.check("redis.server");
    assert!(
        verdict == "fail" && found.contains("Redis Cluster"),
        "{found}"
    );
    assert!(advice.contains("store.redis_url"), "{advice}");
    assert_eq!(
        (seen.code, seen.verdict("redis.commands")),
        (Some(1), "skipped")
    );

    let replica = RedisServer::start();
    replica.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let seen = Seen::on(&replica.url());
    assert!(seen.check("redis.server")[1].contains("read-only replica"));
    assert_eq!(seen.code, Some(1));

    let poor = RedisServer::start_with(&["--rename-command", "GETRANGE", ""]);
    poor.cli(&["ACL", "SETUSER", "palisade", "-time", "-zadd"]);
    let seen = Seen::on(&poor.url());
    let [verdict, found, advice] = seen.check("redis.commands");
    assert_eq!((verdict, seen.code), ("fail", Some(1)));
    for missing in ["not know the command `GETRANGE`", "`TIME`", "`ZADD`"] {
        assert!(found.contains(missing), "{found}");
    }
    assert!(
        advice.contains("docs/operations.md") && advice.contains("limits"),
        "{advice}"
    );
    assert_eq!(seen.verdict("redis.clock"), "skipped");
    assert_eq!(seen.verdict("redis.eviction"), "skipped");

    let away = RedisServer::stopped();
    let seen = Seen::on(&away.url());
    let [verdict, found, advice] = seen.check("redis.connection");
    assert!(verdict == "fail" && found.contains("refused"), "{found}");
    assert!(advice.contains("REDIS_URL"), "{advice}");
    assert_eq!(
        (seen.code, seen.verdict("redis.server")),
        (Some(1), "skipped")
    );

    let forgetful =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let seen = Seen::on(&forgetful.admin_url());
    assert_eq!(
        (seen.code, seen.verdict("redis.eviction")),
        (Some(0), "warn")
    );
}

#[test]
fn a_server_through_tls_is_proved_or_the_check_says_why_not() {
    let redis = TlsRedis::start();
    let certificate = redis.certificate();
    let trusted = ("SSL_CERT_FILE", certificate.to_str().unwrap());
    let seen = Seen::of("", &[("REDIS_URL", &redis.url()), trusted, SECRET]);
    assert_eq!((seen.code, seen.verdict("redis.tls")), (Some(0), "ok"));
    assert!(seen.check("redis.tls")[1].contains("certificate"));
    let seen = Seen::of("", &[("REDIS_URL", &redis.url()), SECRET]);
    assert!(seen.check("redis.connection")[1].contains("certificate"));
    assert_eq!(seen.code, Some(1));
}

#[test]
fn what_answers_in_place_of_redis_is_named() {
    let http = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    for (scheme, answer, says) in [
        ("redis", &http[..], "is an HTTP server, not Redis"),
        (
            "redis",
            b"<html><body>400</body></html>",
            "is an HTTP server, not Redis",
        ),
        (
            "redis",
            b"\x15\x03\x03\x00\x02\x02\x50",
            "speaks TLS: name it by rediss://",
        ),
        (
            "redis",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            "is no Redis: its answer begins with byte 0x53",
        ),
        (
            "rediss",
            &http[..],
            "does not speak TLS: name it by redis://",
        ),
        (
            "rediss",
            b"-ERR Protocol error\r\n",
            "does not speak TLS: name it by redis://",
        ),
    ] {
        let port = echo::start(Echo::Always(answer));
        let seen = Seen::on(&format!("{scheme}://127.0.0.1:{port}"));
        let [verdict, found, _] = seen.check("redis.connection");
        assert_eq!((seen.code, verdict), (Some(1), "fail"));
        assert!(found.contains(says), "{scheme} {answer:?}: {found}");
    }
    // Real ones too; a Redis without TLS may wait for more of what it takes for a command.
    let plain = RedisServer::start();
    let seen = Seen::on(&plain.url().replace("redis:", "rediss:"));
    let [verdict, found, advice] = seen.check("redis.connection");
    assert_eq!((seen.code, verdict), (Some(1), "fail"));
    assert!(
        found.contains("TLS") || found.contains("did not answer"),
        "{found}"
    );
    assert!(advice.contains("without TLS"), "{advice}");
    let redis = TlsRedis::start();
    let seen = Seen::on(&redis.url().replace("rediss:", "redis:"));
    let [verdict, found, _] = seen.check("redis.connection");
    assert_eq!((seen.code, verdict), (Some(1), "fail"));
    // Some end the connection without a word.
    let says = ["TLS", "closed", "reset"];
    assert!(says.iter().any(|it| found.contains(it)), "{found}");
}

#[test]
fn the_secret_is_looked_at_and_never_shown() {
    let server = RedisServer::start();
    let on_redis = ("REDIS_URL", &*server.url());
    let seen = Seen::of("", &[on_redis]);
    assert_eq!((seen.code, seen.verdict("secret")), (Some(0), "warn"));
    // A service with sessions would not start.
    let seen = Seen::of("[sessions]", &[on_redis]);
    assert_eq!((seen.code, seen.verdict("secret")), (Some(1), "fail"));
    let seen = Seen::of("", &[on_redis, ("PALISADE_SECRET", "short")]);
    assert_eq!((seen.code, seen.verdict("secret")), (Some(1), "fail"));
    let secret = file("the-content-of-the-secret\n");
    let config = format!("[store]\nsecret_file = '{}'", secret.path().display());
    let seen = Seen::of(&config, &[on_redis]);
    assert_eq!(
        seen.verdict("secret"),
        "ok",
        "a temporary file is its owner's"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(secret.path(), open).unwrap();
        let seen = Seen::of(&config, &[on_redis]);
        let [verdict, found, advice] = seen.check("secret");
        assert!(verdict == "warn" && found.contains("644"), "{found}");
        assert!(advice.starts_with("chmod 400"), "{advice}");
    }
    let seen = Seen::of("[store]\nsecret_file = '/nowhere/secret'", &[on_redis]);
    let [verdict, found, _] = seen.check("secret");
    assert!(
        verdict == "fail" && found.contains("/nowhere/secret"),
        "{found}"
    );
    assert_eq!(seen.code, Some(1));
    let seen = Seen::of(&config, &[("PALISADE_SECRET", ""), on_redis]);
    assert!(seen.check("secret")[1].contains(secret.path().to_str().unwrap()));
    assert!(!seen.report.to_string().contains("the-content"));
}

#[test]
fn no_password_is_printed_whatever_fails() {
    let renamed = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    let locked = RedisServer::start_with(&["--requirepass", "another"]);
    let ports = [
        renamed.port(),
        locked.port(),
        echo::start(Echo::Everything),
        echo::start(Echo::AsCode),
        echo::start(Echo::Later),
    ];
    for port in ports {
        let url = format!("redis://default:{PASSWORD}@127.0.0.1:{port}");
        for (config, environment) in [
            (format!("[store]\nredis_url = '{url}'"), vec![]),
            (String::new(), vec![("REDIS_URL", &*url)]),
        ] {
            for arguments in [&[][..], &["--json"]] {
                let output = doctor(&config, arguments, &environment);
                assert_eq!(output.status.code(), Some(1));
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8(said).unwrap().to_lowercase();
                assert!(
                    !said.contains(&PASSWORD[..9]) && said.contains("fail"),
                    "{said}"
                );
            }
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let url = [b"redis://:", PASSWORD.as_bytes(), b"\xff@db"].concat();
        let mut command = palisade(&["doctor"]);
        let output = command.env("REDIS_URL", std::ffi::OsStr::from_bytes(&url));
        let output = output.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("REDIS_URL") && !said.contains(&PASSWORD[..9]),
            "{said}"
        );
    }
    for config in [
        format!("[rate_limit]\nip = 'redis://:{PASSWORD}@db'"),
        format!("[store]\nredis_url = 'redis://:{PASSWORD}@db?protocol=resp2'"),
        format!("[store]\nredis_ulr = 'redis://:{PASSWORD}@db'"),
    ] {
        for arguments in [&[][..], &["--json"]] {
            let output = doctor(&config, arguments, &[]);
            assert_eq!(output.status.code(), Some(1));
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert!(
                said.contains("fail") && !said.contains(&PASSWORD[..9]),
                "{said}"
            );
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_a_failed_check_and_no_silence() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("binary"), b"\x7fELF\xff\x00\xfe").unwrap();
    std::fs::write(at("broken"), "[store\nprefix = 'a:'").unwrap();
    std::fs::write(at("value"), "rate_limit.ip = 40").unwrap();
    std::fs::write(at("unknown"), "rate_limit.ipp = '5/1m'").unwrap();
    std::fs::write(at("contradicts"), "maintenance.retry_after = '8d'").unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    for (name, says) in [
        ("absent", "cannot be read: No such file"),
        ("directory", "cannot be read: Is a directory"),
        ("binary", "cannot be read: "),
        ("broken", "line 1"),
        ("value", "`rate_limit.ip` cannot be `40`: allowed is"),
        ("unknown", "unknown field `ipp`"),
        (
            "contradicts",
            "`maintenance.retry_after` cannot be `8d`: allowed is 1s to 7d",
        ),
    ] {
        let path = at(name);
        let doctor = |arguments: &[&str]| {
            let mut command = palisade(&["doctor", "--config", path.to_str().unwrap()]);
            command.args(arguments).env_remove("REDIS_URL");
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{name}");
            assert!(output.stderr.is_empty(), "{name}");
            String::from_utf8(output.stdout).unwrap()
        };
        let seen = Seen {
            code: Some(1),
            report: serde_json::from_str(&doctor(&["--json"])).unwrap(),
        };
        assert_eq!(seen.report["ok"], false);
        let [verdict, found, advice] = seen.check("configuration");
        let named = format!("{}: ", path.display());
        assert!(
            verdict == "fail" && found.starts_with(&named) && found.contains(says),
            "{name}: {found}"
        );
        assert!(advice.contains("--config"), "{advice}");
        for check in ["secret", "redis.connection", "redis.tls"] {
            assert_eq!(seen.verdict(check), "skipped", "{name}");
        }
        let table = doctor(&[]);
        let first = table.split_whitespace().take(2).collect::<Vec<_>>();
        assert_eq!(first, ["fail", "configuration"], "{table}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_exit_status_2_where_no_check_tells_it_as_the_help_says() {
    let output = palisade(&["replay", "access", "-"])
        .args(["--config", "/nowhere/palisade.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere/palisade.toml"), "{said}");
    for (help, says) in [
        (
            &["--help"][..],
            "a configuration that cannot be read or used; for the doctor that is a check",
        ),
        (
            &["doctor", "--help"],
            "cannot be read or used is a failed check",
        ),
        (
            &["replay", "access", "--help"],
            "2 for a wrong argument, or a configuration that cannot be read or used",
        ),
    ] {
        let said = String::from_utf8(palisade(help).output().unwrap().stdout).unwrap();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn the_table_has_no_colours_where_there_is_no_terminal_and_ends_with_the_settings() {
    let output = doctor("[rate_limit]\nip = '5/1m'", &[], &[]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(!table.contains('\x1b'), "{table}");
    assert!(table.starts_with("ok       configuration"), "{table}");
    let (_, settings) = table.split_once("\n\n").unwrap();
    let row = settings
        .lines()
        .find(|row| row.contains("rate_limit.ip"))
        .unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["file", "rate_limit.ip", "\"5/1m\""]
    );
}

/// The block of README.md that has all settings, with those that a comment holds.
fn documented() -> toml::Table {
    let readme = repository::text("README.md");
    let (_, block) = readme.split_once("```toml\n[store]").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    format!("[store]{block}").parse().unwrap()
}

#[test]
fn every_setting_of_the_readme_is_told_with_its_default() {
    fn flatten(value: &toml::Value, key: &str, rows: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let key = [key, name].join(if key.is_empty() { "" } else { "." });
                    flatten(value, &key, rows);
                }
            }
            value => {
                rows.insert(key.to_owned(), value.to_string());
            }
        }
    }
    let mut expected = BTreeMap::new();
    flatten(&toml::Value::Table(documented()), "", &mut expected);
    // An example.
    expected.retain(|key, _| !key.starts_with("rate_limit.policies."));
    assert!(expected.len() > 30, "{expected:?}");
    let settings = Seen::of("", &[]).settings();
    for (key, value) in &expected {
        let told = settings
            .get(key)
            .unwrap_or_else(|| panic!("{key} is not told"));
        assert_eq!(told, &[value.as_str(), "default"], "{key}");
    }
    for off in ["suspicion.bans", "funnel.visitors"] {
        assert_eq!(settings[off], ["\"off\"", "default"]);
    }
    for unset in ["store.redis_url", "store.secret_file"] {
        assert_eq!(settings[unset], ["unset", "default"]);
    }
    assert_eq!(settings.len(), expected.len() + 4, "{settings:?}");
}
