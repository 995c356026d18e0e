//! The live page of real processes, as a browser and as an attacker ask for it.

use std::time::Instant;

use http::{Method, StatusCode};
use palisade_tests::SOON;
use palisade_tests::distance::Distance;
use palisade_tests::events::{Events, lift, token};
use palisade_tests::http::{Client, Reply};
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use palisade_tests::webstore::{PATIENT, Webstore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Clients behind a trusted proxy, none of them near its limit.
const PROXIED: &str =
    "[client]\ntrusted_proxies = ['127.0.0.0/8']\n[rate_limit]\nip = '1000000/1h'\n";
const SCANNER: &str = "203.0.113.1";

async fn from(client: &Client, address: &str, path: &str) -> StatusCode {
    client
        .get(path, &[("x-forwarded-for", address)])
        .await
        .status
}

#[tokio::test]
async fn the_page_greets_and_then_its_numbers_move_with_the_traffic() {
    let webstore = Webstore::start(None, "[rate_limit]\nip = '5/1h'");
    let mut events = Events::open(&webstore.admin).await;
    let (name, hello) = events.next().await.unwrap();
    assert_eq!(name, "hello");
    assert_eq!(hello["service"], "webstore");
    assert_eq!(hello["store"], "memory");
    assert_eq!(hello["policies"][0]["quota"], "5/1h");
    let stages = [
        "browse_catalog",
        "view_product",
        "add_to_cart",
        "checkout_complete",
    ];
    assert_eq!(hello["stages"], json!(stages));
    let first = events.until("a first sample", SOON, |_| true).await;
    assert_eq!(first["sample"]["requests"]["total"], 0);

    let shop = webstore.client();
    for path in [
        "/us/products",
        "/us/products/1",
        "/us/products/999",
        "/us/products",
    ] {
        shop.get(path, &[]).await;
    }
    let body = r#"{"product_id": 1, "quantity": 2}"#;
    assert_eq!(shop.post("/us/cart", &[], body).await.status, 200);
    for _ in 0..3 {
        assert_eq!(shop.get("/us/products", &[]).await.status, 429);
    }
    let all = |now: &Value| now["sample"]["requests"]["total"] == 8;
    let now = events.until("eight requests", SOON, all).await;
    let requests = &now["sample"]["requests"];
    assert_eq!(
        (
            &requests["ok"],
            &requests["client_error"],
            &requests["denied"]
        ),
        (&json!(4), &json!(1), &json!(3))
    );
    assert_eq!(now["sample"]["stages"], json!([2, 1, 1, 0]));
    assert_eq!(now["sample"]["decisions"][0]["denied"], 3);
    assert_eq!(
        now["limited"]["clients"],
        json!([{"client": "127.0.0.1", "count": 3, "error": 0, "banned": false}])
    );
    assert_eq!(now["suspicious"]["clients"][0]["count"], 1);
    assert!(now["sample"]["seconds"].as_f64().unwrap() > 0.0);

    // A page that is opened later is told the minutes before, in the order of time.
    let (_, hello) = Events::open(&webstore.admin).await.next().await.unwrap();
    let history = hello["history"].as_array().unwrap();
    assert!(history.len() >= 2);
    assert!(history.is_sorted_by_key(|sample| sample["uptime"].as_u64()));
    assert_eq!(history.last().unwrap()["requests"]["total"], 8);
}

#[tokio::test]
async fn a_ban_appears_on_every_page_and_a_lift_on_one_holds_in_all() {
    let redis = RedisServer::start();
    let config = format!("{PATIENT}{PROXIED}[suspicion.bans]\n");
    let [first, second] = [(); 2].map(|()| Webstore::start(Some(&redis.url()), &config));
    let mut pages = [
        Events::open(&first.admin).await,
        Events::open(&second.admin).await,
    ];
    let shops = [first.client(), second.client()];
    for n in 0..10 {
        assert_eq!(
            from(&shops[0], SCANNER, &format!("/wp-admin/{n}")).await,
            404
        );
    }
    for page in &mut pages {
        let banned = |now: &Value| now["bans"]["list"][0]["client"] == SCANNER;
        let now = page.until("the ban", SOON, banned).await;
        assert_eq!(now["bans"]["total"], 1);
        assert_eq!(now["bans"]["stale"], false);
        assert_eq!(now["bans"]["list"][0]["reason"], "endpoint_scanning");
        assert_eq!(now["store"]["state"], "ok");
        assert!(now["store"]["calls"].as_u64().unwrap() > 0);
    }
    for shop in &shops {
        assert_eq!(from(shop, SCANNER, "/us/products").await, 429);
    }

    let lifted = lift(&second.admin, SCANNER).await;
    assert_eq!(
        (lifted.status, &*lifted.body),
        (StatusCode::OK, r#"{"lifted":true}"#)
    );
    assert_eq!(
        lift(&second.admin, SCANNER).await.body,
        r#"{"lifted":false}"#
    );
    for page in &mut pages {
        let none = |now: &Value| now["bans"]["total"] == 0;
        page.until("no ban", SOON, none).await;
    }
    for shop in &shops {
        let served = async || from(shop, SCANNER, "/us/products").await == 200;
        until("the client is served", served).await;
    }
    let events = |now: &Value| now["events"][0]["event"] == "ban_lifted";
    pages[1]
        .until("the lift among the events", SOON, events)
        .await;
}

#[tokio::test]
async fn what_a_web_site_could_have_a_browser_send_is_refused() {
    let webstore = Webstore::start(None, "");
    let page = Client::new(&webstore.admin);
    let token = token(&webstore.admin).await;
    let host = ("host", &*webstore.admin);
    let own = ("x-palisade-token", &*token);
    let body = r#"{"client": "192.0.2.1"}"#;
    let post =
        async |headers: &[(&str, &str)]| -> Reply { page.post("/bans/lift", headers, body).await };
    assert_eq!(post(&[host, own]).await.body, r#"{"lifted":false}"#);

    // A name that an attacker leads to this address, for everything that the page has.
    for path in ["/", "/main.js", "/ops.css", "/events"] {
        let reply = page.get(path, &[("host", "rebound.example:9464")]).await;
        assert_eq!(reply.status, 421, "{path}");
    }
    assert_eq!(
        post(&[("host", "rebound.example:9464"), own]).await.status,
        421
    );

    let elsewhere = format!("http://{}", webstore.shop);
    for wrong in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        // Another port of the same machine is another site's too.
        ("origin", &*elsewhere),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let reply = post(&[host, own, wrong]).await;
        assert_eq!(reply.status, 403, "{wrong:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(
            page.get("/events", &[host, wrong]).await.status,
            403,
            "{wrong:?}"
        );
    }
    let preflight = [
        host,
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
    ];
    let reply = page
        .send(Method::OPTIONS, "/bans/lift", &preflight, "")
        .await;
    assert!(!reply.status.is_success());
    assert!(
        !reply
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control"))
    );

    for wrong in [
        "",
        "x",
        &token[1..],
        &"0".repeat(32),
        &token.to_uppercase().repeat(2),
    ] {
        assert_eq!(
            post(&[host, ("x-palisade-token", wrong)]).await.status,
            403,
            "{wrong:?}"
        );
    }
    assert_eq!(post(&[host]).await.status, 403);
    let another = palisade_tests::events::token(&Webstore::start(None, "").admin).await;
    assert_eq!(
        post(&[host, ("x-palisade-token", &another)]).await.status,
        403
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_or_too_slow_is_refused() {
    let webstore = Webstore::start(None, "");
    let token = token(&webstore.admin).await;
    let send = async |head: &str, body: &str| {
        let mut stream = TcpStream::connect(&webstore.admin).await.unwrap();
        let head = format!(
            "POST /bans/lift HTTP/1.1\r\nhost: localhost\r\nx-palisade-token: {token}\r\n\
             content-type: application/json\r\n{head}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer, and close, before all is written.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut reply = Vec::new();
        let read = timeout(SOON, stream.read_to_end(&mut reply)).await;
        let _ = read.expect("an answer comes, and the end of the connection");
        String::from_utf8(reply).unwrap()
    };
    let reply = send("content-length: 1025", "").await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    // A length that is not told ahead.
    let chunk = format!("401\r\n{}\r\n", "x".repeat(0x401));
    let reply = send("transfer-encoding: chunked", &chunk).await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    let reply = send("content-length: 30", "{\"client\":").await;
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
}

#[tokio::test]
async fn the_ninth_page_is_refused_and_scrapes_go_on() {
    let webstore = Webstore::start(None, "");
    let mut pages = Vec::new();
    for _ in 0..8 {
        pages.push(Events::open(&webstore.admin).await);
    }
    let refused = Client::new(&webstore.admin).get("/events", &[]).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), "5");
    webstore.scrape().await;
    drop(pages.pop());
    let opens = async || Events::try_open(&webstore.admin).await.is_ok();
    until("a place is free", opens).await;
}

#[tokio::test]
async fn a_client_that_never_reads_holds_nobody_up() {
    let webstore = Webstore::start(None, "");
    let mut silent = TcpStream::connect(&webstore.admin).await.unwrap();
    let request = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    silent.write_all(request).await.unwrap();
    let mut page = Events::open(&webstore.admin).await;
    for n in 1..=4 {
        assert_eq!(webstore.client().get("/us/products", &[]).await.status, 200);
        let moved = |now: &Value| now["sample"]["requests"]["total"] == n;
        page.until("the numbers move", SOON, moved).await;
    }
}

#[tokio::test]
async fn sigterm_with_open_pages_exits_0() {
    let mut webstore = Webstore::start(None, "");
    let mut silent = TcpStream::connect(&webstore.admin).await.unwrap();
    let request = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    silent.write_all(request).await.unwrap();
    let mut page = Events::open(&webstore.admin).await;
    page.until("a first sample", SOON, |_| true).await;
    webstore.signal("TERM");
    assert_eq!(webstore.wait(SOON).code(), Some(0));
    let end = async { while page.next().await.is_some() {} };
    timeout(SOON, end).await.expect("the stream ends too");
}

#[tokio::test]
async fn a_lift_whose_page_is_closed_before_the_answer_is_carried_through_and_logged() {
    let redis = RedisServer::start();
    let distance = Distance::before(&redis).await;
    let config = format!("{PATIENT}{PROXIED}[suspicion.bans]\n");
    let webstore = Webstore::start(Some(distance.url()), &config);
    let mut page = Events::open(&webstore.admin).await;
    for n in 0..10 {
        from(&webstore.client(), SCANNER, &format!("/wp-admin/{n}")).await;
    }
    let banned = |now: &Value| now["bans"]["total"] == 1;
    page.until("the ban", SOON, banned).await;

    let token = token(&webstore.admin).await;
    distance.hold();
    let already = distance.asked();
    let mut stream = TcpStream::connect(&webstore.admin).await.unwrap();
    let body = json!({ "client": SCANNER }).to_string();
    let request = format!(
        "POST /bans/lift HTTP/1.1\r\nhost: localhost\r\nx-palisade-token: {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // A request whose client leaves before it is heard is dropped, so the client leaves when the lift has been sent.
    distance
        .asked_for(&format!("\r\n{SCANNER}\r\n"), already)
        .await;
    stream.shutdown().await.unwrap();
    // The end of the connection, without an answer.
    let mut reply = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut reply)).await;
    assert_eq!(read.unwrap().unwrap(), 0);
    distance.let_through();
    let lifted = |now: &Value| now["events"][0]["event"] == "ban_lifted";
    let now = page.until("the lift among the events", SOON, lifted).await;
    assert_eq!(now["events"][0]["client"], SCANNER);
}

#[tokio::test]
async fn while_redis_hangs_the_page_goes_on_and_says_so() {
    let redis = RedisServer::start();
    let config = format!("[store]\ndeadline = '2s'\n{PROXIED}[suspicion.bans]\n");
    let webstore = Webstore::start(Some(&redis.url()), &config);
    let shop = webstore.client();
    let mut page = Events::open(&webstore.admin).await;
    for n in 0..10 {
        from(&shop, SCANNER, &format!("/wp-admin/{n}")).await;
    }
    let banned = |now: &Value| now["bans"]["total"] == 1 && now["bans"]["stale"] == false;
    page.until("the ban", SOON, banned).await;

    redis.pause();
    let start = Instant::now();
    let mut last = None;
    loop {
        from(&shop, "203.0.113.9", "/us/products").await;
        let (_, now) = timeout(SOON, page.next()).await.unwrap().unwrap();
        let uptime = now["sample"]["uptime"].as_u64().unwrap();
        // Each second has its frame, whatever the store does.
        let pause = uptime - last.replace(uptime).unwrap_or(uptime);
        assert!(pause < 5_000, "{pause} ms between two frames");
        if now["store"]["state"] == "failing" && now["bans"]["stale"] == true {
            assert_eq!(now["store"]["last_error"], "timeout");
            assert!(now["store"]["failed"].as_u64().unwrap() > 0);
            // What was last known is still shown.
            assert_eq!(now["bans"]["list"][0]["client"], SCANNER);
            break;
        }
        assert!(start.elapsed() < SOON, "it does not say so: {now}");
    }
    // Whom this process bans alone meanwhile can be found, and let in.
    let alone = "203.0.113.8";
    for n in 0..10 {
        from(&shop, alone, &format!("/wp-admin/{n}")).await;
    }
    let lists = |now: &Value| {
        let bans = now["bans"]["list"].as_array().unwrap();
        bans.iter().any(|ban| ban["client"] == alone)
    };
    let now = page.until("the ban that holds here", SOON, lists).await;
    assert_eq!(now["bans"]["total"], 2, "{now}");
    assert_eq!(lift(&webstore.admin, alone).await.status, 503);
    page.until("none of that client", SOON, |now| !lists(now))
        .await;
    assert_eq!(from(&shop, alone, "/us/products").await, 200);
    // The store cannot lift: the answer says so, and what can be done.
    let refused = lift(&webstore.admin, "203.0.113.7").await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("203.0.113.7"), "{}", refused.body);

    redis.resume();
    let well = |now: &Value| now["store"]["state"] == "ok" && now["bans"]["stale"] == false;
    page.until("the store is back", SOON, well).await;
}

#[tokio::test]
async fn thousands_of_clients_show_as_ten_and_a_stated_error() {
    let webstore = Webstore::start(None, PROXIED);
    let shop = webstore.client();
    let mut page = Events::open(&webstore.admin).await;
    for n in 0..3_000 {
        assert_eq!(
            from(&shop, &format!("2001:db8:{n:x}::1"), "/none").await,
            404
        );
        if n % 10 == 0 {
            assert_eq!(from(&shop, "2001:db8:ffff:1::2", "/none").await, 404);
        }
    }
    let all = |now: &Value| now["suspicious"]["total"] == 3_300;
    let now = page.until("every failure", SOON, all).await;
    let top = &now["suspicious"];
    let clients = top["clients"].as_array().unwrap();
    assert_eq!(clients.len(), 10);
    assert!(top["error"].as_u64().unwrap() <= 3_300 / 256);
    // Who came 300 times, in one minute or in two.
    assert_eq!(clients[0]["client"], "2001:db8:ffff:1::/64");
    let count = |name: &str| clients[0][name].as_u64().unwrap();
    assert!((count("count") - count("error")..=count("count")).contains(&300));
}
