use crate::support::{Request, Webstore};

#[test]
fn lists_a_dozen_products_with_integer_ids_names_and_prices() {
    let store = Webstore::start(&[]);
    let response = store.get("/US/products");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    let products = body["products"].as_array().unwrap();
    assert_eq!(products.len(), 12);
    for (product, id) in products.iter().zip(1..) {
        assert_eq!(product.as_object().unwrap().len(), 3);
        assert_eq!(product["id"], id);
        assert!(!product["name"].as_str().unwrap().is_empty());
        assert!(product["price"].as_u64().unwrap() > 0);
    }
}

#[test]
fn shows_each_product_as_the_list_does() {
    let store = Webstore::start(&[]);
    let list = store.get("/US/products").json();
    for product in list["products"].as_array().unwrap() {
        let response = store.get(&format!("/DE/products/{}", product["id"]));
        assert_eq!((response.status, &response.json()), (200, product));
    }
}

#[test]
fn serves_seven_countries_in_any_case_and_uk_as_gb() {
    let store = Webstore::start(&[]);
    for country in [
        "US", "GB", "DE", "FR", "JP", "BR", "IN", "us", "gB", "uk", "UK",
    ] {
        assert_eq!(
            store.get(&format!("/{country}/products")).status,
            200,
            "{country}"
        );
    }
}

#[test]
fn an_unknown_country_is_404_on_every_route() {
    let store = Webstore::start(&[]);
    for country in ["XX", "USA", "other", "%20", "%FF", "G%42"] {
        for path in ["products", "products/1", "cart"] {
            let detail = store.get(&format!("/{country}/{path}")).problem(404);
            assert!(
                detail.contains("GB") && !detail.contains(country),
                "{detail}"
            );
        }
        for path in ["cart", "orders"] {
            store
                .ask(Request::post(&format!("/{country}/{path}"), "{}"))
                .problem(404);
        }
    }
}

#[test]
fn an_unknown_product_is_404_however_it_is_written() {
    let store = Webstore::start(&[]);
    for id in [
        "0",
        "13",
        "-1",
        "1.0",
        "abc",
        "99999999999999999999",
        "%FF",
        "%31%00",
    ] {
        let detail = store.get(&format!("/US/products/{id}")).problem(404);
        assert!(detail.contains("1 to 12"), "{detail}");
    }
}

#[test]
fn other_paths_are_404_and_other_methods_405() {
    let store = Webstore::start(&[]);
    for path in [
        "/",
        "/US",
        "/US/products/1/reviews",
        "/wp-login.php",
        "/login/",
    ] {
        store.get(path).problem(404);
    }
    let response = store.ask(Request::new("DELETE", "/US/cart"));
    response.problem(405);
    assert_eq!(response.header("allow"), Some("GET,HEAD,POST"));
}

#[test]
fn an_invalid_token_is_401_anywhere() {
    let store = Webstore::start(&[]);
    for path in [
        "/US/products",
        "/US/products/1",
        "/US/cart",
        "/XX/products",
        "/nowhere",
    ] {
        for token in [
            "Bearer admin",
            "Bearer user-token-",
            "Basic YTpi",
            "Bearer user-token-a/b",
        ] {
            let response = store.ask(Request::get(path).header("authorization", token));
            response.problem(401);
            let challenge = response.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer ") && challenge.contains("invalid_token"));
        }
    }
    assert_eq!(
        store.ask(Request::get("/US/products").user("ada")).status,
        200
    );
}
