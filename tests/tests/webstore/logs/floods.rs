//! Whatever comes in whatever number, in process: few lines, each as documented, and nothing that a client wrote.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv6Addr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Extensions, Method, Request, Response, StatusCode, Uri};
use palisade::body::Body;
use palisade::client::{Network, Peer, Route, Secret};
use palisade::config::Config;
use palisade::funnel::store::{Journeys, Reach, VisitStore, Visitor};
use palisade::stack::{Stack, StackBuilder};
use palisade::store::redis::RedisStore;
use palisade::suspicion::{BanReason, FailureResult, IncidentKind};
use palisade_tests::SOON;
use palisade_tests::redis::RedisServer;
use serde_json::Value;
use tower::{Layer, Service, service_fn};
use tracing::subscriber::DefaultGuard;

use super::documented::Documented;

/// What was written on this thread.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// In the webstore's format.
    fn json() -> (Self, DefaultGuard) {
        let written = Self::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(subscriber.finish());
        (written, guard)
    }

    /// In the webstore's format, without what is no warning.
    pub(super) fn warnings() -> (Self, DefaultGuard) {
        let written = Self::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(subscriber.finish());
        (written, guard)
    }

    /// In the default format of `tracing_subscriber`, which writes fields as they are.
    fn plain() -> (Self, DefaultGuard) {
        let written = Self::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(subscriber.finish());
        (written, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines, each of which is as documented.
    pub(super) fn lines(&self) -> Vec<Value> {
        let documented = Documented::read();
        let lines = self.text();
        let lines = lines.lines().map(|line| {
            let line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            documented.check(&line);
            line
        });
        lines.collect()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many lines of each event there are; access lines by class.
fn counted(lines: &[Value]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let name = line["class"].as_str().or(line["event"].as_str()).unwrap();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// The requests that the lines of a class stand for, or the events that the lines of an event do.
fn represented(lines: &[Value], what: &str) -> u64 {
    let of_what = lines
        .iter()
        .filter(|line| line["class"] == what || line["event"] == what);
    of_what
        .map(|line| line["represents"].as_u64().unwrap())
        .sum()
}

/// The most lines of a class in the time since then: the seconds of the log's clock that it touches, at ten lines each.
fn most_lines(since: Instant) -> u64 {
    10 * (since.elapsed().as_secs() + 2)
}

fn stack(config: &str, also: impl FnOnce(StackBuilder) -> StackBuilder) -> Stack {
    let config = Config::from_toml(&format!("[log]\naccess = 10\n{config}")).unwrap();
    let builder = Stack::builder()
        .config(config)
        .user(|request: &Parts| Some(request.headers.get("user")?.to_str().ok()?.to_owned()));
    also(builder).build().unwrap()
}

fn request(address: [u8; 4]) -> Request<()> {
    let mut request = Request::new(());
    request
        .extensions_mut()
        .insert(Peer((address, 5_000).into()));
    request
}

/// The status of an answer that needs no wait.
fn at_once<S>(service: &mut S, request: Request<()>) -> u16
where
    S: Service<Request<()>, Response = Response<Body<String>>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => response.status().as_u16(),
        Poll::Pending => panic!("the answer needs a wait"),
    }
}

fn answering(
    status: StatusCode,
) -> impl Service<Request<()>, Response = Response<String>, Error = Infallible, Future: Send + 'static>
+ Clone {
    service_fn(move |_: Request<()>| async move {
        let mut response = Response::new(String::new());
        *response.status_mut() = status;
        Ok(response)
    })
}

#[tokio::test]
async fn a_million_denied_requests_write_a_dozen_lines_a_second_that_stand_for_all_of_them() {
    const REQUESTS: u64 = 1_000_000;
    let (written, _guard) = Written::json();
    let stack = stack("[rate_limit]\nip = '1/24h'\n", |builder| builder);
    let mut service = stack.layer(answering(StatusCode::OK));
    let started = Instant::now();
    assert_eq!(at_once(&mut service, request([192, 0, 2, 1])), 200);
    for _ in 0..REQUESTS {
        assert_eq!(at_once(&mut service, request([192, 0, 2, 1])), 429);
    }
    let (lines, most) = (written.lines(), most_lines(started));
    println!("{} lines in {:?}", lines.len(), started.elapsed());
    let counts = counted(&lines);
    assert!(counts["refused"] <= most, "{counts:?}, above {most}");
    let others: Vec<_> = counts
        .iter()
        .filter(|(name, _)| **name != "refused")
        .collect();
    assert_eq!(others, [(&"ok", &1), (&"rate_limit_denying", &1)]);

    // A line of a later second stands for all that had none.
    let (mut requests, so_far) = (REQUESTS, written.lines().len());
    while written.text().lines().count() == so_far {
        at_once(&mut service, request([192, 0, 2, 1]));
        requests += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(represented(&written.lines(), "refused"), requests);
}

#[tokio::test]
async fn a_flood_of_404s_is_an_incident_and_few_lines() {
    const REQUESTS: u64 = 100_000;
    let (written, _guard) = Written::json();
    let stack = stack("[rate_limit]\nip = '1000000/1h'\n", |builder| builder);
    let mut service = stack.layer(answering(StatusCode::NOT_FOUND));
    let started = Instant::now();
    for sent in 0..REQUESTS {
        assert_eq!(at_once(&mut service, request([192, 0, 2, 1])), 404);
        if sent % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let tally = stack.suspicion_tally();
    while FailureResult::ALL
        .map(|fate| tally.failures(fate))
        .iter()
        .sum::<u64>()
        < REQUESTS
    {
        tokio::task::yield_now().await;
    }
    let lines = written.lines();
    let mut counts = counted(&lines);
    let most = most_lines(started);
    assert!(counts.remove("client_error").unwrap() <= most);
    // Of scanning and of abuse.
    assert_eq!(counts.remove("suspicious_activity"), Some(2));
    assert!(counts.remove("failures_dropped").unwrap_or(0) <= 1 + started.elapsed().as_secs() / 60);
    assert!(counts.is_empty(), "{counts:?}");
}

/// One failure above the threshold from each of ever new networks: no client writes more than a line for its incident and
/// one for its ban, and there is no end of clients.
#[tokio::test]
async fn incidents_and_bans_of_ever_new_networks_write_few_lines_that_stand_for_all_of_them() {
    const NETWORKS: u16 = 2_000;
    let (written, _guard) = Written::json();
    let config = "[rate_limit]\nip = '1000000/1h'\n[suspicion]\nendpoint_scanning = '1/1m'\n[suspicion.bans]\n";
    let stack = stack(config, |builder| builder);
    let mut service = stack.layer(answering(StatusCode::NOT_FOUND));
    let tally = stack.suspicion_tally();
    let scanning = BanReason::Incident(IncidentKind::EndpointScanning);
    let mut sent = 0;
    let mut fail = async |service: &mut _| {
        let mut request = Request::new(());
        let network = Ipv6Addr::new(0x2001, 0xdb8, 0, sent, 0, 0, 0, 1);
        let peer = Peer((network, 5_000).into());
        request.extensions_mut().insert(peer);
        assert_eq!(at_once(service, request), 404);
        sent += 1;
        while tally.bans(scanning) < sent.into() {
            tokio::task::yield_now().await;
        }
    };
    let started = Instant::now();
    for _ in 0..NETWORKS {
        fail(&mut service).await;
    }
    let seconds = started.elapsed().as_secs() + 2;
    let lines = written.lines();
    println!("{} lines in {:?}", lines.len(), started.elapsed());
    let counts = counted(&lines);
    for event in ["suspicious_activity", "client_banned"] {
        assert!((1..=20 * seconds).contains(&counts[event]), "{counts:?}");
    }

    // Another kind has lines of its own, and so does what an operator does.
    let suspicions = stack.suspicions();
    let other: Network = "192.0.2.9".parse().unwrap();
    for _ in 0..50 {
        suspicions
            .ban(other, Duration::from_secs(60))
            .await
            .unwrap();
        assert!(suspicions.lift(other).await.unwrap());
    }
    let lines = written.lines();
    let by_hand = lines.iter().filter(|line| line["reason"] == "manual");
    assert_eq!(by_hand.count(), 50);
    assert_eq!(counted(&lines)["ban_lifted"], 50);

    // A line of a later second stands for all that had none.
    let of_scanning = |lines: Vec<Value>| -> Vec<Value> {
        let is_one = |line: &Value| {
            line["reason"] == "endpoint_scanning" || line["kind"] == "endpoint_scanning"
        };
        lines.into_iter().filter(is_one).collect()
    };
    let (mut networks, so_far) = (u64::from(NETWORKS), of_scanning(lines).len());
    while of_scanning(written.lines()).len() < so_far + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        fail(&mut service).await;
        networks += 1;
    }
    let lines = of_scanning(written.lines());
    assert_eq!(tally.incidents(IncidentKind::EndpointScanning), networks);
    assert_eq!(represented(&lines, "suspicious_activity"), networks);
    assert_eq!(represented(&lines, "client_banned"), networks);
}

#[tokio::test]
async fn a_flood_of_failing_store_calls_is_a_line_for_each_that_does_without() {
    const REQUESTS: u64 = 20_000;
    let (written, _guard) = Written::json();
    let server = RedisServer::stopped();
    let config = format!(
        "[store]\nredis_url = '{}'\n[rate_limit]\nip = '1000000/1h'\nuser = '1000000/1h'\n\
         [suspicion.bans]\n[segments]\n[funnel]\nvisitors = '24h'\n",
        server.url()
    );
    let stack = stack(&config, |builder| builder);
    let mut service = stack.layer(answering(StatusCode::UNAUTHORIZED));
    let started = Instant::now();
    for sent in 0..REQUESTS {
        let mut request = request([192, 0, (sent % 250) as u8, 1]);
        request.headers_mut().insert("user", "ada".parse().unwrap());
        service.call(request).await.unwrap();
    }
    let (lines, most) = (written.lines(), most_lines(started));
    let mut counts = counted(&lines);
    let answered = counts.remove("client_error").unwrap() + counts.remove("refused").unwrap_or(0);
    assert!(answered <= 2 * most, "{answered}, above {most}");
    // An incident and a ban for a client and kind, of which there are three for a 401; this process counts now.
    assert!(counts.remove("suspicious_activity").unwrap_or(0) <= 3 * 250);
    assert!(counts.remove("client_banned").unwrap_or(0) <= 250);
    counts.remove("failures_dropped");
    counts.remove("secret_missing");
    // No stage is declared that visitors could reach.
    assert_eq!(counts.remove("setting_without_effect"), Some(1));
    // Of two policies.
    assert_eq!(counts.remove("rate_limit_fallback"), Some(2));
    assert_eq!(counts.remove("store_breaker_opened"), Some(1));
    assert!(counts.values().all(|lines| *lines == 1), "{counts:?}");
    let expected = ["suspicion_fallback", "bans_fallback", "customers_delayed"];
    let unexpected = counts.keys().filter(|name| !expected.contains(*name));
    assert_eq!(unexpected.count(), 0, "{counts:?}");
}

#[tokio::test]
async fn visitors_beyond_their_memory_are_a_line_and_a_server_that_does_not_tell_of_its_own_another()
 {
    let (written, _guard) = Written::warnings();
    let server = RedisServer::start();
    let secret = Secret::from_bytes(b"a secret of the tests");
    let visit = |n: u32| Reach {
        visitor: Visitor::anonymous(Network::of(n.to_be_bytes().into(), 64), &secret),
        stage: 0,
        age: Duration::ZERO,
    };
    let journeys = Journeys::of(["browse"], Duration::from_secs(86_400));
    let store = |memory: &str| {
        let store = RedisStore::builder(&server.url()).deadline(Duration::from_secs(10));
        let store = store.analytics_memory(memory.parse().unwrap());
        store.build().unwrap()
    };
    let bounded = store("1mb");
    let mut refused = Vec::new();
    for call in 0..30 {
        let reaches: Vec<_> = (0..100).map(|n| visit(100 * call + n)).collect();
        let progress = bounded.reach(journeys, &reaches).await.unwrap();
        refused.push(progress.iter().filter(|it| it.refused).count());
    }
    refused.retain(|keys| *keys > 0);
    assert!(refused.len() > 2, "{refused:?}");
    let line = ["event", "kind", "keys"].map(|field| written.lines()[0][field].to_string());
    let first = refused[0].to_string();
    assert_eq!(
        line,
        [r#""analytics_over_budget""#, r#""visitors""#, &first]
    );
    assert_eq!(written.lines().len(), 1);

    server.cli(&["ACL", "SETUSER", "palisade", "-info"]);
    let blind = store("50%");
    let started = Instant::now();
    while written.lines().len() == 1 {
        assert!(started.elapsed() < SOON, "nothing is told");
        let _ = blind.reach(journeys, &[visit(1)]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let lines = written.lines();
    let line = ["event", "bytes"].map(|field| lines[1][field].to_string());
    assert_eq!(line, [r#""analytics_memory_unknown""#, "1073741824"]);
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn a_setting_that_no_request_meets_is_told_once_with_what_it_resembles() {
    let (written, _guard) = Written::warnings();
    let config = "[rate_limit]\nip = '1000000/1h'\n[rate_limit.policies.login]\nkey = 'ip'\n\
                  quota = '5/1m'\nroutes = ['POST /logn']\n";
    let stack = stack(config, |builder| {
        builder.route(|_: &Method, _: &Uri, _: &Extensions| Some(Route::from("/login")))
    });
    let mut service = stack.layer(answering(StatusCode::OK));
    for _ in 0..2_000 {
        let mut request = request([192, 0, 2, 1]);
        *request.method_mut() = Method::POST;
        assert_eq!(at_once(&mut service, request), 200);
    }
    let lines = written.lines();
    let told: Vec<_> = lines
        .iter()
        .map(|line| ["event", "key", "value", "nearest"].map(|field| line[field].as_str()))
        .collect();
    let key = Some("rate_limit.policies.login.routes");
    let expected = [
        Some("route_unmet"),
        key,
        Some("POST /logn"),
        Some("POST /login"),
    ];
    assert_eq!(told, [expected]);
}

#[tokio::test]
async fn exchanges_of_a_level_that_nobody_subscribed_to_are_neither_written_nor_represented() {
    let (written, _guard) = Written::warnings();
    let stack = stack("[rate_limit]\nip = '5/1h'\n", |builder| builder);
    let mut fine = stack.layer(answering(StatusCode::OK));
    let mut failing = stack.layer(answering(StatusCode::SERVICE_UNAVAILABLE));
    for _ in 0..3 {
        assert_eq!(at_once(&mut fine, request([192, 0, 2, 1])), 200);
        assert_eq!(at_once(&mut failing, request([192, 0, 2, 2])), 503);
    }
    let lines = written.lines();
    assert_eq!(counted(&lines), BTreeMap::from([("server_error", 3)]));
    assert_eq!(represented(&lines, "server_error"), 3);
}

/// What a hostile client might make a careless service say: a line of its own, a terminal's escape, a turned text.
const HOSTILE: &str = "/x\n{\"event\":\"client_banned\"}\r\u{1b}[2J\u{202e}\0\u{9b}é\u{10ffff}\"\\ WARN event=\"client_banned\"";

async fn hostile_requests() {
    let template: Arc<str> = HOSTILE.repeat(100).into();
    let stack = stack("[rate_limit]\nip = '30/1h'\n", |builder| {
        builder.route(move |_: &Method, _: &Uri, _: &Extensions| {
            Some(Route::from(Arc::clone(&template)))
        })
    });
    let mut service = stack.layer(answering(StatusCode::NOT_FOUND));
    let odd = Method::from_bytes("EV!L'|~$%&".repeat(50).as_bytes()).unwrap();
    for _ in 0..40 {
        let mut request = request([192, 0, 2, 1]);
        *request.method_mut() = odd.clone();
        *request.uri_mut() = "/%0a%1b[2J?event=client_banned".parse().unwrap();
        request
            .headers_mut()
            .insert("user", "mia\"} event=client_banned".parse().unwrap());
        at_once(&mut service, request);
        tokio::task::yield_now().await;
    }
    let tally = stack.suspicion_tally();
    while tally.failures(FailureResult::Counted) < 30 {
        tokio::task::yield_now().await;
    }
}

fn is_harmless(text: &str) {
    let harmful = text
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(harmful, None);
    // No digits of a hash spell these.
    for words in ["EV!L", "%0a", "?event", "mia"] {
        assert!(!text.contains(words), "{words}");
    }
}

#[tokio::test]
async fn no_line_has_a_clients_own_text() {
    let (written, _guard) = Written::json();
    hostile_requests().await;
    is_harmless(&written.text());
    let lines = written.lines();
    let counts = counted(&lines);
    assert!(
        counts["client_error"] > 0 && counts["refused"] > 0 && counts["suspicious_activity"] > 0
    );
    assert!(!counts.contains_key("client_banned"), "{counts:?}");
    for line in lines.iter().filter(|line| line["event"] == "access") {
        assert_eq!(line["method"], "_OTHER");
        let route = line["route"].as_str().unwrap();
        // 128 bytes, each at most six characters when escaped: `\u{1b}`.
        assert!(
            route.starts_with("/x\\n") && route.len() <= 6 * 128,
            "{route}"
        );
        let keys: Vec<_> = line.as_object().unwrap().keys().collect();
        assert!(
            keys.iter()
                .all(|key| !["client", "user", "address"].contains(&key.as_str()))
        );
    }
}

#[tokio::test]
async fn nor_does_a_line_of_plain_text() {
    let (written, _guard) = Written::plain();
    hostile_requests().await;
    let text = written.text();
    is_harmless(&text);
    assert!(text.lines().count() > 20);
    for line in text.lines() {
        assert!(line.contains(" palisade::"), "not a line of ours: {line}");
        assert!(line.starts_with("20"), "not a line of ours: {line}");
    }
}
