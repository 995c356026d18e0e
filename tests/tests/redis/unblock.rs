//! A client or a customer is let in again, in every process.

use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use palisade::client::{Peer, Secret, UserId};
use palisade::config::Config;
use palisade::stack::Stack;
use palisade::suspicion::SecurityEvent;
use palisade_tests::redis::RedisServer;
use palisade_tests::time::until;
use tower::{Layer, ServiceExt, service_fn};

/// A stack is a process: it remembers for itself.
fn process(redis: Option<&RedisServer>) -> Stack {
    observed(redis, |_| {})
}

/// The same, with an observer of its security events.
fn observed(
    redis: Option<&RedisServer>,
    tell: impl Fn(&SecurityEvent<'_>) + Send + Sync + 'static,
) -> Stack {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"a secret of the tests").unwrap();
    let secret_file = secret.path().display();
    let mut store = format!("[store]\ndeadline = '10s'\nsecret_file = '{secret_file}'\n");
    if let Some(redis) = redis {
        store.push_str(&format!("redis_url = '{}'\n", redis.url()));
    }
    let limits = "[rate_limit]\nip = '5/1h'\nuser = '3/1h'\n[suspicion.bans]\n";
    Stack::builder()
        .config(Config::from_toml(&(store + limits)).unwrap())
        .user(|request: &Parts| Some(request.headers.get("user")?.to_str().ok()?.to_owned()))
        .observe_security(tell)
        .build()
        .unwrap()
}

async fn send(stack: &Stack, address: &str, user: Option<&str>) -> StatusCode {
    let service = stack.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from("hello")))
    }));
    let mut request = Request::new(());
    let peer = Peer((address.parse::<std::net::IpAddr>().unwrap(), 5000).into());
    request.extensions_mut().insert(peer);
    if let Some(user) = user {
        request.headers_mut().insert("user", user.parse().unwrap());
    }
    service.oneshot(request).await.unwrap().status()
}

async fn until_let_in(stack: &Stack, address: &str, user: Option<&str>) {
    let let_in = async || send(stack, address, user).await == StatusCode::OK;
    until(&format!("{address} is let in"), let_in).await;
}

#[tokio::test]
async fn a_client_and_a_customer_are_let_in_by_every_process_on_memory_and_on_redis() {
    let redis = RedisServer::start();
    let shared = [process(Some(&redis)), process(Some(&redis))];
    let alone = process(None);
    for stacks in [vec![&shared[0], &shared[1]], vec![&alone]] {
        let unblock = stacks[0].unblock();
        // A network with every address of it, and a user whose id is hashed.
        let (one, other, user) = ("2001:db8::1", "2001:db8::2", "Ada Lovelace");
        for _ in 0..5 {
            assert_eq!(send(stacks[0], one, None).await, StatusCode::OK);
        }
        for n in 0..3 {
            let address = format!("192.0.2.{n}");
            assert_eq!(send(stacks[0], &address, Some(user)).await, StatusCode::OK);
        }
        for stack in &stacks {
            let denied = StatusCode::TOO_MANY_REQUESTS;
            assert_eq!(send(stack, one, None).await, denied);
            assert_eq!(send(stack, "192.0.2.9", Some(user)).await, denied);
        }
        let hour = Duration::from_secs(3_600);
        let network = palisade::client::Network::of(one.parse().unwrap(), 64);
        stacks[0].suspicions().ban(network, hour).await.unwrap();
        let ada = UserId::new(user, &Secret::from_bytes(b"a secret of the tests"));
        stacks[0].suspicions().ban(ada, hour).await.unwrap();

        let unblocked = unblock.client(other.parse().unwrap()).await.unwrap();
        assert!(unblocked.was_banned && unblocked.was_limited);
        let unblocked = unblock.user(user).await.unwrap();
        assert!(unblocked.was_banned && unblocked.was_limited);
        // At once where it was said, and soon everywhere.
        assert_eq!(send(stacks[0], one, None).await, StatusCode::OK);
        let ok = send(stacks[0], "192.0.2.9", Some(user)).await;
        assert_eq!(ok, StatusCode::OK);
        for stack in &stacks {
            until_let_in(stack, one, None).await;
            until_let_in(stack, "192.0.2.9", Some(user)).await;
        }
        let again = unblock
            .client("203.0.113.1".parse().unwrap())
            .await
            .unwrap();
        assert!(!again.was_banned && !again.was_limited);
    }
}

#[tokio::test]
async fn to_let_somebody_in_is_a_security_event() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let stack = observed(None, move |event| {
        let whom = (event.as_str(), event.name.to_owned());
        tell.lock().unwrap().push(whom);
    });
    let unblock = stack.unblock();
    unblock.client("192.0.2.1".parse().unwrap()).await.unwrap();
    unblock.user("Ada Lovelace").await.unwrap();
    let ada = UserId::new(
        "Ada Lovelace",
        &Secret::from_bytes(b"a secret of the tests"),
    );
    let expected = ["192.0.2.1", ada.as_str()].map(|name| ("client_unblocked", name.to_owned()));
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn in_an_outage_it_is_said_that_the_store_did_not_take_it() {
    let redis = RedisServer::stopped();
    let stack = process(Some(&redis));
    for _ in 0..5 {
        assert_eq!(send(&stack, "192.0.2.1", None).await, StatusCode::OK);
    }
    let denied = StatusCode::TOO_MANY_REQUESTS;
    assert_eq!(send(&stack, "192.0.2.1", None).await, denied);
    assert!(
        stack
            .unblock()
            .client("192.0.2.1".parse().unwrap())
            .await
            .is_err()
    );
    // The log of this process is forgotten all the same.
    assert_eq!(send(&stack, "192.0.2.1", None).await, StatusCode::OK);
}
