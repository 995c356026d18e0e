//! What a first sight costs, and what a token that proves nothing shows of its user: nothing.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use palisade::client::Peer;
use palisade::config::Config;
use palisade::session::store::Creation;
use palisade::session::{Lifetime, NewSession};
use palisade::stack::Stack;
use palisade_tests::distance::Distance;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use tower::{Layer, ServiceExt, service_fn};

use super::{Coin, EXEMPT, Mint, Process};
use crate::sessions::redis::store;

/// Every layer, as a process of a service has it.
fn process(url: &str, secret: &str) -> Stack {
    let config = format!(
        "[store]\ndeadline = '10s'\nredis_url = '{url}'\nsecret_file = '{secret}'\n\
         [suspicion.bans]\n[segments]\n[sessions]\n[funnel]\nvisitors = '24h'\n"
    );
    let config = Config::from_toml(&config).unwrap();
    Stack::builder().config(config).build().unwrap()
}

async fn send(stack: &Stack, octet: u8, token: Option<&str>) -> (u16, String) {
    let handler = service_fn(|request: Request<()>| async move {
        let session = request.extensions().get::<palisade::session::Session>();
        let user = session.map_or("nobody".to_owned(), |session| session.user.to_string());
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::from(user)))
    });
    let mut request = Request::new(());
    let peer = Peer(([192, 0, 2, octet], 5000).into());
    request.extensions_mut().insert(peer);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
    }
    let response = stack.layer(handler).oneshot(request).await.unwrap();
    let limits = response.headers()["ratelimit"].to_str().unwrap().to_owned();
    (response.status().as_u16(), limits)
}

/// How many scripts the server has run.
fn scripts(server: &RedisServer) -> u64 {
    let told = server.cli(&["INFO", "commandstats"]);
    let calls = |line: &str| {
        let (name, rest) = line.trim().split_once(":calls=")?;
        let is_script = ["cmdstat_evalsha", "cmdstat_eval"].contains(&name);
        is_script.then(|| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    told.lines().filter_map(calls).sum()
}

async fn login(stack: &Stack, user: &str) -> String {
    let sessions = stack.sessions().unwrap();
    let begun = sessions.begin(&sessions.user(user)).await.unwrap();
    let issued = sessions.create(begun, NewSession::new()).await.unwrap();
    issued.token.expose().to_owned()
}

#[tokio::test]
async fn a_first_sight_under_every_layer_waits_for_one_round_trip() {
    let server = RedisServer::start();
    let distance = Distance::before(&server).await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "the secret of all processes").unwrap();
    let secret = secret.path().to_str().unwrap().to_owned();
    let here = process(distance.url(), &secret);
    let tokens = [login(&here, "ada").await, login(&here, "grace").await];
    // The connection and the scripts' texts take round trips of their own, and so does the sweep of the customers.
    send(&here, 1, Some(&tokens[0])).await;
    send(&here, 1, None).await;
    let written = here.customers().unwrap().flush(palisade_tests::SOON).await;
    assert_eq!(written.left, 0);
    let first = distance
        .in_one_round_trip(send(&here, 1, Some(&tokens[1])))
        .await;
    assert_eq!(first.0, 200);
    assert!(first.1.contains(r#""user";r=59"#), "{}", first.1);
    // Known: as much as a request without sessions.
    let second = distance
        .in_one_round_trip(send(&here, 1, Some(&tokens[1])))
        .await;
    assert!(second.1.contains(r#""user";r=58"#), "{}", second.1);
}

/// A session of a user in this store, until it is ended.
async fn lives(process: &Process, mint: &Mint, user: &str) -> Coin {
    let coin = mint.coin(user).await;
    let began = process.kept.begin(&coin.claim.user).await.unwrap();
    let hour = Duration::from_secs(3_600);
    let lifetime = Lifetime {
        idle: hour,
        absolute: hour,
    };
    let creation = Creation::new(coin.claim.clone(), began, lifetime);
    process.kept.create(&creation).await.unwrap();
    coin
}

async fn end(process: &Process, coin: &Coin) {
    let ended = process.kept.end(&coin.claim.user, coin.claim.id).await;
    assert!(ended.unwrap().is_some());
}

#[tokio::test]
async fn a_first_sight_is_one_script_and_so_is_any_other_request() {
    let server = RedisServer::start();
    let mint = Mint::new();
    for (octet, in_two, first) in [(1, false, 1), (2, true, 2)] {
        let process = Process::on(store(&server.url()), in_two, 1_000);
        let coin = lives(&process, &mint, "ada").await;
        let ended = lives(&process, &mint, "ada").await;
        end(&process, &ended).await;
        // The first of all sends texts.
        process.send(octet, Some(&ended.token)).await;
        process.send(octet, None).await;
        // As does the count of the sessions that live, which begins with the first request.
        let is_counted = async || process.tally.active().is_some();
        until("the sessions are counted", is_counted).await;
        for (token, scripts_of_it) in [(&ended, first), (&coin, first), (&coin, 1)] {
            let before = scripts(&server);
            process.send(octet, Some(&token.token)).await;
            assert_eq!(scripts(&server) - before, scripts_of_it, "in two: {in_two}");
        }
    }
}

#[tokio::test]
async fn a_token_that_opens_nothing_decides_spends_and_shows_nothing_of_its_user() {
    let server = RedisServer::start();
    let mint = Mint::new();
    let process = Process::on(store(&server.url()), false, 1_000);
    let elsewhere = Process::on(store(&server.url()), false, 1_000);
    for (octet, user) in [(1, "ada"), (2, EXEMPT), (3, "grace")] {
        let (stolen, own) = (
            lives(&process, &mint, user).await,
            lives(&process, &mint, user).await,
        );
        end(&process, &stolen).await;
        match user {
            // Banned, as this process knows.
            "ada" => {
                let length = Duration::from_secs(600);
                let ban = process.suspicions.ban(own.claim.user.clone(), length);
                ban.await.unwrap();
            }
            // Denied, as this process knows.
            "grace" => {
                for status in [200, 200, 200, 429, 429] {
                    let seen = process.send(100, Some(&own.token)).await;
                    assert_eq!(seen.status, status);
                }
            }
            _ => {}
        }
        for left in [5, 4, 3, 2, 1, 0] {
            let seen = process.send(octet, Some(&stolen.token)).await;
            // Its session is nothing; whose it was shows in nothing else.
            assert_eq!(seen.status, 401, "{user}: {seen:?}");
            let limits = format!(r#"ratelimit: "ip";r={left};t=60"#);
            let said = |line: &String| line.starts_with(&limits[..limits.len() - 2]);
            assert!(seen.headers.iter().any(said), "{user}: {seen:?}");
            let shown = seen.headers.iter().any(|it| it.contains(r#""user""#));
            assert!(!shown, "{user}: {seen:?}");
        }
        let denied = process.send(octet, Some(&stolen.token)).await;
        assert_eq!(denied.status, 429, "{user}: {denied:?}");
        // Nothing was spent: the user has what there was.
        let own = elsewhere.send(200 + octet, Some(&own.token)).await;
        let expected = if user == EXEMPT { 200 } else { 429 };
        assert_eq!(own.status, expected, "{user}: {own:?}");
        assert_eq!(own.is_banned(), user == "ada", "{user}: {own:?}");
    }
}

#[tokio::test]
async fn a_denied_address_that_floods_with_an_ended_token_asks_nothing() {
    let server = RedisServer::start();
    let mint = Mint::new();
    let process = Process::on(store(&server.url()), false, 1_000);
    let coin = lives(&process, &mint, "ada").await;
    end(&process, &coin).await;
    while process.send(1, Some(&coin.token)).await.status != 429 {}
    let (started, before) = (Instant::now(), scripts(&server));
    for _ in 0..500 {
        assert_eq!(process.send(1, Some(&coin.token)).await.status, 429);
    }
    // Once a second one request asks all the same.
    let seconds = started.elapsed().as_secs() + 1;
    let asked = scripts(&server) - before;
    assert!(asked <= seconds, "{asked} in {seconds} s");
}

#[tokio::test]
async fn who_stole_a_token_keeps_its_user_from_ending_no_session() {
    let server = RedisServer::start();
    let mint = Mint::new();
    let memory = palisade::store::memory::MemoryStore::new();
    for process in [
        Process::on(store(&server.url()), false, 1_000),
        Process::on_memory(memory),
    ] {
        let coins = [
            lives(&process, &mint, "ada").await,
            lives(&process, &mint, "ada").await,
        ];
        // The thief spends the quota of the user, and has the user banned.
        for status in [200, 200, 200, 429] {
            let seen = process.send(1, Some(&coins[0].token)).await;
            assert_eq!(seen.status, status, "{seen:?}");
        }
        let user = coins[1].claim.user.clone();
        let length = Duration::from_secs(600);
        process.suspicions.ban(user, length).await.unwrap();
        let ask = async |method: &str, path: &str| {
            let mut request = super::request(2, Some(&coins[1].token), super::Sent::Bearer);
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = path.parse().unwrap();
            (process.answer)(request).await
        };
        assert!(ask("GET", "/").await.is_banned());
        // At first sight, and when the session is known; by the address's quota, which is charged.
        for (left, method, path) in [
            (5, "GET", "/api/v1/users/me/sessions"),
            (4, "DELETE", "/api/v1/users/me/sessions/9f3c"),
            (3, "POST", "/profiles/me/logout"),
        ] {
            let seen = ask(method, path).await;
            assert_eq!(seen.status, 200, "{path}: {seen:?}");
            assert!(
                seen.body.starts_with(r#"Some("ada") Some("ada")"#),
                "{path}: {seen:?}"
            );
            let limits = format!(r#"ratelimit: "ip";r={left};"#);
            let charged = seen.headers.iter().any(|it| it.starts_with(&limits));
            assert!(charged, "{path}: {seen:?}");
        }
        assert!(ask("POST", "/profiles/me/login").await.is_banned());
    }
}
