//! The live page as a program reads it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::http::{Client, Reply};

/// An open stream of server-sent events.
pub struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    /// Asks for the events of the page at `{address}/`.
    ///
    /// # Errors
    /// The status, if it is another than 200.
    pub async fn try_open(address: &str) -> Result<Self, StatusCode> {
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        let request = Request::get(format!("http://{address}/events")).body(Empty::<Bytes>::new());
        let response = pool.request(request.expect("a legal request")).await;
        let response = response.expect("the page answers");
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        Ok(Self {
            body: response.into_body(),
            text: String::new(),
        })
    }

    /// As [`try_open`](Self::try_open), where there must be a place.
    pub async fn open(address: &str) -> Self {
        let opened = Self::try_open(address).await;
        opened.unwrap_or_else(|status| panic!("the page answered {status}"))
    }

    /// The next event's name and data; `None` when the stream ends, in whatever way.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let line = lines.find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_else(|| panic!("no {name} in {event}"))
                        .to_owned()
                };
                let data = serde_json::from_str(&field("data: ")).expect("data is JSON");
                let name = field("event: ");
                self.text = rest.to_owned();
                return Some((name, data));
            }
            let frame = self.body.frame().await?.ok()?;
            let data = frame.into_data().expect("no trailers");
            let text = str::from_utf8(&data).expect("a frame is whole events in UTF-8");
            self.text.push_str(text);
        }
    }

    /// Reads until a `now` is as wanted.
    ///
    /// # Panics
    /// None is, `within` that time, or the stream ends; the message says what was wanted.
    pub async fn until(
        &mut self,
        wanted: &str,
        within: Duration,
        enough: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let read = async {
            while let Some((name, data)) = self.next().await {
                last = data;
                if name == "now" && enough(&last) {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(within, read).await {
            Ok(true) => last,
            Ok(false) => panic!("the stream ended before: {wanted}; last was {last}"),
            Err(_) => panic!("after {within:?}, still not: {wanted}; last was {last}"),
        }
    }
}

/// The token that the page at `{address}/` holds.
pub async fn token(address: &str) -> String {
    let page = Client::new(address).get("/", &[]).await.body;
    let (_, token) = page
        .split_once("name=\"palisade-token\" content=\"")
        .expect("the page holds a token");
    token.split('"').next().unwrap_or_default().to_owned()
}

/// Presses the button that lifts a ban of a client.
pub async fn lift(address: &str, client: &str) -> Reply {
    lift_of(address, "client", client).await
}

/// Presses the button that lifts a ban, of a `client` or a `user`.
pub async fn lift_of(address: &str, kind: &str, whom: &str) -> Reply {
    let token = token(address).await;
    let body = serde_json::json!({ kind: whom }).to_string();
    let origin = format!("http://{address}");
    let headers = [
        ("x-palisade-token", &*token),
        ("origin", &origin),
        ("sec-fetch-site", "same-origin"),
    ];
    let page = Client::new(address);
    page.post("/bans/lift", &headers, &body).await
}
