//! The webstore's funnel as its metrics show it: which requests reach a stage, and which never do.

use std::collections::BTreeMap;

use http::Method;
use palisade_tests::http::Client;
use palisade_tests::redis::RedisServer;
use palisade_tests::webstore::{PATIENT, Webstore};

const STAGE: &str = "webstore_funnel_stage_total";
const COUNTRIES: [&str; 8] = ["US", "GB", "DE", "FR", "JP", "BR", "IN", "other"];
const PAYMENT_METHODS: [&str; 3] = ["credit_card", "paypal", "bank_transfer"];
/// Limits that no test here meets.
const UNLIMITED: &str = "[rate_limit]\nip = '1000000/1m'\nuser = '1000000/1m'\n";
const FILLED: &str = r#"{"product_id": 1, "quantity": 1}"#;

type Counts = BTreeMap<(String, String, String), u64>;

fn key(stage: &str, country: &str, payment_method: &str) -> (String, String, String) {
    (stage.into(), country.into(), payment_method.into())
}

/// Every series of the contract, at 0.
fn zeros() -> Counts {
    let mut zeros = Counts::new();
    for country in COUNTRIES {
        for stage in ["browse_catalog", "view_product", "add_to_cart"] {
            zeros.insert(key(stage, country, ""), 0);
        }
        for method in PAYMENT_METHODS.into_iter().chain(["other"]) {
            zeros.insert(key("checkout_complete", country, method), 0);
        }
    }
    zeros
}

/// The contract's series, with these at other counts than 0.
fn counts<const N: usize>(reached: [(&str, &str, &str, u64); N]) -> Counts {
    let mut counts = zeros();
    for (stage, country, method, count) in reached {
        let old = counts.insert(key(stage, country, method), count);
        assert_eq!(old, Some(0), "{stage} {country} {method}");
    }
    counts
}

/// Every series that the webstore exports.
async fn funnel(webstore: &Webstore) -> Counts {
    let scrape = webstore.scrape().await;
    let series: Vec<_> = scrape.matching(STAGE, &[]).collect();
    let counts: Counts = series
        .iter()
        .map(|sample| {
            assert_eq!(sample.labels.len(), 3, "{sample:?}");
            let labels = &sample.labels;
            let key = key(
                &labels["stage"],
                &labels["country"],
                &labels["payment_method"],
            );
            (key, sample.value as u64)
        })
        .collect();
    assert_eq!(counts.len(), series.len(), "a series twice");
    counts
}

fn order(id: &str, payment_method: &str) -> String {
    format!(r#"{{"order_id": "{id}", "payment_method": "{payment_method}"}}"#)
}

/// Sends a request of the user Ada, and holds its answer to a status.
async fn expect(client: &Client, method: Method, path: &str, body: &str, status: u16) {
    let headers = [("authorization", "Bearer user-token-ada")];
    let reply = client.send(method.clone(), path, &headers, body).await;
    assert_eq!(
        reply.status, status,
        "{method} {path} {body}: {}",
        reply.body
    );
}

#[tokio::test]
async fn every_series_of_the_funnel_is_there_at_zero_from_the_start_and_no_other() {
    let webstore = Webstore::start(None, "");
    assert_eq!(funnel(&webstore).await, zeros());
    assert_eq!(zeros().len(), 8 * (3 + 4));
}

#[tokio::test]
async fn the_four_stages_count_by_country_and_payment_method() {
    let webstore = Webstore::start(None, UNLIMITED);
    let client = webstore.client();
    let mut expected = zeros();
    // So many of each, so that no two series could be mistaken for one another.
    let mut reach = |stage: &str, country: &str, method: &str, times: u64| {
        *expected.get_mut(&key(stage, country, method)).unwrap() += times;
    };
    for (n, country) in COUNTRIES[..7].iter().enumerate() {
        let n = n as u64;
        for (path, stage, times) in [
            ("products", "browse_catalog", n + 1),
            ("products/7", "view_product", n + 2),
        ] {
            for _ in 0..times {
                let path = format!("/{country}/{path}");
                expect(&client, Method::GET, &path, "", 200).await;
            }
            reach(stage, country, "", times);
        }
        for (m, method) in PAYMENT_METHODS.into_iter().enumerate() {
            let orders = n + m as u64;
            for order_number in 0..orders {
                let cart = format!("/{country}/cart");
                expect(&client, Method::POST, &cart, FILLED, 200).await;
                let id = format!("{country}-{method}-{order_number}");
                let path = format!("/{country}/orders");
                expect(&client, Method::POST, &path, &order(&id, method), 201).await;
            }
            reach("add_to_cart", country, "", orders);
            reach("checkout_complete", country, method, orders);
        }
    }
    assert_eq!(funnel(&webstore).await, expected);
}

#[tokio::test]
async fn a_country_counts_as_its_iso_code_however_it_is_written() {
    let webstore = Webstore::start(None, "");
    let client = webstore.client();
    for country in ["uk", "UK", "gb", "Gb"] {
        let path = format!("/{country}/products");
        expect(&client, Method::GET, &path, "", 200).await;
    }
    assert_eq!(
        funnel(&webstore).await,
        counts([("browse_catalog", "GB", "", 4)])
    );
}

#[tokio::test]
async fn requests_that_fail_reach_no_stage() {
    let webstore = Webstore::start(None, UNLIMITED);
    let client = webstore.client();
    let paypal = order("A-1", "paypal");
    for (method, path, body, status) in [
        (Method::GET, "/us/products/999", "", 404),
        (Method::GET, "/us/products/x", "", 404),
        (Method::GET, "/xx/products", "", 404),
        (Method::GET, "/xx/products/1", "", 404),
        (Method::POST, "/xx/cart", FILLED, 404),
        (Method::POST, "/xx/orders", &*paypal, 404),
        (Method::POST, "/us/cart", "{", 400),
        (
            Method::POST,
            "/us/cart",
            r#"{"product_id": 999, "quantity": 1}"#,
            404,
        ),
        (Method::POST, "/us/orders", &*paypal, 409),
        (Method::POST, "/us/orders", "{", 400),
        (Method::POST, "/us/products", "", 405),
        (Method::PUT, "/us/cart", FILLED, 405),
    ] {
        expect(&client, method, path, body, status).await;
    }
    let forged = [("authorization", "Bearer forged")];
    for path in ["/us/products", "/us/products/1"] {
        assert_eq!(client.get(path, &forged).await.status, 401);
    }
    let reply = client.post("/us/cart", &forged, FILLED).await;
    assert_eq!(reply.status, 401);
    assert_eq!(funnel(&webstore).await, zeros());
}

#[tokio::test]
async fn other_methods_and_pages_that_are_no_stage_count_nothing() {
    let webstore = Webstore::start(None, "");
    let client = webstore.client();
    expect(&client, Method::HEAD, "/us/products", "", 200).await;
    expect(&client, Method::HEAD, "/us/products/1", "", 200).await;
    expect(&client, Method::GET, "/us/cart", "", 200).await;
    let login = r#"{"user": "ada", "password": "palisade"}"#;
    expect(&client, Method::POST, "/login", login, 200).await;
    assert_eq!(funnel(&webstore).await, zeros());
}

#[tokio::test]
async fn what_the_limits_deny_reaches_no_stage_on_either_store() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}[rate_limit]\nip = '3/1m'\n");
    for url in [None, Some(redis.url())] {
        let webstore = Webstore::start(url.as_deref(), &config);
        let client = webstore.client();
        for n in 0..10 {
            let status = if n < 3 { 200 } else { 429 };
            expect(&client, Method::GET, "/jp/products", "", status).await;
        }
        // Denials that the stage's own route would count, as gRPC's, whose status is 200.
        let grpc = [("content-type", "application/grpc")];
        let denied = client.send(Method::POST, "/jp/cart", &grpc, "").await;
        assert_eq!(
            (denied.status.as_u16(), denied.header("grpc-status")),
            (200, "8")
        );
        assert_eq!(
            funnel(&webstore).await,
            counts([("browse_catalog", "JP", "", 3)])
        );
    }
}

#[tokio::test]
async fn a_repeated_order_counts_once() {
    let webstore = Webstore::start(None, UNLIMITED);
    let client = webstore.client();
    let post = async |path: &str, body: &str, status| {
        expect(&client, Method::POST, path, body, status).await;
    };
    post("/us/cart", FILLED, 200).await;
    for _ in 0..3 {
        post("/us/orders", &order("A-1", "paypal"), 201).await;
    }
    // Neither another country, nor another payment method, nor a new cart makes it another order.
    post("/de/orders", &order("A-1", "credit_card"), 201).await;
    post("/us/cart", FILLED, 200).await;
    post("/us/orders", &order("A-1", "paypal"), 201).await;
    assert_eq!(
        funnel(&webstore).await,
        counts([
            ("add_to_cart", "US", "", 2),
            ("checkout_complete", "US", "paypal", 1),
        ])
    );
    post("/us/orders", &order("A-2", "bank_transfer"), 201).await;
    assert_eq!(
        funnel(&webstore).await,
        counts([
            ("add_to_cart", "US", "", 2),
            ("checkout_complete", "US", "paypal", 1),
            ("checkout_complete", "US", "bank_transfer", 1),
        ])
    );
}

#[tokio::test]
async fn fifty_repeats_of_an_order_at_once_count_once() {
    let webstore = Webstore::start(None, UNLIMITED);
    let client = webstore.client();
    expect(&client, Method::POST, "/fr/cart", FILLED, 200).await;
    let repeats: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let body = order("A-1", "credit_card");
                expect(&client, Method::POST, "/fr/orders", &body, 201).await;
            })
        })
        .collect();
    for repeat in repeats {
        repeat.await.unwrap();
    }
    assert_eq!(
        funnel(&webstore).await,
        counts([
            ("add_to_cart", "FR", "", 1),
            ("checkout_complete", "FR", "credit_card", 1),
        ])
    );
}

#[tokio::test]
async fn hostile_countries_payment_methods_and_paths_move_no_series() {
    let webstore = Webstore::start(None, UNLIMITED);
    let client = webstore.client();
    expect(&client, Method::POST, "/us/cart", FILLED, 200).await;
    for n in 0..50 {
        for country in [
            format!("c{n}"),
            "other".to_owned(),
            format!("us%22{n}"),
            format!("us%0a{n}"),
            format!("us,payment_method=%22{n}"),
        ] {
            for path in ["products", "products/1", "nowhere", "products/1/"] {
                let path = format!("/{country}/{path}");
                expect(&client, Method::GET, &path, "", 404).await;
            }
            let path = format!("/{country}/cart");
            expect(&client, Method::POST, &path, FILLED, 404).await;
        }
        for method in [
            format!("evil{n}"),
            "other".to_owned(),
            String::new(),
            format!("paypal\\\"{n}"),
            format!("paypal\\n{n}"),
        ] {
            let body = order(&format!("A-{n}"), &method);
            expect(&client, Method::POST, "/us/orders", &body, 400).await;
        }
    }
    assert_eq!(
        funnel(&webstore).await,
        counts([("add_to_cart", "US", "", 1)])
    );
}
