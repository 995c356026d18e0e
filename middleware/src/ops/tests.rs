//! The page as a service of its own, and what a stack feeds it.

mod feeding;
mod serving;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::client::Peer;
use crate::config::{Config, SessionsConfig};
use crate::stack::Stack;
use tower::{Layer, Service};

/// A whole answer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:9464");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

async fn whole<B: Body<Data = Bytes>>(response: Response<B>) -> Answer
where
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn ask(
    page: &OpsService,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let request = request(method, path, headers, body);
    whole(page.clone().oneshot(request).await.unwrap()).await
}

/// A page that a stack feeds.
fn fed(ops: Ops) -> Ops {
    let config = Config {
        sessions: Some(SessionsConfig::default()),
        ..Config::default()
    };
    Stack::builder().config(config).ops(&ops).build().unwrap();
    ops
}

/// An open stream of events.
struct Events {
    body: OpsBody,
    text: String,
}

impl Events {
    async fn open(page: &OpsService) -> Self {
        let request = request("GET", "/events", &[], "");
        let response = page.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// What the page writes next; `None` at the end.
    async fn frame(&mut self) -> Option<Bytes> {
        let frame = self.body.frame().await?.unwrap();
        Some(frame.into_data().unwrap())
    }

    /// The next event's name and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let line = lines.find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_else(|| panic!("no {name} in {event}"))
                        .to_owned()
                };
                let data = serde_json::from_str(&field("data: ")).unwrap();
                let name = field("event: ");
                self.text = rest.to_owned();
                return Some((name, data));
            }
            let data = self.frame().await?;
            self.text.push_str(str::from_utf8(&data).unwrap());
        }
    }

    /// Reads until a `now` is as wanted.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (name, data) = self.next().await.expect("the stream goes on");
            if name == "now" && wanted(&data) {
                return data;
            }
        }
    }
}

/// A stack around a service that answers with the status that the path begins with.
fn statuses(
    stack: &Stack,
) -> impl Service<Request<()>, Response = Response<crate::body::Body<String>>, Error = Infallible>
+ Clone
+ use<> {
    let inner = tower::service_fn(|request: Request<()>| async move {
        let status = request.uri().path()[1..4].parse::<u16>().unwrap();
        if status == 999 {
            std::future::pending::<()>().await;
        }
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok::<_, Infallible>(response)
    });
    stack.layer(inner)
}

/// A request for a path that nobody asked for before.
fn from(client: &str, status: u16) -> Request<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let path = ASKED.fetch_add(1, Ordering::Relaxed);
    let mut request = Request::builder()
        .uri(format!("/{status}/{path}"))
        .body(())
        .unwrap();
    let peer = format!("{client}:5000").parse().unwrap();
    request.extensions_mut().insert(Peer(peer));
    request
}

fn config(toml: &str) -> Config {
    Config::from_toml(toml).unwrap()
}

/// Long beyond anything that is waited for.
const LONG: Duration = Duration::from_secs(20);
