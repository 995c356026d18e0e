use serde_json::json;

use crate::support::{Request, Webstore};

#[test]
fn the_201st_anonymous_request_in_a_minute_is_denied() {
    let store = Webstore::start(&[]);
    let mut connection = store.connect();
    for left in (0..200).rev() {
        let response = connection.ask(Request::get("/US/products"));
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("ratelimit-policy"),
            Some(r#""ip";q=200;w=60"#)
        );
        let state = response.header("ratelimit").unwrap();
        assert!(
            state.starts_with(&format!(r#""ip";r={left};t="#)),
            "{state}"
        );
    }
    let denied = connection.ask(Request::get("/US/products"));
    let detail = denied.problem(429);
    assert_eq!(
        detail,
        "Rate limit exceeded for IP. Maximum 200 requests per minute."
    );
    assert_eq!(denied.json()["violated-policies"], json!(["ip"]));
    let retry: u64 = denied.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry), "{retry}");
}

#[test]
fn the_61st_request_of_a_user_is_denied_and_spends_nothing_of_the_networks_quota() {
    let store = Webstore::start(&[]);
    let mut connection = store.connect();
    for _ in 0..60 {
        let response = connection.ask(Request::get("/US/products").user("ada"));
        assert_eq!(response.status, 200);
        let policies = response.header("ratelimit-policy");
        assert_eq!(policies, Some(r#""ip";q=200;w=60, "user";q=60;w=60"#));
    }
    for _ in 0..100 {
        let denied = connection.ask(Request::get("/US/products").user("ada"));
        let detail = denied.problem(429);
        assert_eq!(
            detail,
            "Rate limit exceeded for user. Maximum 60 requests per minute."
        );
    }
    let neighbour = connection.ask(Request::get("/US/products").user("bob"));
    assert_eq!(neighbour.status, 200);
    let state = neighbour.header("ratelimit").unwrap();
    assert!(state.starts_with(r#""ip";r=139;"#), "{state}");
}

#[test]
fn an_invalid_token_meets_the_limits_of_an_anonymous_client_then_401() {
    let store = Webstore::configured("[rate_limit]\nip = '3/1m'");
    for n in 0..4 {
        let request = Request::get("/US/products").header("authorization", "Bearer forged");
        let response = store.ask(request);
        response.problem(if n < 3 { 401 } else { 429 });
    }
}

#[test]
fn paths_that_do_not_exist_are_limited_too() {
    let store = Webstore::configured("[rate_limit]\nip = '3/1m'");
    for n in 0..4 {
        store
            .get(&format!("/wp-admin/{n}"))
            .problem(if n < 3 { 404 } else { 429 });
    }
}

#[test]
fn a_policy_for_a_route_leaves_the_others_alone() {
    let store = Webstore::configured(
        "[rate_limit.policies.checkout]\nkey = 'user'\nquota = '2/1m'\nroutes = ['POST /{country}/orders']",
    );
    let order = || Request::post("/US/orders", "{}").user("ada");
    assert_eq!(store.ask(order()).status, 400);
    assert_eq!(store.ask(order()).status, 400);
    let denied = store.ask(order());
    denied.problem(429);
    assert_eq!(denied.json()["violated-policies"], json!(["checkout"]));
    assert_eq!(
        store.ask(Request::get("/US/products").user("ada")).status,
        200
    );
}

#[test]
fn a_spoofed_forwarding_header_changes_neither_limit_nor_cart() {
    let store = Webstore::configured("[rate_limit]\nip = '3/1m'");
    let spoofed = |n: u32, request: Request| {
        store.ask(request.header("x-forwarded-for", &format!("198.51.100.{n}")))
    };
    let body = r#"{"product_id": 1, "quantity": 1}"#;
    assert_eq!(spoofed(1, Request::post("/US/cart", body)).status, 200);
    assert_eq!(
        spoofed(2, Request::get("/US/cart")).json()["items"][0]["product_id"],
        1
    );
    assert_eq!(spoofed(3, Request::get("/US/cart")).status, 200);
    spoofed(4, Request::get("/US/cart")).problem(429);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_limit_and_cart() {
    let store = Webstore::configured(
        "[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '2/1m'",
    );
    let from =
        |client: &str, request: Request| store.ask(request.header("x-forwarded-for", client));
    let body = r#"{"product_id": 1, "quantity": 1}"#;
    assert_eq!(
        from("198.51.100.1", Request::post("/US/cart", body)).status,
        200
    );
    assert_eq!(
        from("198.51.100.2", Request::get("/US/cart")).json()["items"],
        json!([])
    );
    assert_eq!(
        from("198.51.100.1", Request::get("/US/cart")).json()["items"][0]["product_id"],
        1
    );
    from("198.51.100.1", Request::get("/US/cart")).problem(429);
    assert_eq!(from("198.51.100.2", Request::get("/US/cart")).status, 200);
}

#[test]
fn clients_of_ones_own_translator_are_told_apart_by_their_ipv4_addresses() {
    let store = Webstore::configured(
        "[client]\ntrusted_proxies = ['127.0.0.0/8']\nnat64_prefixes = ['2001:db8:64::/96']\n[rate_limit]\nip = '2/1m'",
    );
    let ask = |client: &str| {
        let request = Request::get("/US/products").header("x-forwarded-for", client);
        store.ask(request).status
    };
    // Of one /64, and the first of them also without the translator.
    for client in ["2001:db8:64::198.51.100.1", "198.51.100.1"] {
        assert_eq!(ask(client), 200);
    }
    assert_eq!(ask("2001:db8:64::198.51.100.1"), 429);
    assert_eq!(ask("2001:db8:64::198.51.100.2"), 200);
}

#[test]
fn the_admin_listener_exports_what_happened_and_is_never_limited() {
    let store = Webstore::configured("[rate_limit]\nip = '2/1m'");
    for (path, status) in [
        ("/gb/products/7", 200),
        ("/nowhere", 404),
        ("/US/products", 429),
    ] {
        assert_eq!(store.get(path).status, status);
    }
    let response = store.admin("/metrics");
    assert_eq!(response.status, 200);
    for line in [
        r#"webstore_rate_limit_requests_total{policy="ip",result="admitted"} 2"#,
        r#"webstore_rate_limit_requests_total{policy="ip",result="denied"} 1"#,
        r#"webstore_rate_limit_exceeded_total{limit_type="ip"} 1"#,
        r#"webstore_rate_limit_exceeded_total{limit_type="user"} 0"#,
    ] {
        assert!(response.body.contains(line), "{line} in {}", response.body);
    }
    for route in ["/{country}/products/{id}", "unmatched"] {
        let label = format!(r#"http_route="{route}""#);
        assert!(
            response.body.contains(&label),
            "{label} in {}",
            response.body
        );
    }
    for _ in 0..10 {
        assert_eq!(store.admin("/healthz").status, 200);
    }
}

#[test]
fn without_its_redis_the_shop_starts_serves_and_keeps_limiting() {
    // Nothing listens on port 1.
    let store = Webstore::on_redis("redis://127.0.0.1:1");
    let mut connection = store.connect();
    for _ in 0..200 {
        assert_eq!(connection.ask(Request::get("/US/products")).status, 200);
    }
    connection.ask(Request::get("/US/products")).problem(429);
    let ready = store.admin("/readyz");
    assert_eq!(ready.status, 200);
    assert!(
        ready.body.contains("Redis does not answer"),
        "{}",
        ready.body
    );
}
