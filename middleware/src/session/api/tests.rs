//! Every call through the whole layer, over the memory store.

mod calls;
mod events;
mod login;
mod operators;

use std::collections::HashSet;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Layer, ServiceExt};

use super::{SessionsApi, SessionsBody};
use crate::body::Body;
use crate::model::Client;
use crate::session::tests::{Bench, user};
use crate::session::{Issued, NewSession, SessionsConfig};

const SESSIONS: &str = "/api/v1/users/me/sessions";
const CLEARED: &str = "__Host-session=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0";

struct Shop {
    bench: Bench,
    api: SessionsApi,
}

/// A request that is put together.
#[derive(Clone)]
struct Ask {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn ask(method: &str, path: &str) -> Ask {
    Ask {
        method: method.parse().unwrap(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: String::new(),
    }
}

impl Ask {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn bearer(self, issued: &Issued) -> Self {
        let token = issued.token.expose();
        self.with(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    fn cookie(self, issued: &Issued) -> Self {
        let token = issued.token.expose();
        self.with(COOKIE.as_str(), format!("__Host-session={token}"))
    }

    fn json(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self.with(CONTENT_TYPE.as_str(), "application/json")
    }

    fn request(self) -> Request<String> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(self.body).unwrap()
    }
}

impl Shop {
    fn new(settings: SessionsConfig) -> Self {
        let bench = Bench::new(settings);
        let api = SessionsApi::new(&bench.sessions);
        Self { bench, api }
    }

    async fn open(&self, request: Request<String>) -> Response<Body<SessionsBody>> {
        let mut request = request;
        let mut client = Client::new([192, 0, 2, 1].into(), 64);
        if let Some(name) = request.headers().get("x-user") {
            client.user = Some(user(name.to_str().unwrap()));
        }
        request.extensions_mut().insert(client);
        let service = self.bench.layer.layer(self.api.clone());
        service.oneshot(request).await.unwrap()
    }

    /// The answer, which must not be stored, and is a problem where it is an error.
    async fn answer(&self, ask: Ask) -> Response<Bytes> {
        self.answer_to(ask.request()).await
    }

    async fn answer_to(&self, request: Request<String>) -> Response<Bytes> {
        let (head, body) = self.open(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(head.headers[CACHE_CONTROL], "no-store");
        if head.status.is_client_error() || head.status.is_server_error() {
            assert_eq!(head.headers[CONTENT_TYPE], "application/problem+json");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["status"], head.status.as_u16());
        }
        Response::from_parts(head, body)
    }

    async fn status(&self, ask: Ask) -> u16 {
        self.answer(ask).await.status().as_u16()
    }

    async fn value(&self, ask: Ask) -> Value {
        let response = self.answer(ask).await;
        assert!(response.status().is_success(), "{response:?}");
        value(&response)
    }

    async fn log_in(&self, name: &str) -> Issued {
        self.bench.log_in(name).await
    }
}

fn value(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn detail(response: &Response<Bytes>) -> String {
    value(response)["detail"].as_str().unwrap().to_owned()
}

fn cookies(response: &Response<Bytes>) -> Vec<String> {
    let lines = response.headers().get_all(SET_COOKIE).iter();
    lines.map(|it| it.to_str().unwrap().to_owned()).collect()
}

fn names(value: &Value) -> HashSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Every call but the login, with its method.
fn calls(id: &str) -> Vec<Ask> {
    let mut all: Vec<_> = ["", "/current", "/statistics", "/events"]
        .iter()
        .map(|name| ask("GET", &format!("{SESSIONS}{name}")))
        .collect();
    all.extend(unsafe_calls(id));
    all
}

fn unsafe_calls(id: &str) -> Vec<Ask> {
    vec![
        ask("DELETE", &format!("{SESSIONS}/{id}")),
        ask("POST", &format!("{SESSIONS}/terminate-all")),
        ask("POST", &format!("{SESSIONS}/cleanup-expired")),
        ask("POST", "/profiles/me/logout"),
    ]
}
