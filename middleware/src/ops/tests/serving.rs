use tokio::time::timeout;

use super::*;

fn token(ops: &Ops) -> String {
    ops.0.token.as_ref().unwrap().as_str().to_owned()
}

pub(super) async fn lift(ops: &Ops, page: &OpsService, body: &str) -> Answer {
    let token = token(ops);
    let headers = [
        ("x-palisade-token", &*token),
        ("content-type", "application/json"),
    ];
    ask(page, "POST", "/bans/lift", &headers, body).await
}

#[tokio::test]
async fn the_page_holds_the_token_and_its_headers_keep_others_out() {
    let ops = fed(Ops::new("shop"));
    let page = ask(&ops.service(), "GET", "/", &[], "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.body.contains(&format!(r#"content="{}""#, token(&ops))));
    assert!(!page.body.contains("{{"));
    let csp = page.header("content-security-policy");
    for directive in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ] {
        assert!(csp.split("; ").any(|it| it == directive), "{directive}");
    }
    let files = [
        "/",
        "/main.js",
        "/panels/funnel.js",
        "/ops.css",
        "/events",
        "/bans/lift",
        "/nothing",
    ];
    for path in files {
        let answer = ask(&ops.service(), "HEAD", path, &[], "").await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        assert!(
            !answer.header("content-security-policy").is_empty(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn head_is_get_without_a_body_and_takes_no_place() {
    let page = fed(Ops::new("shop")).service();
    for path in ["/", "/main.js", "/panels/funnel.js", "/ops.css"] {
        let got = ask(&page, "GET", path, &[], "").await;
        let head = ask(&page, "HEAD", path, &[], "").await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.body, "");
        assert_eq!(head.header("content-length"), got.body.len().to_string());
        assert_eq!(head.header("content-type"), got.header("content-type"));
    }
    for _ in 0..20 {
        let head = ask(&page, "HEAD", "/events", &[], "").await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.header("content-type"), "text/event-stream");
    }
}

/// The modules that the rooms have, as they are served.
fn rooms_with_panels() -> Vec<String> {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let rooms = std::fs::read_dir(sources).unwrap().map(Result::unwrap);
    let rooms = rooms.filter(|room| room.path().join("panel.js").exists());
    let mut modules: Vec<_> = rooms
        .map(|room| format!("panels/{}.js", room.file_name().to_str().unwrap()))
        .collect();
    modules.sort();
    modules
}

#[tokio::test]
async fn a_page_lists_its_panels_and_serves_the_module_of_each_and_what_it_imports() {
    let service = fed(Ops::new("shop")).service();
    let page = ask(&service, "GET", "/", &[], "").await.body;
    let listed: Vec<_> = page.split("<script ").skip(1).collect();
    let source = |script: &str| {
        let (_, rest) = script.split_once("src=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let mut files: Vec<_> = listed.iter().map(|it| source(it)).collect();
    assert_eq!(files.first().unwrap(), "theme.js");
    assert_eq!(files.last().unwrap(), "main.js");
    let mut panels = files[1..files.len() - 1].to_vec();
    panels.sort();
    assert_eq!(panels, rooms_with_panels());
    // And everything that these import, from where they stand.
    let mut at = 0;
    while let Some(file) = files.get(at).cloned() {
        at += 1;
        let answer = ask(&service, "GET", &format!("/{file}"), &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert_eq!(
            answer.header("content-type"),
            "text/javascript; charset=utf-8"
        );
        let imports = answer
            .body
            .lines()
            .filter(|line| line.starts_with("import "));
        for import in imports {
            let (_, from) = import.split_once(" from '").unwrap();
            let name = from.trim_end_matches("';");
            let up = if file.starts_with("panels/") {
                "../"
            } else {
                "./"
            };
            let name = name
                .strip_prefix(up)
                .unwrap_or_else(|| panic!("{file}: {import}"));
            if !files.iter().any(|it| it == name) {
                files.push(name.to_owned());
            }
        }
    }
    assert!(files.len() > 12, "{files:?}");
}

#[tokio::test]
async fn a_page_that_no_stack_feeds_says_so() {
    let mut events = Events::open(&Ops::new("shop").service()).await;
    let (name, hello) = events.next().await.unwrap();
    assert_eq!((&*name, &hello["fed"]), ("hello", &Value::Bool(false)));
    // It has no panels, and so nothing to act on.
    let page = Ops::new("shop").service();
    let answer = ask(&page, "GET", "/", &[], "").await;
    assert!(!answer.body.contains("data-panel"));
    assert_eq!(
        ask(&page, "GET", "/panels/funnel.js", &[], "").await.status,
        404
    );
    let answer = ask(&page, "POST", "/bans/lift", &[], "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_with_a_problem() {
    let page = fed(Ops::new("shop")).service();
    for (method, path, allow) in [
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/main.js", "GET, HEAD"),
        ("OPTIONS", "/events", "GET, HEAD"),
        ("GET", "/bans/lift", "POST"),
        ("HEAD", "/bans/lift", "POST"),
    ] {
        let answer = ask(&page, method, path, &[], "").await;
        assert_eq!(
            answer.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), allow);
    }
    let answer = ask(&page, "GET", "/favicon.ico", &[], "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["status"], 404);
}

#[tokio::test]
async fn a_name_that_leads_here_from_elsewhere_is_refused_for_everything() {
    let ops = Ops::builder("shop").allow_host("ops.example.com").build();
    let page = ops.unwrap().service();
    let good = [("host", "OPS.example.com:9464")];
    assert_eq!(
        ask(&page, "GET", "/", &good, "").await.status,
        StatusCode::OK
    );
    let evil = [("host", "evil\"<b>.example")];
    for (method, path) in [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/main.js"),
        ("GET", "/events"),
        ("POST", "/bans/lift"),
        ("GET", "/nothing"),
    ] {
        let answer = ask(&page, method, path, &evil, "").await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(!answer.body.contains(r#"evil"<"#), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_another_site_has_a_browser_send_is_refused() {
    let ops = Ops::new("shop");
    let page = ops.service();
    let token = token(&ops);
    let json = ("content-type", "application/json");
    let own = ("x-palisade-token", &*token);
    let body = r#"{"client": "192.0.2.1"}"#;
    for wrong in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:8000"),
        ("host", "evil.example"),
    ] {
        let answer = ask(&page, "POST", "/bans/lift", &[json, own, wrong], body).await;
        let wanted = if wrong.0 == "host" { 421 } else { 403 };
        assert_eq!(answer.status, wanted, "{wrong:?}");
        let preflight = ask(&page, "OPTIONS", "/bans/lift", &[wrong], "").await;
        assert_eq!(preflight.header("access-control-allow-origin"), "");
        assert!(!preflight.status.is_success());
    }
    // The page itself is let through to where it stands: here no stack feeds it.
    let right = [
        json,
        own,
        ("sec-fetch-site", "same-origin"),
        ("origin", "http://127.0.0.1:9464"),
    ];
    let answer = ask(&page, "POST", "/bans/lift", &right, body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("no stack feeds this page"));
}

#[tokio::test]
async fn an_action_without_the_token_is_refused_before_its_body_is_read() {
    let ops = fed(Ops::new("shop"));
    let json = ("content-type", "application/json");
    let zeros = "0".repeat(32);
    for token in [None, Some(""), Some("x"), Some(&*zeros)] {
        let headers: Vec<_> = [json]
            .into_iter()
            .chain(token.map(|token| ("x-palisade-token", token)))
            .collect();
        let mut request = Request::post("/bans/lift").header("host", "localhost");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Never).unwrap();
        let answer = whole(ops.service().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token:?}");
        assert!(answer.body.contains("x-palisade-token"));
    }
}

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_long() {
    let ops = fed(Ops::new("shop"));
    let request = Request::post("/bans/lift")
        .header("host", "localhost")
        .header("x-palisade-token", token(&ops))
        .header("content-type", "application/json")
        .body(Never)
        .unwrap();
    let answer = timeout(Duration::from_secs(6), ops.service().oneshot(request)).await;
    let answer = whole(answer.unwrap().unwrap()).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_body_that_cannot_be_used_is_refused_by_its_value() {
    let ops = fed(Ops::new("shop"));
    let page = ops.service();
    let long = format!(r#"{{"client": "{}"}}"#, "1".repeat(1_100));
    for (body, status) in [
        ("", 400),
        ("null", 400),
        ("[]", 400),
        (r#"{"client": 1}"#, 400),
        (r#"{"client": "192.0.2.1", "more": 1}"#, 400),
        (r#"{"client": ""}"#, 400),
        (r#"{"client": "192.0.2.1/24"}"#, 400),
        (r#"{"client": "2001:db8::1"}"#, 400),
        (r#"{"client": "*"}"#, 400),
        (&long, 413),
    ] {
        let answer = lift(&ops, &page, body).await;
        assert_eq!(answer.status, status, "{body}");
        assert_eq!(answer.json()["status"], status);
    }
    let answer = lift(&ops, &page, r#"{"client": "<img src=x>\n\u202e"}"#).await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(r"<img src=x>\n\u{202e}"), "{detail}");
    let answer = lift(
        &ops,
        &page,
        &format!(r#"{{"client": "{}"}}"#, "x".repeat(900)),
    )
    .await;
    assert!(answer.body.len() < 400, "{}", answer.body);
    let token = token(&ops);
    let form = [
        ("x-palisade-token", &*token),
        ("content-type", "text/plain"),
    ];
    let answer = ask(
        &page,
        "POST",
        "/bans/lift",
        &form,
        r#"{"client": "192.0.2.1"}"#,
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_page_that_only_shows_refuses_every_action_and_has_no_token() {
    let ops = fed(Ops::builder("shop").read_only().build().unwrap());
    let page = ask(&ops.service(), "GET", "/", &[], "").await;
    assert!(page.body.contains(r#"content="""#));
    let headers = [
        ("x-palisade-token", ""),
        ("content-type", "application/json"),
    ];
    let body = r#"{"client": "192.0.2.1"}"#;
    let answer = ask(&ops.service(), "POST", "/bans/lift", &headers, body).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.body.contains("read_only"));
    let (_, hello) = Events::open(&ops.service()).await.next().await.unwrap();
    assert_eq!(hello["actions"], false);
}

#[tokio::test(start_paused = true)]
async fn the_ninth_stream_is_refused_until_one_is_closed() {
    let ops = Ops::new("shop");
    // Of two services of one hub.
    let (page, other) = (ops.service(), ops.service());
    let mut streams = Vec::new();
    for n in 0..8 {
        streams.push(Events::open(if n % 2 == 0 { &page } else { &other }).await);
    }
    let refused = ask(&page, "GET", "/events", &[], "").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(refused.header("content-type"), "application/problem+json");
    drop(streams.pop());
    let mut ninth = Events::open(&page).await;
    ninth.until(|_| true).await;
}

#[tokio::test(start_paused = true)]
async fn all_streams_share_one_text_and_a_slow_one_is_told_the_newest() {
    let ops = Ops::new("shop");
    let page = ops.service();
    let (mut reader, mut slow) = (Events::open(&page).await, Events::open(&page).await);
    for events in [&mut reader, &mut slow] {
        assert_eq!(events.next().await.unwrap().0, "hello");
    }
    let mut last = Bytes::new();
    for _ in 0..5 {
        last = reader.frame().await.unwrap();
    }
    let newest = slow.frame().await.unwrap();
    assert_eq!(newest, last);
    assert_eq!(newest.as_ptr(), last.as_ptr(), "a copy was made");
    assert!(newest.starts_with(b"id: 5\n"), "{newest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_closed_ends_its_streams_and_no_others() {
    let ops = Ops::new("shop");
    let (page, other) = (ops.service(), ops.service());
    let (mut ends, mut goes_on) = (Events::open(&page).await, Events::open(&other).await);
    ends.until(|_| true).await;
    let ended = tokio::spawn(async move { while ends.next().await.is_some() {} });
    page.clone().close();
    timeout(LONG, ended).await.unwrap().unwrap();
    let refused = ask(&page, "GET", "/events", &[], "").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..3 {
        goes_on.until(|_| true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_gives_its_place_away() {
    let ops = Ops::new("shop");
    let page = ops.service();
    let mut unread = Vec::new();
    for _ in 0..7 {
        unread.push(Events::open(&page).await);
    }
    let mut reader = Events::open(&page).await;
    for _ in 0..35 {
        reader.until(|_| true).await;
    }
    for _ in 0..7 {
        unread.push(Events::open(&page).await);
    }
    assert_eq!(ask(&page, "GET", "/events", &[], "").await.status, 503);
    // What it was promised is all that it still gets.
    let mut first = unread.swap_remove(0);
    assert_eq!(first.next().await.unwrap().0, "hello");
    assert!(first.next().await.is_none());
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_serves_it_nested_and_as_a_route() {
    let ops = fed(Ops::new("shop"));
    let nested = axum::Router::new().nest_service("/internal/ops", ops.service());
    let routed = axum::Router::new()
        .route_service("/internal/ops", ops.service())
        .route_service("/internal/ops/", ops.service())
        .route_service("/internal/ops/{*path}", ops.service());
    let prefixed = axum::Router::new().fallback_service(ops.service().at("/internal/ops/"));
    let ask = async |router: &axum::Router, path: &str| {
        let request = request("GET", path, &[], "").map(axum::body::Body::new);
        let response = router.clone().oneshot(request).await.unwrap();
        let location = response.headers().get("location").cloned();
        let location = location.map(|it| it.to_str().unwrap().to_owned());
        (response.status().as_u16(), location)
    };
    for router in [nested, routed, prefixed] {
        let (status, location) = ask(&router, "/internal/ops").await;
        assert_eq!((status, location.as_deref()), (308, Some("./ops/")));
        for path in ["", "main.js", "panels/funnel.js", "ops.css", "events"] {
            let path = format!("/internal/ops/{path}");
            assert_eq!(ask(&router, &path).await.0, 200, "{path}");
        }
        assert_eq!(ask(&router, "/internal/ops/bans/lift").await.0, 405);
        assert_eq!(ask(&router, "/internal/ops/nothing").await.0, 404);
    }
}
