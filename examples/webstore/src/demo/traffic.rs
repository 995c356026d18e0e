//! Sends what the personas ask for, over real HTTP to the shop's own listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use palisade::client::ForwardedHeader;
use tokio::task::JoinSet;

use super::history;
use super::personas::{Answer, Ask, Kind, Persona, Regulars, Tempo, World};

/// Connections are closed before the server closes them, so that no request meets a closed one.
const IDLE: Duration = Duration::from_secs(8);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Visitors who come until this is dropped.
#[derive(Debug)]
pub struct Traffic {
    _visitors: JoinSet<()>,
}

impl Traffic {
    /// Sends visitors to the shop at this address, who name themselves in this header: with their pauses, some forty
    /// requests a second, and for a few seconds a hundred more when a flood comes. Needs a runtime.
    #[must_use]
    pub fn start(shop: SocketAddr, header: ForwardedHeader) -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = seed.map_or(0, |since| u64::from(since.subsec_nanos()) ^ since.as_secs());
        let world = World::new(seed, Tempo::of_a_demo()).regulars(Regulars::Known(history::EACH));
        let world = Arc::new(world);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let line = Line {
            shop,
            header,
            client,
        };
        let mut visitors = JoinSet::new();
        for kind in Kind::ALL {
            for _ in 0..kind.weight() {
                visitors.spawn(line.clone().visit(kind.visit(&world)));
            }
        }
        Self {
            _visitors: visitors,
        }
    }
}

/// The way to the shop.
#[derive(Clone)]
struct Line {
    shop: SocketAddr,
    header: ForwardedHeader,
    client: Client<HttpConnector, Body>,
}

impl Line {
    async fn visit(self, mut persona: Box<dyn Persona>) {
        loop {
            let ask = persona.next();
            tokio::time::sleep(ask.pause).await;
            match tokio::time::timeout(PATIENCE, self.send(&ask)).await {
                Ok(Some(answer)) => persona.hear(answer),
                // The shop is busy, or draining: not at once again.
                Ok(None) | Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    async fn send(&self, ask: &Ask) -> Option<Answer> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("http://{}{}", self.shop, ask.path));
        request = match self.header {
            ForwardedHeader::Forwarded => request.header(header::FORWARDED, ask.forwarded()),
            _ => request.header("x-forwarded-for", ask.x_forwarded_for()),
        };
        for (name, value) in ask.headers() {
            request = request.header(name, value);
        }
        let body = ask.json.clone().map_or_else(Body::empty, Body::from);
        let response = self.client.request(request.body(body).ok()?).await.ok()?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        // A body that is read to its end leaves the connection for the next request.
        let body = body.collect().await.ok()?.to_bytes();
        if !ask.expected.contains(&status) {
            tracing::debug!(
                status,
                request = ask.name,
                "a visitor of the demo is surprised"
            );
        }
        Some(ask.answered(status, &head.headers, &body))
    }
}
