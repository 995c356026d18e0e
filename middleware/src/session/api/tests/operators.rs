use std::path::PathBuf;

use super::super::Operators;
use super::*;
use crate::model::Secret;
use crate::session::SessionLayer;
use crate::store::memory::MemoryStore;

const TOKEN: &str = "an operator's token of tests";

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("palisade-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn settings(path: PathBuf) -> SessionsConfig {
    SessionsConfig {
        operator_token_file: Some(path),
        ..SessionsConfig::default()
    }
}

fn shop(name: &str) -> (Shop, Operators) {
    let path = file(name, &format!("{TOKEN}\n"));
    let shop = Shop::new(settings(path.clone()));
    std::fs::remove_file(path).unwrap();
    let operators = Operators::new(&shop.bench.sessions).unwrap();
    (shop, operators)
}

fn operator(ask: Ask) -> Request<String> {
    ask.with("authorization", format!("Bearer {TOKEN}"))
        .request()
}

#[tokio::test]
async fn an_operator_sees_and_ends_the_sessions_of_any_user() {
    let (shop, operators) = shop("sees");
    let (ada, _other, bob) = (
        shop.log_in("ada@example.org").await,
        shop.log_in("ada@example.org").await,
        shop.log_in("bob").await,
    );
    let list = || operator(ask("GET", "/sessions?user=ada%40example.org"));
    let listed = value(&operators.answer(list()).await);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["is_current"], false);
    let end = |user: &str, issued: &Issued| {
        operator(ask(
            "DELETE",
            &format!("/sessions/{user}/{}", issued.session.id),
        ))
    };
    assert_eq!(operators.answer(end("bob", &ada)).await.status(), 404);
    assert_eq!(
        operators
            .answer(end("ada%40example.org", &ada))
            .await
            .status(),
        204
    );
    assert_eq!(
        operators
            .answer(end("ada%40example.org", &ada))
            .await
            .status(),
        404
    );
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&ada)).await, 401);
    let all = ask("POST", "/sessions/ada@example.org/terminate-all").json(r#"{"reason":"stolen"}"#);
    assert_eq!(
        operators.answer(operator(all)).await.body(),
        r#"{"terminated":1}"#
    );
    assert_eq!(
        value(&operators.answer(list()).await),
        serde_json::json!([])
    );
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&bob)).await, 200);
}

#[tokio::test]
async fn without_the_token_nothing_is_told_or_ended() {
    let (shop, operators) = shop("token");
    let ada = shop.log_in("ada").await;
    let calls = [
        ask("GET", "/sessions?user=ada"),
        ask("DELETE", &format!("/sessions/ada/{}", ada.session.id)),
        ask("POST", "/sessions/ada/terminate-all"),
        ask("GET", "/sessions/x"),
    ];
    let tokens = [
        None,
        Some("Bearer".to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Bearer {}", &TOKEN[1..])),
        Some(format!("Bearer {}", ada.token.expose())),
    ];
    for asked in calls {
        for token in &tokens {
            let mut asked = asked.clone();
            if let Some(token) = token {
                asked = asked.with("authorization", token);
            }
            let response = operators.answer(asked.request()).await;
            assert_eq!(response.status(), 401, "{token:?}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
        let twice = asked.with("authorization", format!("Bearer {TOKEN}"));
        assert_eq!(operators.answer(operator(twice)).await.status(), 401);
    }
    assert_eq!(shop.status(ask("GET", SESSIONS).bearer(&ada)).await, 200);
}

#[tokio::test]
async fn what_an_operator_asks_wrongly_is_refused_by_name() {
    let (_, operators) = shop("wrongly");
    for (method, path, status) in [
        ("GET", "/sessions", 400),
        ("GET", "/sessions?user=", 400),
        ("GET", "/sessions?user=%zz", 400),
        ("GET", "/sessions?user=a&user=b", 400),
        ("GET", "/sessions?name=a", 400),
        ("POST", "/sessions?user=a", 405),
        ("GET", "/sessions/ada", 404),
        ("DELETE", "/sessions/ada/x", 404),
        ("DELETE", "/sessions/ada/x/y", 404),
        ("GET", "/sessions/ada/terminate-all", 405),
        (
            "POST",
            "/sessions/ada/9f3c1b0e-5d64-4c7a-8f0b-2b6d1a9e4c11",
            405,
        ),
    ] {
        let response = operators.answer(operator(ask(method, path))).await;
        assert_eq!(response.status(), status, "{method} {path}");
    }
    let all = ask("POST", "/sessions/ada/terminate-all").json(r#"{"keep_current":true}"#);
    assert_eq!(operators.answer(operator(all)).await.status(), 400);
}

#[test]
fn a_token_that_cannot_be_read_is_refused_by_name_and_never_told() {
    let layer = |path: PathBuf| {
        let secret = Secret::from_bytes(b"a secret of the tests");
        SessionLayer::new(MemoryStore::new(), secret, settings(path))
    };
    let missing = std::env::temp_dir().join("palisade-no-such-file");
    let error = layer(missing).unwrap_err().to_string();
    assert!(
        error.starts_with("`operator_token_file` cannot be `"),
        "{error}"
    );
    assert!(
        error.contains("allowed is a file that can be read"),
        "{error}"
    );
    let path = file("short", "short-token\n");
    let error = layer(path.clone()).unwrap_err().to_string();
    assert!(
        error.contains("at least 16 bytes") && !error.contains("short-token"),
        "{error}"
    );
    std::fs::write(&path, TOKEN).unwrap();
    let layer = layer(path.clone()).unwrap();
    std::fs::remove_file(path).unwrap();
    assert!(!format!("{layer:?} {:?}", layer.sessions()).contains(TOKEN));
    assert!(Operators::new(&Bench::new(SessionsConfig::default()).sessions).is_none());
}
