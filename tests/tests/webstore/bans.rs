//! Bans of real clients of the whole service, over one process and several.

use std::time::{Duration, Instant};

use palisade::client::Network;
use palisade::config::Config;
use palisade::stack::Stack;
use palisade::suspicion::{BanReason, IncidentKind, Subject, Suspicions};
use palisade_tests::SOON;
use palisade_tests::events::lift_of;
use palisade_tests::http::{Client, Reply};
use palisade_tests::metrics::Scrape;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::{PATIENT, Webstore};

/// Clients behind a trusted proxy, none of them near its limit.
const PROXIED: &str =
    "[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '1000000/1h'\n";
const SCANNER: &str = "203.0.113.1";
const OTHER: &str = "203.0.113.2";

fn config(bans: &str) -> String {
    format!("{PATIENT}{PROXIED}[suspicion.bans]\n{bans}\n")
}

fn network(address: &str) -> Network {
    Network::of(address.parse().unwrap(), 64)
}

/// Another process of the service, as far as bans are concerned.
fn elsewhere(redis: &RedisServer) -> Suspicions {
    let config = format!("{PATIENT}redis_url = '{}'\n[suspicion.bans]\n", redis.url());
    let config = Config::from_toml(&config).unwrap();
    let stack = Stack::builder().config(config).build().unwrap();
    stack.suspicions()
}

async fn get(client: &Client, address: &str, path: &str) -> Reply {
    client.get(path, &[("x-forwarded-for", address)]).await
}

async fn shops(client: &Client, address: &str) -> u16 {
    get(client, address, "/us/products").await.status.as_u16()
}

fn bans(scrape: &Scrape) -> f64 {
    scrape.sum("webstore_security_bans_total", &[])
}

fn banned(scrape: &Scrape, result: &str) -> f64 {
    let name = "webstore_security_banned_requests_total";
    assert_eq!(scrape.matching(name, &[("result", result)]).count(), 1);
    scrape.sum(name, &[("result", result)])
}

/// Fails until a threshold of so many failures is reached, and waits for the ban.
async fn scan(webstore: &Webstore, client: &Client, headers: &[(&str, &str)], failures: u32) {
    let before = bans(&webstore.scrape().await);
    for n in 0..failures {
        let reply = client.get(&format!("/wp-admin/{n}.php"), headers).await;
        assert_eq!(reply.status, 404, "failure {n}");
    }
    webstore
        .scrape_until("the scanner is banned", SOON, |scrape| {
            bans(scrape) > before
        })
        .await;
}

/// Asks until the client may shop again; for how long that took.
async fn freed(client: &Client, address: &str) -> Duration {
    let start = Instant::now();
    let served = async || shops(client, address).await == 200;
    until(&format!("{address} is served"), served).await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_is_refused_from_its_tenth_404_on_and_nobody_else() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        let webstore = Webstore::start(url.as_deref(), &config("for = '10m'\njitter = 0"));
        let client = webstore.client();
        assert_eq!(bans(&webstore.scrape().await), 0.0);
        let headers = [("x-forwarded-for", SCANNER)];
        scan(&webstore, &client, &headers, 10).await;
        let reply = get(&client, SCANNER, "/us/products").await;
        assert_eq!(reply.status, 429);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        let retry: u64 = reply.header("retry-after").parse().unwrap();
        assert!((500..=600).contains(&retry), "{retry}");
        let problem = reply.json();
        let kind = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";
        assert_eq!(problem["type"], kind);
        assert_eq!(problem["status"], 429);
        assert!(!reply.body.contains(SCANNER));
        assert_eq!(shops(&client, OTHER).await, 200);
        for n in 0..50 {
            let reply = get(&client, SCANNER, &format!("/{n}")).await;
            assert_eq!(reply.status, 429);
        }
        let scrape = webstore.scrape().await;
        assert_eq!(banned(&scrape, "denied"), 51.0);
        assert_eq!(banned(&scrape, "dry_run_denied"), 0.0);
        let failures = scrape.sum("webstore_security_failures_total", &[]);
        assert_eq!(failures, 10.0, "refused requests are no failures");
        let scanning = [("reason", "endpoint_scanning")];
        let name = "webstore_security_bans_total";
        assert_eq!(scrape.sum(name, &scanning), 1.0);
        assert_eq!(scrape.matching(name, &[]).count(), BanReason::all().count());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_in_scanner_is_refused_everywhere_and_nobody_else_at_its_address() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        let webstore = Webstore::start(url.as_deref(), &config("for = '10m'\njitter = 0"));
        let client = webstore.client();
        let ask = async |address: &str, user: Option<&str>, path: &str| {
            let token = format!("Bearer user-token-{}", user.unwrap_or_default());
            let headers = [("x-forwarded-for", address), ("authorization", &token)];
            let headers = &headers[..1 + usize::from(user.is_some())];
            client.get(path, headers).await
        };
        let shops = async |address: &str, user| {
            let reply = ask(address, user, "/us/products").await;
            reply.status.as_u16()
        };
        // The office: twelve with one 404 each, and one of them scans, partly from home.
        for n in 0..12 {
            let user = format!("colleague-{n}");
            let reply = ask(OTHER, Some(&user), &format!("/office/{n}")).await;
            assert_eq!(reply.status, 404);
        }
        let token = "Bearer user-token-mallory";
        for address in [OTHER, SCANNER] {
            let headers = [("x-forwarded-for", address), ("authorization", token)];
            for n in 0..5 {
                let path = format!("/wp-admin/{address}/{n}");
                assert_eq!(client.get(&path, &headers).await.status, 404);
            }
        }
        webstore
            .scrape_until("the user is banned", SOON, |scrape| bans(scrape) > 0.0)
            .await;
        for address in [OTHER, SCANNER, "203.0.113.9"] {
            assert_eq!(shops(address, Some("mallory")).await, 429, "{address}");
            assert_eq!(shops(address, Some("colleague-1")).await, 200, "{address}");
            assert_eq!(shops(address, None).await, 200, "{address}");
        }
        assert_eq!(bans(&webstore.scrape().await), 1.0);
        // Guesses at the passwords of others are the address's, whoever is signed in.
        for n in 0..5 {
            let headers = [
                ("x-forwarded-for", SCANNER),
                ("authorization", "Bearer user-token-eve"),
            ];
            let body = format!(r#"{{"user":"victim","password":"{n}"}}"#);
            assert_eq!(client.post("/login", &headers, &body).await.status, 401);
        }
        webstore
            .scrape_until("the address is banned", SOON, |scrape| bans(scrape) > 1.0)
            .await;
        assert_eq!(shops(SCANNER, None).await, 429);
        assert_eq!(shops(OTHER, Some("eve")).await, 200);
        assert_eq!(bans(&webstore.scrape().await), 2.0);
        // Lifted from another process, and from the page.
        if url.is_some() {
            let mallory = "user:mallory".parse::<Subject>().unwrap();
            assert!(elsewhere(&redis).lift(mallory).await.unwrap());
        } else {
            let lifted = lift_of(&webstore.admin, "user", "mallory").await;
            assert_eq!(lifted.body, r#"{"lifted":true}"#);
            let refused = lift_of(&webstore.admin, "user", "a b").await;
            assert_eq!(refused.status, 400);
        }
        let start = Instant::now();
        while shops(OTHER, Some("mallory")).await != 200 {
            assert!(start.elapsed() < SOON, "mallory is still banned");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_goes_on_is_refused_again_and_again_and_an_office_never() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        // Far shorter than the windows.
        let webstore = Webstore::start(
            url.as_deref(),
            &config("for = '1s'\nlongest = '2s'\njitter = 0"),
        );
        let client = webstore.client();
        // Twelve who signed in, a phone that asks for five icons twice, and one broken link: each far from an attack.
        for n in 0..12 {
            let token = format!("Bearer user-token-{n}");
            let headers = [("x-forwarded-for", OTHER), ("authorization", &token)];
            let reply = client.get(&format!("/office/{n}"), &headers).await;
            assert_eq!(reply.status, 404);
        }
        for n in 0..30 {
            let paths = [format!("/icon-{}.png", n % 5), "/broken".to_owned()];
            for path in paths {
                assert_eq!(
                    get(&client, "203.0.113.3", &path).await.status,
                    404,
                    "{path}"
                );
            }
        }
        // An expired token in parallel requests, and the valid one that follows.
        let expired = [
            ("x-forwarded-for", "203.0.113.4"),
            ("authorization", "Bearer expired"),
        ];
        let ask = || client.get("/us/products", &expired);
        let (a, b, c, d, e, f) = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());
        for reply in [a, b, c, d, e, f] {
            assert_eq!(reply.status, 401);
        }
        let start = Instant::now();
        let mut paths = 0..;
        while bans(&webstore.scrape().await) < 3.0 {
            assert!(
                start.elapsed() < SOON,
                "a scanner that goes on is banned no more"
            );
            get(
                &client,
                SCANNER,
                &format!("/wp-admin/{}", paths.next().unwrap()),
            )
            .await;
        }
        let valid = [
            ("x-forwarded-for", "203.0.113.4"),
            ("authorization", "Bearer user-token-ada"),
        ];
        assert_eq!(client.get("/us/products", &valid).await.status, 200);
        for address in [OTHER, "203.0.113.3", "203.0.113.4"] {
            assert_eq!(shops(&client, address).await, 200, "{address}");
        }
        let scrape = webstore.scrape().await;
        let scanning = scrape.sum(
            "webstore_security_bans_total",
            &[("reason", "endpoint_scanning")],
        );
        assert_eq!(scanning, bans(&scrape));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sprays_passwords_is_banned_and_an_attacked_account_bans_nobody() {
    let redis = RedisServer::start();
    for url in [None, Some(redis.url())] {
        let config = format!(
            "{PATIENT}{PROXIED}[suspicion]\npassword_spraying = '3/5m'\ndistributed_stuffing = '3/1h'\n\
             success_after_failures = 'on'\n[suspicion.bans]\n"
        );
        let webstore = Webstore::start(url.as_deref(), &config);
        let client = webstore.client();
        let login = async |address: &str, user: &str, password: &str| {
            let body = format!(r#"{{"user":"{user}","password":"{password}"}}"#);
            let headers = [("x-forwarded-for", address)];
            client.post("/login", &headers, &body).await.status.as_u16()
        };
        let incidents = async |kind: &str| {
            let is_told = |scrape: &Scrape| {
                let name = "webstore_security_suspicious_activity_total";
                scrape.sum(name, &[("type", kind)]) == 1.0
            };
            webstore.scrape_until(kind, SOON, is_told).await;
        };
        let guessers = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
        for address in guessers {
            assert_eq!(login(address, "ada", "guess").await, 401);
        }
        incidents("distributed_stuffing").await;
        assert_eq!(login(OTHER, "ada", "palisade").await, 200);
        incidents("success_after_failures").await;
        for user in ["u1", "u2", "u3"] {
            assert_eq!(login(SCANNER, user, "guess").await, 401);
        }
        let scrape = webstore
            .scrape_until("the sprayer is banned", SOON, |scrape| bans(scrape) > 0.0)
            .await;
        let name = "webstore_security_bans_total";
        assert_eq!(scrape.sum(name, &[("reason", "password_spraying")]), 1.0);
        assert_eq!(login(SCANNER, "u4", "palisade").await, 429);
        for address in guessers.into_iter().chain([OTHER]) {
            assert_eq!(shops(&client, address).await, 200, "{address}");
        }
        assert_eq!(bans(&webstore.scrape().await), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_and_its_lift_reach_every_process_within_a_second() {
    let redis = RedisServer::start();
    let config = config("");
    let processes = [(), ()].map(|()| Webstore::start(Some(&redis.url()), &config));
    let clients = processes.each_ref().map(Webstore::client);
    let headers = [("x-forwarded-for", SCANNER)];
    scan(&processes[0], &clients[0], &headers, 10).await;
    // The other process has heard nothing of the scanner yet, so it asks.
    assert_eq!(shops(&clients[1], SCANNER).await, 429);
    let elsewhere = elsewhere(&redis);
    let bans = elsewhere.bans().await.unwrap();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].subject, network(SCANNER).into());
    assert_eq!(
        bans[0].reason,
        BanReason::Incident(IncidentKind::EndpointScanning)
    );
    assert!(elsewhere.lift(network(SCANNER)).await.unwrap());
    for client in &clients {
        let took = freed(client, SCANNER).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    elsewhere
        .ban(network(OTHER), Duration::from_secs(60))
        .await
        .unwrap();
    for client in &clients {
        assert_eq!(shops(client, OTHER).await, 429);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_shorter_than_the_window_ends_by_itself_and_the_next_is_longer() {
    let redis = RedisServer::start();
    let config = format!(
        "{PATIENT}{PROXIED}[suspicion]\nendpoint_scanning = '3/24h'\n[suspicion.bans]\nfor = '3s'\njitter = 0\n"
    );
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let client = webstore.client();
    let elsewhere = elsewhere(&redis);
    for strikes in 1..=2 {
        let start = Instant::now();
        let mut paths = 0..;
        let lasting = loop {
            let path = format!("/wp-admin/{}", paths.next().unwrap());
            get(&client, SCANNER, &path).await;
            if let Some(ban) = elsewhere.bans().await.unwrap().pop() {
                break ban;
            }
            assert!(start.elapsed() < SOON, "never banned");
        };
        assert_eq!(lasting.strikes, strikes);
        let length = lasting.until.duration_since(lasting.since).unwrap();
        assert_eq!(length, Duration::from_secs(3 * u64::from(strikes)));
        freed(&client, SCANNER).await;
        assert!(lasting.until <= std::time::SystemTime::now());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_403_tells_no_time_and_a_dry_run_refuses_nobody() {
    for (setting, status, result) in [
        ("response = 'forbidden'", 403, "denied"),
        ("mode = 'dry_run'", 200, "dry_run_denied"),
    ] {
        let webstore = Webstore::start(None, &config(setting));
        let client = webstore.client();
        let headers = [("x-forwarded-for", SCANNER)];
        scan(&webstore, &client, &headers, 10).await;
        let reply = get(&client, SCANNER, "/us/products").await;
        assert_eq!(reply.status, status, "{setting}");
        assert_eq!(reply.header("retry-after"), "");
        assert_eq!(banned(&webstore.scrape().await, result), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exempt_user_passes_behind_a_banned_address() {
    let config = format!(
        "{PROXIED}[suspicion]\nexempt = {{ users = ['ada'], cidrs = ['{OTHER}'] }}\n[suspicion.bans]\n"
    );
    let webstore = Webstore::start(None, &config);
    let client = webstore.client();
    let headers = [("x-forwarded-for", SCANNER)];
    scan(&webstore, &client, &headers, 10).await;
    for (user, status) in [("ada", 200), ("bob", 429)] {
        let token = format!("Bearer user-token-{user}");
        let headers = [("x-forwarded-for", SCANNER), ("authorization", &token)];
        let reply = client.get("/us/products", &headers).await;
        assert_eq!(reply.status, status, "{user}");
    }
    for n in 0..20 {
        let reply = get(&client, OTHER, &format!("/{n}")).await;
        assert_eq!(reply.status, 404, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_another_banned_by_a_header() {
    let redis = RedisServer::start();
    let webstore = Webstore::start(Some(&redis.url()), &format!("{PATIENT}[suspicion.bans]\n"));
    let client = webstore.client();
    let headers = [
        ("x-forwarded-for", OTHER),
        ("forwarded", "for=203.0.113.2"),
        ("x-real-ip", OTHER),
    ];
    scan(&webstore, &client, &headers, 10).await;
    let bans = elsewhere(&redis).bans().await.unwrap();
    let banned: Vec<_> = bans.iter().map(|ban| ban.subject.network()).collect();
    assert_eq!(banned, [Some(network("127.0.0.1"))]);
    let reply = client.get("/us/products", &[]).await;
    assert_eq!(reply.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_bans_hold_while_redis_is_killed_or_hangs_and_nobody_waits_past_the_deadline() {
    for hangs in [false, true] {
        let mut redis = RedisServer::start();
        // A call that fails while the scanner is convicted would only make the ban local.
        let config = format!("[store]\ndeadline = '2s'\n{PROXIED}[suspicion.bans]\n");
        let webstore = Webstore::start(Some(&redis.url()), &config);
        let client = webstore.client();
        let headers = [("x-forwarded-for", SCANNER)];
        scan(&webstore, &client, &headers, 10).await;
        redis.fail(hangs);
        let start = Instant::now();
        // Longer than an answer of the store is good for.
        while start.elapsed() < Duration::from_millis(1_500) {
            assert_eq!(shops(&client, SCANNER).await, 429);
        }
        let start = Instant::now();
        assert_eq!(shops(&client, OTHER).await, 200);
        // The deadline for the ban, once more for the limits, and a busy machine.
        let took = start.elapsed();
        assert!(took < Duration::from_secs(8), "{took:?}");
        // Convicted by this process alone.
        let scrape = webstore.scrape().await;
        let before = bans(&scrape);
        let third = [("x-forwarded-for", "203.0.113.3")];
        for n in 0..10 {
            client.get(&format!("/{n}"), &third).await;
        }
        webstore
            .scrape_until("the third is banned", SOON, |scrape| bans(scrape) > before)
            .await;
        assert_eq!(shops(&client, "203.0.113.3").await, 429);
        redis.recover();
        webstore.until_breaker_closes().await;
        assert_eq!(shops(&client, "203.0.113.3").await, 429);
        assert_eq!(shops(&client, OTHER).await, 200);
    }
}
