use serde_json::json;

use crate::support::{Request, Webstore};

fn add(product_id: u32, quantity: u32) -> Request {
    Request::post(
        "/US/cart",
        &json!({"product_id": product_id, "quantity": quantity}).to_string(),
    )
}

#[test]
fn a_cart_starts_empty_and_holds_what_is_added() {
    let store = Webstore::start(&[]);
    let empty = store.ask(Request::get("/US/cart").user("ada"));
    assert_eq!(
        (empty.status, empty.json()),
        (200, json!({"items": [], "total": 0}))
    );

    let price = store.get("/US/products/2").json()["price"]
        .as_u64()
        .unwrap();
    store.ask(add(2, 1).user("ada"));
    let added = store.ask(add(2, 2).user("ada"));
    assert_eq!(added.status, 200);
    let cart = store.ask(Request::get("/GB/cart").user("ada")).json();
    assert_eq!(cart, added.json());
    assert_eq!(cart["items"].as_array().unwrap().len(), 1);
    assert_eq!(cart["items"][0]["product_id"], 2);
    assert_eq!(cart["items"][0]["quantity"], 3);
    assert_eq!(cart["total"], 3 * price);
}

#[test]
fn a_cart_is_its_users_own_and_the_clients_while_anonymous() {
    let store = Webstore::start(&[]);
    store.ask(add(1, 1).user("ada"));
    store.ask(add(3, 1));
    let product = |request: Request| store.ask(request).json()["items"][0]["product_id"].clone();
    assert_eq!(product(Request::get("/US/cart").user("ada")), 1);
    assert_eq!(product(Request::get("/US/cart")), 3);
    assert!(product(Request::get("/US/cart").user("bob")).is_null());
}

#[test]
fn an_unknown_product_cannot_be_added() {
    let store = Webstore::start(&[]);
    for id in [0, 13, u32::MAX] {
        store.ask(add(id, 1)).problem(404);
    }
}

#[test]
fn a_quantity_is_one_to_a_hundred() {
    let store = Webstore::start(&[]);
    for quantity in [0, 101, u32::MAX] {
        let detail = store.ask(add(1, quantity)).problem(400);
        assert!(
            detail.contains("quantity") && detail.contains("1 to 100"),
            "{detail}"
        );
    }
    assert_eq!(store.ask(add(1, 100)).status, 200);
    store.ask(add(1, 1)).problem(409);
    assert_eq!(store.get("/US/cart").json()["items"][0]["quantity"], 100);
}

#[test]
fn a_malformed_body_is_400_and_says_why() {
    let store = Webstore::start(&[]);
    for (body, named) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("product_id=1", "expected"),
        ("[]", "2 elements"),
        ("{}", "product_id"),
        (r#"{"product_id": 1}"#, "quantity"),
        (r#"{"product_id": "1", "quantity": 1}"#, "string"),
        (r#"{"product_id": 1, "quantity": -1}"#, "-1"),
        (r#"{"product_id": 1, "quantity": 1.5}"#, "1.5"),
        (r#"{"product_id": 1, "quantity": 1e300}"#, "1e+300"),
        (r#"{"product_id": 1, "quantity": 1} trailing"#, "trailing"),
    ] {
        let detail = store.ask(Request::post("/US/cart", body)).problem(400);
        assert!(detail.contains(named), "{body:?}: {detail}");
    }
    let nested = format!(r#"{{"x": {}"#, "[".repeat(16_000));
    store.ask(Request::post("/US/cart", &nested)).problem(400);
    assert_eq!(store.get("/US/cart").json()["total"], 0);
}

#[test]
fn a_body_above_16_kib_is_413_and_the_client_can_read_so() {
    let store = Webstore::start(&[]);
    let padded = |length: usize| {
        let json = r#"{"product_id": 1, "quantity": 1}"#;
        Request::post(
            "/US/cart",
            &format!("{json}{}", " ".repeat(length - json.len())),
        )
    };
    assert_eq!(store.ask(padded(16 * 1024)).status, 200);
    for length in [16 * 1024 + 1, 500_000] {
        let detail = store.ask(padded(length)).problem(413);
        assert!(detail.contains("16384"), "{detail}");
    }
    assert_eq!(store.get("/US/cart").json()["items"][0]["quantity"], 1);
}
