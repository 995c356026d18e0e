use crate::support::Webstore;

#[test]
fn the_page_loads_only_what_the_shop_serves_and_runs_nothing_inline() {
    let store = Webstore::configured("[sessions]");
    let page = store.get("/account");
    assert_eq!(page.status, 200);
    let named = |mark: &str| {
        let parts = page.body.split(mark).skip(1);
        let files = parts.map(|rest| rest.split('"').next().unwrap().to_owned());
        files.collect::<Vec<_>>()
    };
    let mut files = [named(r#"src=""#), named(r#"rel="stylesheet" href=""#)].concat();
    files.extend(["dom.js", "text.js"].map(|module| format!("/account/{module}")));
    assert_eq!(files.len(), 6, "{files:?}");
    let strict = |path: &str, kind: &str| {
        let answer = store.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.header("content-type").unwrap().contains(kind),
            "{path}"
        );
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    };
    strict("/account", "text/html");
    for file in &files {
        let kind = if file.ends_with(".css") {
            "text/css"
        } else {
            "text/javascript"
        };
        strict(file, kind);
    }
    store.get("/account/main.js").problem(404);
    store.get("/account/../account").problem(404);
}

#[test]
fn without_sessions_there_is_no_page() {
    let store = Webstore::start(&[]);
    store.get("/account").problem(404);
    store.get("/account/account.js").problem(404);
}
