use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PATIENCE, Request, Response, Webstore, config_file, run};

const SESSIONS: &str = "/api/v1/users/me/sessions";

fn shop() -> Webstore {
    Webstore::configured("[sessions]")
}

fn login(user: &str) -> Request {
    let body = json!({"user": user, "password": "palisade"}).to_string();
    Request::post("/login", &body)
}

fn with(request: Request, token: &str) -> Request {
    request.header("authorization", &format!("Bearer {token}"))
}

fn token(response: &Response) -> String {
    assert_eq!(response.status, 200);
    response.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_login_creates_a_session_that_its_user_sees_and_ends() {
    let store = shop();
    let response = store.ask(login("ada"));
    let (ada, answer) = (token(&response), response.json());
    assert!(ada.starts_with("pls_"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("set-cookie"), None, "a program");
    let phone = token(&store.ask(login("ada")));

    let cart = r#"{"product_id": 1, "quantity": 1}"#;
    let added = store.ask(with(Request::post("/US/cart", cart), &ada));
    assert_eq!(added.status, 200);
    let shown = store.ask(with(Request::get("/US/cart"), &phone));
    assert_eq!(shown.json(), added.json(), "one user's cart");

    let listed = store.ask(with(Request::get(SESSIONS), &phone)).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let id = answer["session_id"].as_str().unwrap();
    let one = format!("{SESSIONS}/{id}");
    let others = token(&store.ask(login("bob")));
    let denied = store.ask(with(Request::new("DELETE", &one), &others));
    denied.problem(404);
    assert_eq!(
        store.ask(with(Request::new("DELETE", &one), &phone)).status,
        204
    );
    let gone = store.ask(with(Request::get("/US/cart"), &ada));
    gone.problem(401);
    assert_eq!(
        gone.header("www-authenticate"),
        Some("Bearer error=\"invalid_token\"")
    );
    assert_eq!(
        store.ask(with(Request::get("/US/cart"), &phone)).status,
        200
    );
}

#[test]
fn an_insecure_cookie_is_refused_where_others_can_reach_the_shop() {
    let file = config_file("[sessions]\ninsecure_cookie = true");
    let config = file.path().to_str().unwrap();
    let output = run(&["--config", config, "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`sessions.insecure_cookie` cannot be `true` with --listen 0.0.0.0:0"));

    let store = Webstore::start(&["--config", config]);
    let response = store.ask(login("ada").header("sec-fetch-site", "same-origin"));
    let cookie = response.header("set-cookie").unwrap();
    assert!(cookie.starts_with("session=pls_") && !cookie.contains("Secure"));
}

#[test]
fn with_sessions_a_demo_token_is_worth_nothing() {
    let store = shop();
    store.ask(Request::get("/US/cart").user("ada")).problem(401);
    assert_eq!(store.ask(Request::get("/US/cart")).status, 200);
}

#[test]
fn a_page_of_the_shop_gets_the_cookie_and_another_sites_page_nothing() {
    let store = shop();
    let page = |site: &str| store.ask(login("ada").header("sec-fetch-site", site));
    let refused = page("cross-site");
    refused.problem(403);
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    let response = page("same-origin");
    let cookie = response.header("set-cookie").unwrap().to_owned();
    let (cookie, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(cookie, format!("__Host-session={}", token(&response)));
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Secure");
    let current = format!("{SESSIONS}/current");
    let asked = store.ask(Request::get(&current).header("cookie", cookie));
    assert_eq!(asked.status, 200);
    let cart = r#"{"product_id": 1, "quantity": 1}"#;
    let forged = Request::post("/US/cart", cart).header("cookie", cookie);
    store.ask(forged).problem(403);
    let out = Request::post("/profiles/me/logout", "")
        .header("cookie", cookie)
        .header("sec-fetch-site", "same-origin");
    let left = store.ask(out);
    assert_eq!((left.status, left.json()), (200, json!({"ended": 1})));
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    store
        .ask(Request::get(&current).header("cookie", cookie))
        .problem(401);
}

#[test]
fn another_sites_login_is_refused_as_a_layer_refuses_and_is_no_failure_of_the_client() {
    let store = Webstore::configured("[sessions]\n[suspicion]\nendpoint_scanning = '2/1m'\n");
    for _ in 0..4 {
        let foreign = login("ada").header("sec-fetch-site", "cross-site");
        store.ask(foreign).problem(403);
    }
    // Two failures of the client's own come after them, and are an incident once they are counted.
    store.get("/.env").problem(404);
    store.get("/.git/HEAD").problem(404);
    let incident = r#"webstore_security_suspicious_activity_total{type="endpoint_scanning"} 1"#;
    let counted = |line: &str| store.admin("/metrics").body.lines().any(|it| it == line);
    let started = Instant::now();
    while !counted(incident) {
        assert!(started.elapsed() < PATIENCE, "no incident");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(counted(
        r#"webstore_security_failures_total{result="counted"} 2"#
    ));
}

#[test]
fn no_answer_to_a_login_may_be_stored() {
    let store = shop();
    let wrong = json!({"user": "ada", "password": "wrong"}).to_string();
    for (body, status) in [
        ("{", 400),
        (wrong.as_str(), 401),
        (r#"{"user":"a b","password":""}"#, 400),
    ] {
        let answer = store.ask(Request::post("/login", body));
        answer.problem(status);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{body}");
    }
}
