//! The calls of operators on the admin listener, over real HTTP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::admin::Server;
use super::exposition::telemetry;
use crate::model::{Secret, UserId};
use crate::ops::Ops;
use crate::session::{NewSession, SessionLayer, Sessions, SessionsConfig};
use crate::stack::Stack;
use crate::store::memory::MemoryStore;

const TOKEN: &str = "an operator's token of this test";

fn sessions(with_token: bool) -> Sessions {
    let mut settings = SessionsConfig::default();
    let name = format!("palisade-operators-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    if with_token {
        std::fs::write(&path, TOKEN).unwrap();
        settings.operator_token_file = Some(path.clone());
    }
    let secret = Secret::from_bytes(b"a secret of the tests");
    let layer = SessionLayer::new(MemoryStore::new(), secret, settings).unwrap();
    if with_token {
        std::fs::remove_file(path).unwrap();
    }
    layer.sessions().unwrap()
}

async fn send(server: &Server, line: &str, host: &str, token: &str) -> String {
    let head = format!("{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn operators_end_sessions_beside_the_page_and_the_metrics() {
    let sessions = sessions(true);
    let ada = UserId::kept("ada").unwrap();
    let begun = sessions.begin(&ada).await.unwrap();
    let issued = sessions.create(begun, NewSession::new()).await.unwrap();
    let id = issued.session.id;
    let ops = Ops::new("shop");
    Stack::builder().ops(&ops).build().unwrap();
    let server = Server::start(telemetry().admin().page(&ops).sessions(&sessions)).await;
    let list = "GET /sessions?user=ada";
    let end = format!("DELETE /sessions/ada/{id}");
    for (line, host, token, status) in [
        (list, "localhost", TOKEN, 200),
        (list, "localhost", "another", 401),
        (list, "evil.example", TOKEN, 421),
        (&end, "localhost", "another", 401),
        (&end, "localhost", TOKEN, 204),
        (&end, "localhost", TOKEN, 404),
        ("POST /sessions/ada/terminate-all", "localhost", TOKEN, 200),
        ("GET /sessionsx", "localhost", TOKEN, 404),
        ("GET /metrics", "localhost", TOKEN, 200),
        ("GET /", "localhost", TOKEN, 200),
    ] {
        let answer = send(&server, line, host, token).await;
        let wanted = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&wanted), "{line}: {answer}");
        assert!(!answer.contains(TOKEN));
        if status == 200 && line == list {
            assert!(answer.contains(&id.to_string()), "{answer}");
        }
    }
    assert!(sessions.list(&ada).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_token_file_there_are_no_such_calls() {
    let server = Server::start(telemetry().admin().sessions(&sessions(false))).await;
    for line in ["GET /sessions?user=ada", "POST /sessions/ada/terminate-all"] {
        let answer = send(&server, line, "localhost", "").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}
