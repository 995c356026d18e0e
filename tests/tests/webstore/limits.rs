//! The webstore's limits as its clients meet them, on memory and on Redis.

use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};

const PRODUCTS: &str = "/us/products";

/// Runs a test against a webstore on each store.
async fn on_both_stores(config: &str, test: impl AsyncFn(Webstore)) {
    test(Webstore::start(None, config)).await;
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{config}");
    test(Webstore::start(Some(&redis.url()), &config)).await;
}

async fn statuses(client: &Client, requests: usize, headers: &[(&str, &str)]) -> Vec<u16> {
    let mut statuses = Vec::with_capacity(requests);
    for _ in 0..requests {
        statuses.push(client.get(PRODUCTS, headers).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn denies_the_201st_request_of_an_address() {
    on_both_stores("", async |webstore| {
        let client = webstore.client();
        let first = client.get(PRODUCTS, &[]).await;
        assert_eq!(first.status, 200);
        assert_eq!(first.header("ratelimit-policy"), r#""ip";q=200;w=60"#);
        assert_eq!(first.header("ratelimit"), r#""ip";r=199;t=60"#);
        assert_eq!(statuses(&client, 199, &[]).await, [200; 199]);

        let denied = client.get(PRODUCTS, &[]).await;
        assert_eq!(denied.status, 429);
        assert_eq!(denied.header("content-type"), "application/problem+json");
        let retry: u64 = denied.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&retry), "{retry}");
        assert_eq!(denied.header("ratelimit"), format!(r#""ip";r=0;t={retry}"#));
        let problem = denied.json();
        assert_eq!(
            problem["type"],
            "https://iana.org/assignments/http-problem-types#quota-exceeded"
        );
        assert_eq!(problem["status"], 429);
        assert_eq!(
            problem["detail"],
            "Rate limit exceeded for IP. Maximum 200 requests per minute."
        );
        assert_eq!(problem["violated-policies"], serde_json::json!(["ip"]));
        assert!(problem["title"].is_string());
    })
    .await;
}

#[tokio::test]
async fn denies_the_61st_request_of_a_user_and_nothing_of_its_neighbours() {
    on_both_stores("", async |webstore| {
        let client = webstore.client();
        let user = [("authorization", "Bearer user-token-ada")];
        assert_eq!(statuses(&client, 60, &user).await, [200; 60]);
        let denied = client.get(PRODUCTS, &user).await;
        assert_eq!(denied.status, 429);
        assert_eq!(
            denied.header("ratelimit-policy"),
            r#""ip";q=200;w=60, "user";q=60;w=60"#
        );
        assert_eq!(
            denied.json()["detail"],
            "Rate limit exceeded for user. Maximum 60 requests per minute."
        );
        assert_eq!(statuses(&client, 300, &user).await, [429; 300]);
        // 60 of 200 are spent, whatever the user tried after.
        assert_eq!(statuses(&client, 140, &[]).await, [200; 140]);
        assert_eq!(statuses(&client, 1, &[]).await, [429]);
    })
    .await;
}

#[tokio::test]
async fn a_forwarded_address_counts_only_behind_a_trusted_proxy() {
    let limit = "[rate_limit]\nip = '3/1m'\n";
    on_both_stores(limit, async |webstore| {
        let client = webstore.client();
        let mut admitted = 0;
        for n in 0..9 {
            let spoofed = format!("198.51.100.{n}");
            let reply = client.get(PRODUCTS, &[("x-forwarded-for", &spoofed)]).await;
            admitted += u32::from(reply.status == 200);
        }
        assert_eq!(admitted, 3);
    })
    .await;
    let trusting = format!("{limit}[client]\ntrusted_proxies = ['127.0.0.0/8']\n");
    on_both_stores(&trusting, async |webstore| {
        let client = webstore.client();
        for n in 0..3 {
            // The client writes what it likes; the proxy appends the address that it saw.
            for spoofed in ["10.0.0.1", "198.51.100.77", "garbage"] {
                let header = format!("{spoofed}, 203.0.113.{n}");
                assert_eq!(
                    client
                        .get(PRODUCTS, &[("x-forwarded-for", &header)])
                        .await
                        .status,
                    200
                );
            }
            let header = format!("1.2.3.4, 203.0.113.{n}");
            assert_eq!(
                client
                    .get(PRODUCTS, &[("x-forwarded-for", &header)])
                    .await
                    .status,
                429
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_denies_nobody_and_counts_whom_it_would_deny() {
    on_both_stores(
        "[rate_limit]\nip = '3/1m'\nmode = 'dry_run'\n",
        async |webstore| {
            let client = webstore.client();
            assert_eq!(statuses(&client, 10, &[]).await, [200; 10]);
            let scrape = webstore.scrape().await;
            let count = |result| {
                scrape.sum(
                    "webstore_rate_limit_requests_total",
                    &[("policy", "ip"), ("result", result)],
                )
            };
            assert_eq!(
                (count("admitted"), count("dry_run_denied"), count("denied")),
                (3.0, 7.0, 0.0)
            );
            assert_eq!(scrape.sum("webstore_rate_limit_exceeded_total", &[]), 0.0);
        },
    )
    .await;
}

#[tokio::test]
async fn a_policy_of_the_configuration_limits_its_route_alone() {
    let config = "[rate_limit.policies.checkout]\nkey = 'user'\nquota = '2/1m'\n\
                  routes = ['POST /{country}/orders']\n";
    on_both_stores(config, async |webstore| {
        let client = webstore.client();
        let user = [("authorization", "Bearer user-token-ada")];
        for order in 0..2 {
            let reply = client
                .post("/us/cart", &user, r#"{"product_id": 1, "quantity": 1}"#)
                .await;
            assert!(reply.status.is_success(), "{}", reply.body);
            assert!(!reply.header("ratelimit-policy").contains("checkout"));
            let order = format!(r#"{{"order_id": "o-{order}", "payment_method": "paypal"}}"#);
            let reply = client.post("/us/orders", &user, &order).await;
            assert!(reply.status.is_success(), "{}", reply.body);
            assert!(
                reply
                    .header("ratelimit-policy")
                    .contains(r#""checkout";q=2;w=60"#)
            );
        }
        let denied = client.post("/us/orders", &user, "{}").await;
        assert_eq!(denied.status, 429);
        assert_eq!(
            denied.json()["violated-policies"],
            serde_json::json!(["checkout"])
        );
        assert_eq!(client.get(PRODUCTS, &user).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_restarted_service_finds_the_window_as_it_left_it_in_redis() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}[rate_limit]\nip = '5/1h'\n");
    let first = Webstore::start(Some(&redis.url()), &config);
    assert_eq!(statuses(&first.client(), 4, &[]).await, [200; 4]);
    drop(first);
    let second = Webstore::start(Some(&redis.url()), &config);
    assert_eq!(statuses(&second.client(), 3, &[]).await, [200, 429, 429]);
}
