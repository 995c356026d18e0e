//! The password of Redis in no output, whatever fails and whoever writes the text.

use palisade_tests::SOON;
use palisade_tests::echo::{self, Echo};
use palisade_tests::events::Events;
use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::tls::TlsRedis;
use palisade_tests::webstore::{PATIENT, Webstore, binary, output};

/// No six letters of it come about by chance.
const PASSWORD: &str = "Zq8vW3xK7pLmT2";

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    let text = text.to_lowercase();
    let password = PASSWORD.to_lowercase();
    for at in 0..=password.len() - 6 {
        let run = &password[at..at + 6];
        assert!(!text.contains(run), "{what} has {run}: {text}");
    }
}

/// Runs a shop on a Redis that fails, and looks at all that it says.
async fn fails(what: &str, url: &str, said: &str) {
    let store = Webstore::start(Some(url), PATIENT);
    let client = store.client();
    for n in 0..12 {
        let wrong = ("authorization", "Bearer wrong");
        client.get("/us/products", &[]).await;
        client.get("/gb/cart", &[wrong]).await;
        let ada = format!("Bearer user-token-ada{n}");
        client.get("/gb/cart", &[("authorization", &ada)]).await;
    }
    let log = store
        .log_until("the breaker opens", SOON, |log| {
            log.iter()
                .any(|line| line["event"] == "store_breaker_opened")
        })
        .await;
    let causes: Vec<_> = log
        .iter()
        .filter_map(|line| line["cause"].as_str())
        .collect();
    let starts = |cause: &&str| cause.contains(said);
    assert!(
        causes.iter().any(starts),
        "{what} without {said:?}: {causes:?}"
    );
    let admin = Client::new(&store.admin);
    for path in ["/metrics", "/readyz", "/"] {
        assert_clean(what, &admin.get(path, &[]).await.body);
    }
    let mut events = Events::open(&store.admin).await;
    let frame = events.until("a frame", SOON, |_| true).await;
    assert_clean(what, &frame.to_string());
    for line in store.log() {
        assert_clean(what, &line.to_string());
    }
}

fn with_password(port: u16) -> String {
    format!("redis://default:{PASSWORD}@127.0.0.1:{port}")
}

#[tokio::test]
async fn a_server_without_hello_repeats_the_password_and_nobody_else_does() {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", ""]);
    fails(
        "HELLO renamed",
        &with_password(server.port()),
        "does not know the command `HELLO`",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_it() {
    let server = RedisServer::start_with(&["--requirepass", "another"]);
    fails("WRONGPASS", &with_password(server.port()), "WRONGPASS").await;
}

#[tokio::test]
async fn a_proxy_that_repeats_what_it_hears_is_not_repeated() {
    for (echo, said) in [
        (Echo::Everything, "its words are not repeated"),
        (Echo::AsCode, "its words are not repeated"),
        (Echo::Later, "its words are withheld"),
    ] {
        let url = with_password(echo::start(echo));
        fails(&format!("{echo:?}"), &url, said).await;
    }
}

#[tokio::test]
async fn a_failure_of_tls_and_a_refused_connection_are_told_without_it() {
    let redis = TlsRedis::start();
    let tls = |url: String| url.replace("127.0.0.1", &format!("default:{PASSWORD}@127.0.0.1"));
    fails("an unknown certificate", &tls(redis.url()), "certificate").await;
    let plain = RedisServer::start();
    let url = with_password(plain.port()).replace("redis:", "rediss:");
    fails("TLS where none is spoken", &url, "").await;
    let server = RedisServer::stopped();
    fails(
        "a refused connection",
        &with_password(server.port()),
        "refused",
    )
    .await;
}

/// What a shop that cannot start says, with this file and this environment.
fn refusal(config: &str, environment: &[(&str, &str)]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let mut command = std::process::Command::new(binary());
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--config",
    ]);
    command
        .arg(file.path())
        .env_remove("REDIS_URL")
        .env_remove("PALISADE_SECRET");
    let output = output(command.envs(environment.iter().copied()));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(2), "{config}: {said}");
    assert_clean(config, &said);
    said
}

#[test]
fn a_url_at_a_wrong_key_is_not_repeated() {
    let url = format!("redis://ada:{PASSWORD}@db.internal:6379/0");
    let bare = format!("ada:{PASSWORD}@db.internal");
    for value in [&url, &bare] {
        for config in [
            format!("[store]\nprefix = '{value} '"),
            format!("[store]\nprefix = 'redis://{value}'"),
            format!("[store]\ndeadline = '{value}'"),
            format!("[client]\nipv6_prefix = '{value}'"),
            format!("[client]\nforwarded_header = '{value}'"),
            format!("[client]\ntrusted_proxies = ['{value}']"),
            format!("[rate_limit]\nip = '{value}'"),
            format!("[rate_limit]\nmode = '{value}'"),
            format!("[rate_limit]\nexempt = '{value}'"),
            format!("[rate_limit.policies.'{value}']\nquota = '1/1m'"),
            format!("[rate_limit.policies.p]\nkey = '{value}'\nquota = '1/1m'"),
            format!("[suspicion]\nabuse = '{value}'"),
            format!("[funnel]\nvisitors = '{value}'"),
            format!("[log]\naccess = '{value}'"),
            format!("store = '{value}'"),
            format!("'{value}' = 1"),
            format!("[store]\n'{value}' = 1"),
            format!("[store]\nredis_url = {value}"),
            format!("[store]\nredis_url = '{value}"),
        ] {
            refusal(&config, &[]);
        }
    }
    let said = refusal(&format!("[rate_limit]\nip = '{url}'"), &[]);
    assert!(
        said.contains("`rate_limit.ip` cannot be `redis://…@db.internal:6379/0`"),
        "{said}"
    );
}

#[test]
fn a_url_that_cannot_be_used_is_told_without_its_password_and_how_to_write_it() {
    for (url, said) in [
        (format!("redis://ada:12#{PASSWORD}@db"), "percent-encoded"),
        (format!("redis://ada:a/{PASSWORD}@db"), "percent-encoded"),
        (format!("redis://ada:?{PASSWORD}@db"), "percent-encoded"),
        (
            format!("redis://ada:{PASSWORD}@db?protocol=resp2"),
            "RESP3 alone",
        ),
        (
            format!("rediss://ada:{PASSWORD}@db/#insecure"),
            "SSL_CERT_FILE",
        ),
        (format!("redis://{PASSWORD}@db"), "`:<password>@`"),
        (format!("ada:{PASSWORD}"), "redis://"),
    ] {
        let told = refusal("", &[("REDIS_URL", &url)]);
        assert!(told.contains("REDIS_URL") && told.contains(said), "{told}");
        let told = refusal(&format!("[store]\nredis_url = '{url}'"), &[]);
        assert!(
            told.contains("store.redis_url") && told.contains(said),
            "{told}"
        );
    }
}

#[test]
fn a_secret_in_place_of_its_file_is_not_repeated() {
    let said = refusal(&format!("[store]\nsecret_file = '{PASSWORD}'"), &[]);
    assert!(said.contains("store.secret_file"), "{said}");
    let short = &PASSWORD[..12];
    let said = refusal("", &[("PALISADE_SECRET", short)]);
    assert!(said.contains("PALISADE_SECRET"), "{said}");
}

#[tokio::test]
async fn a_cluster_is_refused_at_start_and_a_missing_command_is_told() {
    let cluster = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let said = refusal(
        "",
        &[
            ("REDIS_URL", &cluster.url()),
            ("PALISADE_SECRET", "0123456789abcdef"),
        ],
    );
    assert!(
        said.contains("Redis Cluster") && said.contains("Sentinel"),
        "{said}"
    );

    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "palisade", "-time", "-zadd"]);
    let store = Webstore::start(Some(&server.url()), PATIENT);
    let log = store
        .log_until("what is missing", SOON, |log| {
            log.iter().any(|line| line["event"] == "store_unready")
        })
        .await;
    let line = log
        .iter()
        .find(|line| line["event"] == "store_unready")
        .unwrap();
    let cause = line["cause"].as_str().unwrap();
    assert!(
        cause.contains("`TIME`") && cause.contains("`ZADD`"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_server_that_comes_back_as_a_node_of_a_cluster_is_named_in_the_log() {
    let mut server = RedisServer::start();
    let store = Webstore::start(Some(&server.url()), PATIENT);
    let client = store.client();
    server.kill();
    for _ in 0..10 {
        client.get("/us/products", &[]).await;
    }
    let has = |event: &'static str| {
        move |log: &[serde_json::Value]| log.iter().any(|line| line["event"] == event)
    };
    store
        .log_until("the breaker opens", SOON, has("store_breaker_opened"))
        .await;
    server.set_options(&["--save", "", "--cluster-enabled", "yes"]);
    server.restart();
    let log = store
        .log_until("the cause", SOON, has("store_unusable"))
        .await;
    let lines: Vec<_> = log
        .iter()
        .filter(|line| line["event"] == "store_unusable")
        .collect();
    let cause = lines[0]["cause"].as_str().unwrap();
    assert!(cause.contains("Redis Cluster"), "{cause}");
    assert_eq!(client.get("/us/products", &[]).await.status, 200);
}
