use serde_json::json;

use crate::support::{Request, Response, Webstore};

fn login(store: &Webstore, user: &str, password: &str) -> Response {
    let body = json!({"user": user, "password": password}).to_string();
    store.ask(Request::post("/login", &body))
}

#[test]
fn the_demo_password_buys_any_user_a_token_that_works() {
    let store = Webstore::start(&[]);
    let response = login(&store, "ada", "palisade");
    assert_eq!(
        (response.status, response.json()),
        (200, json!({"token": "user-token-ada"}))
    );

    let cart = r#"{"product_id": 1, "quantity": 1}"#;
    let bearer = format!("Bearer {}", response.json()["token"].as_str().unwrap());
    let added = store.ask(Request::post("/US/cart", cart).header("authorization", &bearer));
    assert_eq!(added.status, 200);
    assert_eq!(
        store.ask(Request::get("/US/cart").user("ada")).json(),
        added.json()
    );
}

#[test]
fn any_other_password_is_401_with_a_challenge() {
    let store = Webstore::start(&[]);
    for password in ["", "Palisade", "palisade "] {
        let response = login(&store, "ada", password);
        response.problem(401);
        assert_eq!(
            response.header("www-authenticate"),
            Some(r#"Bearer realm="webstore""#)
        );
    }
}

#[test]
fn a_name_that_cannot_be_a_user_is_400_and_the_form_is_told() {
    let store = Webstore::start(&[]);
    for user in ["", "a b", "a@b", "é", &"x".repeat(65)] {
        let detail = login(&store, user, "palisade").problem(400);
        assert!(detail.contains("1 to 64 characters"), "{detail}");
    }
}

#[test]
fn malformed_json_is_400() {
    let store = Webstore::start(&[]);
    for body in [
        "",
        "{",
        r#"{"user": "ada"}"#,
        r#"{"user": 1, "password": "palisade"}"#,
    ] {
        store.ask(Request::post("/login", body)).problem(400);
    }
}
