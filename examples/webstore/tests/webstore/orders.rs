use std::sync::Barrier;

use serde_json::json;

use crate::support::{Request, Response, Webstore};

fn fill_cart(store: &Webstore, user: &str, product_id: u32) {
    let body = json!({"product_id": product_id, "quantity": 2}).to_string();
    assert_eq!(
        store
            .ask(Request::post("/US/cart", &body).user(user))
            .status,
        200
    );
}

fn order(country: &str, id: &str, payment_method: &str) -> Request {
    let body = json!({"order_id": id, "payment_method": payment_method}).to_string();
    Request::post(&format!("/{country}/orders"), &body)
}

fn cart_of(store: &Webstore, user: &str) -> Response {
    store.ask(Request::get("/US/cart").user(user))
}

#[test]
fn an_order_buys_the_cart_and_empties_it() {
    let store = Webstore::start(&[]);
    fill_cart(&store, "ada", 4);
    let cart = cart_of(&store, "ada").json();
    let response = store.ask(order("uk", "A-1", "paypal").user("ada"));
    assert_eq!(response.status, 201);
    assert_eq!(
        response.json(),
        json!({
            "order_id": "A-1",
            "country": "GB",
            "payment_method": "paypal",
            "items": cart["items"],
            "total": cart["total"],
        })
    );
    assert_eq!(cart_of(&store, "ada").json()["items"], json!([]));
}

#[test]
fn each_payment_method_of_the_contract_is_taken_and_no_other() {
    let store = Webstore::start(&[]);
    for method in ["credit_card", "paypal", "bank_transfer"] {
        fill_cart(&store, "ada", 1);
        assert_eq!(
            store.ask(order("US", method, method).user("ada")).status,
            201,
            "{method}"
        );
    }
    fill_cart(&store, "ada", 1);
    for method in ["", "cash", "PayPal"] {
        let detail = store.ask(order("US", "x", method).user("ada")).problem(400);
        assert!(
            detail.contains("`credit_card`, `paypal`, `bank_transfer`"),
            "{detail}"
        );
    }
}

#[test]
fn a_detail_quotes_no_more_than_300_characters() {
    let store = Webstore::start(&[]);
    let detail = store
        .ask(order("US", "A-1", &"é".repeat(5_000)))
        .problem(400);
    assert_eq!(detail.chars().count(), 301);
}

#[test]
fn an_order_with_an_empty_cart_is_409() {
    let store = Webstore::start(&[]);
    store
        .ask(order("US", "A-1", "paypal").user("ada"))
        .problem(409);
    store.ask(order("US", "A-1", "paypal")).problem(409);
}

#[test]
fn an_order_id_is_bounded_plain_text() {
    let store = Webstore::start(&[]);
    fill_cart(&store, "ada", 1);
    for id in ["", "a b", "../a", "é", &"x".repeat(65)] {
        let detail = store
            .ask(order("US", id, "paypal").user("ada"))
            .problem(400);
        assert!(
            detail.contains("`order_id` must be 1 to 64 characters"),
            "{detail}"
        );
    }
    let long = "x".repeat(64);
    assert_eq!(
        store.ask(order("US", &long, "paypal").user("ada")).status,
        201
    );
}

#[test]
fn a_repeated_order_answers_as_the_first_time_and_changes_nothing() {
    let store = Webstore::start(&[]);
    fill_cart(&store, "ada", 1);
    let first = store.ask(order("US", "A-1", "paypal").user("ada"));
    let repeat = store.ask(order("US", "A-1", "paypal").user("ada"));
    assert_eq!((repeat.status, &repeat.body), (201, &first.body));

    fill_cart(&store, "ada", 2);
    let cart = cart_of(&store, "ada").json();
    let repeat = store.ask(order("DE", "A-1", "credit_card").user("ada"));
    assert_eq!((repeat.status, &repeat.body), (201, &first.body));
    assert_eq!(cart_of(&store, "ada").json(), cart);
}

#[test]
fn the_same_id_of_another_owner_is_another_order() {
    let store = Webstore::start(&[]);
    fill_cart(&store, "ada", 1);
    fill_cart(&store, "bob", 2);
    let ada = store.ask(order("US", "A-1", "paypal").user("ada"));
    let bob = store.ask(order("US", "A-1", "paypal").user("bob"));
    assert_eq!((ada.status, bob.status), (201, 201));
    assert_ne!(ada.body, bob.body);
    store.ask(order("US", "A-1", "paypal")).problem(409);
}

#[test]
fn fifty_repeats_at_once_place_one_order() {
    let store = Webstore::start(&[]);
    fill_cart(&store, "ada", 5);
    let start = Barrier::new(50);
    let responses: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..50)
            .map(|n| {
                let (store, start) = (&store, &start);
                let method = if n % 2 == 0 { "paypal" } else { "credit_card" };
                scope.spawn(move || {
                    let mut connection = store.connect();
                    start.wait();
                    connection.ask(order("US", "A-1", method).user("ada"))
                })
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    for response in &responses {
        assert_eq!((response.status, &response.body), (201, &responses[0].body));
    }
    store
        .ask(order("US", "A-2", "paypal").user("ada"))
        .problem(409);
}
