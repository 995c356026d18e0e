//! A token that opens nothing decides, spends and shows nothing of the user that it names.

use palisade::session::store::Renewal;
use palisade_tests::http::{Client, Reply};
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::{PATIENT, Webstore};

use super::{
    CURRENT, NO_SUSPICION, PRODUCTS, WIDE, ask, claim, elsewhere, end, forged, log_in,
    on_both_stores, status,
};

/// Clients behind a trusted proxy.
const PROXIED: &str = "[client]\ntrusted_proxies = ['127.0.0.0/8']\n";
const HOME: &str = "198.51.100.23";
const AWAY: &str = "203.0.113.77";

/// What the header tells of a policy: what is left of it.
fn left(reply: &Reply, policy: &str) -> Option<u64> {
    let header = reply.header("ratelimit");
    let mut items = header.split(", ");
    let item = items.find_map(|it| it.strip_prefix(&format!("\"{policy}\";r=")))?;
    item.split(';').next()?.parse().ok()
}

/// Tokens of a user that open nothing: one that was made by nobody, one that was ended.
async fn worthless(shop: &Client, user: &str) -> [String; 2] {
    let (token, id) = log_in(shop, user).await;
    end(shop, &token, &id).await;
    let (living, _) = log_in(shop, user).await;
    [forged(&living), token]
}

/// A request with the token is refused, pays for its address alone, and says nothing of its user.
async fn is_the_addresses(shop: &Client, token: &str, from: &str) -> Reply {
    let reply = ask(shop, PRODUCTS, token, from).await;
    assert_eq!(reply.status, 401, "{}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let policies = reply.header("ratelimit-policy");
    assert!(
        policies.starts_with("\"ip\";q=") && !policies.contains("user"),
        "{policies}"
    );
    assert_eq!(left(&reply, "user"), None);
    assert!(left(&reply, "ip").is_some());
    reply
}

#[tokio::test]
async fn nothing_is_spent_of_the_user_and_nothing_is_said() {
    let config = format!(
        "{PROXIED}[rate_limit]\nip = '1000/1h'\nuser = '100/1h'\n{NO_SUSPICION}[log]\naccess = 1000\n[sessions]\n"
    );
    on_both_stores(&config, async |webstore, _| {
        let shop = webstore.client();
        let (living, _) = log_in(&shop, "zuleika").await;
        let tokens = worthless(&shop, "zuleika").await;
        let before = ask(&shop, PRODUCTS, &living, HOME).await;
        let before = left(&before, "user").unwrap();
        let said = webstore.log().len();
        let mut of_the_address = None;
        for token in tokens.iter().cycle().take(20) {
            let reply = is_the_addresses(&shop, token, AWAY).await;
            let now = left(&reply, "ip").unwrap();
            assert!(of_the_address.is_none_or(|before| now == before - 1));
            of_the_address = Some(now);
            for (name, value) in &reply.headers {
                assert!(!value.to_str().unwrap().contains("zuleika"), "{name}");
            }
            assert!(!reply.body.contains("zuleika"), "{}", reply.body);
        }
        // As a cookie: the request is a stranger's.
        for token in &tokens {
            let cookie = format!("__Host-session={token}");
            let headers = [("cookie", &*cookie), ("x-forwarded-for", AWAY)];
            let reply = shop.get(PRODUCTS, &headers).await;
            assert_eq!(reply.status, 200);
            assert_eq!(left(&reply, "user"), None);
            assert_eq!(shop.get(CURRENT, &headers).await.status, 401);
            let cart = shop.get("/us/cart", &headers).await;
            assert!(!cart.body.contains("zuleika"));
        }
        let lines = webstore
            .log_until("the access log", palisade_tests::SOON, |log| {
                log.len() > said
            })
            .await;
        for line in &lines[said..] {
            assert!(!line.to_string().contains("zuleika"), "{line}");
        }
        let after = ask(&shop, PRODUCTS, &living, HOME).await;
        assert_eq!(left(&after, "user"), Some(before - 1));
        let metrics = Client::new(&webstore.admin).get("/metrics", &[]).await;
        assert!(!metrics.body.contains("zuleika"));
    })
    .await;
}

#[tokio::test]
async fn the_user_of_a_worthless_token_is_not_exempt() {
    let config = format!(
        "{PROXIED}[rate_limit]\nip = '10/1h'\nuser = '10/1h'\nexempt = {{ users = ['zuleika'] }}\n{NO_SUSPICION}[sessions]\n"
    );
    on_both_stores(&config, async |webstore, _| {
        let shop = webstore.client();
        let tokens = worthless(&shop, "zuleika").await;
        let (living, _) = log_in(&shop, "zuleika").await;
        for _ in 0..30 {
            assert_eq!(ask(&shop, PRODUCTS, &living, HOME).await.status, 200);
        }
        for (n, token) in tokens.iter().enumerate() {
            let from = format!("203.0.113.{n}");
            for _ in 0..10 {
                is_the_addresses(&shop, token, &from).await;
            }
            assert_eq!(ask(&shop, PRODUCTS, token, &from).await.status, 429);
        }
        assert_eq!(ask(&shop, PRODUCTS, &living, HOME).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn neither_the_quota_of_a_segment_nor_a_denial_shows() {
    let config = format!(
        "{PROXIED}[rate_limit]\nip = '1000/1h'\nuser = '5/1h'\n\
         [rate_limit.policies.user.by_segment]\nvip = '20/1h'\n[segments]\nvip_orders = 0\n{NO_SUSPICION}[sessions]\n"
    );
    on_both_stores(&config, async |webstore, _| {
        let shop = webstore.client();
        let tokens = worthless(&shop, "zuleika").await;
        let (living, _) = log_in(&shop, "zuleika").await;
        let bearer = format!("Bearer {living}");
        let headers = [("authorization", &*bearer), ("x-forwarded-for", HOME)];
        let cart = r#"{"product_id": 1, "quantity": 1}"#;
        assert_eq!(shop.post("/us/cart", &headers, cart).await.status, 200);
        let order = r#"{"order_id": "one", "payment_method": "paypal"}"#;
        assert_eq!(shop.post("/us/orders", &headers, order).await.status, 201);
        until("she is a VIP", async || {
            let reply = ask(&shop, PRODUCTS, &living, HOME).await;
            reply.header("ratelimit-policy").contains("q=20")
        })
        .await;
        for token in &tokens {
            let reply = is_the_addresses(&shop, token, AWAY).await;
            assert!(!reply.header("ratelimit-policy").contains("q=20"));
        }
        until("she is denied", async || {
            ask(&shop, PRODUCTS, &living, HOME).await.status == 429
        })
        .await;
        for token in &tokens {
            is_the_addresses(&shop, token, AWAY).await;
        }
        assert_eq!(ask(&shop, PRODUCTS, &living, HOME).await.status, 429);
    })
    .await;
}

#[tokio::test]
async fn the_ban_of_the_user_does_not_show_and_is_not_brought_about() {
    let config = format!(
        "{PROXIED}{WIDE}[suspicion]\nabuse = 'off'\n[suspicion.bans]\nkinds = ['endpoint_scanning']\n[sessions]\n"
    );
    on_both_stores(&config, async |webstore, _| {
        let shop = webstore.client();
        let tokens = worthless(&shop, "zuleika").await;
        let (living, _) = log_in(&shop, "zuleika").await;
        // Worthless tokens scan: the address is to blame.
        for n in 0..20 {
            let token = &tokens[n % 2];
            let reply = ask(&shop, &format!("/wp-admin/{n}.php"), token, AWAY).await;
            assert_eq!(reply.status, 401);
        }
        assert_eq!(ask(&shop, PRODUCTS, &living, HOME).await.status, 200);
        // From two addresses, neither of which is banned for it.
        for n in 0..10 {
            let from = if n % 2 == 0 { "192.0.2.1" } else { "192.0.2.2" };
            let reply = ask(&shop, &format!("/wp-admin/{n}.php"), &living, from).await;
            assert_eq!(reply.status, 404);
        }
        until("she is banned", async || {
            ask(&shop, PRODUCTS, &living, HOME).await.status == 429
        })
        .await;
        for token in &tokens {
            is_the_addresses(&shop, token, AWAY).await;
        }
    })
    .await;
}

/// Calls of a command that Redis has taken.
fn calls(redis: &RedisServer) -> u64 {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| {
        let (_, rest) = line.split_once(":calls=")?;
        rest.split(',').next()?.parse::<u64>().ok()
    });
    calls.sum()
}

/// A guess is one of ten thousand, and Redis hears of a few.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_guesses_are_an_incident_and_cost_no_store_call_each() {
    let redis = RedisServer::start();
    let config =
        format!("{PATIENT}{PROXIED}[rate_limit]\nip = '20/1h'\n[suspicion.bans]\n[sessions]\n");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let shop = webstore.client();
    let (token, _) = log_in(&shop, "zuleika").await;
    let (kept, _) = token.split_at(token.len() - 5);
    let guess = async |n: u64| {
        let guess = format!("{kept}{n:05}");
        ask(&shop, PRODUCTS, &guess, AWAY).await.status.as_u16()
    };
    for n in 0..5 {
        assert_eq!(guess(n).await, 401);
    }
    let stuffing = [("reason", "credential_stuffing")];
    let banned = |scrape: &palisade_tests::metrics::Scrape| {
        scrape.sum("webstore_security_bans_total", &stuffing) == 1.0
    };
    webstore
        .scrape_until("the guesser is banned", palisade_tests::SOON, banned)
        .await;
    let before = calls(&redis);
    for n in 5..10_000 {
        assert_eq!(guess(n).await, 429);
    }
    let calls = calls(&redis) - before;
    assert!(calls < 1_000, "{calls} calls");
    assert_eq!(ask(&shop, CURRENT, &token, HOME).await.status, 200);
}

/// Where nobody is banned and no limit is met, a guess costs what a request without a token costs.
#[tokio::test]
async fn a_guess_asks_no_more_of_redis_than_a_request_without_a_token() {
    let redis = RedisServer::start();
    let config =
        format!("{PATIENT}{PROXIED}{WIDE}[sessions]\n[funnel]\nvisitors = 'off'\n{NO_SUSPICION}");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let shop = webstore.client();
    let (token, _) = log_in(&shop, "zuleika").await;
    let (kept, _) = token.split_at(token.len() - 5);
    let before = calls(&redis);
    for _ in 0..200 {
        let headers = [("x-forwarded-for", HOME)];
        assert_eq!(shop.get(PRODUCTS, &headers).await.status, 200);
    }
    let without = calls(&redis) - before;
    let before = calls(&redis);
    for n in 0..200 {
        is_the_addresses(&shop, &format!("{kept}{n:05}"), AWAY).await;
    }
    let guesses = calls(&redis) - before;
    eprintln!("{guesses} calls for 200 guesses, {without} for 200 requests without a token");
    // Each is a call of its own at least, beside what the process does by itself.
    assert!(
        without >= 200 && guesses < without + 100,
        "{guesses}, {without}"
    );
}

/// An app that has an old token is no attacker.
#[tokio::test]
async fn fifty_requests_with_an_old_token_are_no_failure_also_after_a_flush() {
    let config =
        format!("{PROXIED}{WIDE}[suspicion.bans]\n[sessions]\nidle = '2s'\ntouch_every = '1s'\n");
    on_both_stores(&config, async |webstore, redis| {
        let shop = webstore.client();
        let (ended, id) = log_in(&shop, "zuleika").await;
        end(&shop, &ended, &id).await;
        let (expired, _) = log_in(&shop, "zuleika").await;
        let mut tokens = vec![ended, expired.clone()];
        if let Some(redis) = redis {
            let (rotated, _) = log_in(&shop, "zuleika").await;
            let renewed = elsewhere(redis)
                .rotate(&claim(&rotated), &Renewal::default())
                .await;
            let renewed = renewed.unwrap().unwrap();
            assert_eq!(status(&shop, CURRENT, renewed.token.expose()).await, 200);
            tokens.push(rotated);
        }
        until("the session has expired", async || {
            // Asking would be an activity, so it is asked less often than it would expire.
            tokio::time::sleep(std::time::Duration::from_millis(2_200)).await;
            status(&shop, CURRENT, &expired).await == 401
        })
        .await;
        let fifty = async || {
            for token in &tokens {
                for _ in 0..50 {
                    assert_eq!(ask(&shop, CURRENT, token, AWAY).await.status, 401);
                }
            }
        };
        fifty().await;
        if let Some(redis) = redis {
            redis.cli(&["FLUSHALL"]);
            fifty().await;
        }
        // A guess comes after them, and is the first failure that is counted.
        assert_eq!(
            ask(&shop, CURRENT, &forged(&expired), AWAY).await.status,
            401
        );
        let failures = "webstore_security_failures_total";
        let scrape = webstore
            .scrape_until("the guess is counted", palisade_tests::SOON, |scrape| {
                scrape.sum(failures, &[]) > 0.0
            })
            .await;
        assert_eq!(scrape.sum(failures, &[]), 1.0);
        assert_eq!(ask(&shop, PRODUCTS, &tokens[0], AWAY).await.status, 401);
        assert_eq!(scrape.sum("webstore_security_bans_total", &[]), 0.0);
    })
    .await;
}
