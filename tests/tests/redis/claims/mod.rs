//! Requests that claim a session which their process does not know: proved in the call that decides them.

mod alike;
mod failing;
mod first_sight;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use palisade::client::{Client, IdentifyLayer, Peer, Secret};
use palisade::config::SessionsConfig;
use palisade::preflight::{Ask, Asked, PreflightLayer, Turn};
use palisade::rate_limit::{
    Exemptions, PartitionBy, Policy, RateLimitLayer, RateLimitLayerBuilder,
};
use palisade::session::store::{Claim, KeepSessions, Keeping, Proof, Renewal, SessionStore};
use palisade::session::{NewSession, Session, SessionLayer, SessionTally, Sessions};
use palisade::store::memory::MemoryStore;
use palisade::store::redis::RedisStore;
use palisade::suspicion::{Bans, IncidentKind, SuspicionLayer, SuspicionLayerBuilder, Suspicions};
use tower::{ServiceBuilder, ServiceExt};

fn secret() -> Secret {
    Secret::from_bytes(b"the secret of all processes")
}

/// Makes tokens, of sessions that no store of a test knows until it is told.
struct Mint(Sessions);

/// A token, and what a store knows it by.
#[derive(Clone)]
struct Coin {
    token: String,
    claim: Claim,
}

impl Mint {
    fn new() -> Self {
        let mut settings = SessionsConfig::default();
        settings.max_per_user = 1_000;
        let layer = SessionLayer::new(MemoryStore::new(), secret(), settings).unwrap();
        Self(layer.sessions().unwrap())
    }

    async fn coin(&self, user: &str) -> Coin {
        let user = self.0.user(user);
        let begun = self.0.begin(&user).await.unwrap();
        let issued = self.0.create(begun, NewSession::new()).await.unwrap();
        Coin::of(issued.token.expose(), &issued.session)
    }

    /// The same session's next token.
    async fn next(&self, coin: &Coin) -> Coin {
        let rotated = self.0.rotate(&coin.claim, &Renewal::default()).await;
        let issued = rotated.unwrap().expect("it lives here");
        Coin::of(issued.token.expose(), &issued.session)
    }
}

impl Coin {
    fn of(token: &str, session: &Session) -> Self {
        let tail = token.rsplit('.').next().unwrap();
        let tail = BASE64.decode(tail).unwrap();
        let claim = Claim {
            user: session.user.clone(),
            id: session.id,
            proof: Proof::of(tail[..32].try_into().unwrap()),
        };
        let token = token.to_owned();
        Self { token, claim }
    }
}

/// What a client sees, and what the handler saw: whose session, and who the client was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    status: u16,
    headers: Vec<String>,
    body: String,
}

impl Seen {
    fn is_banned(&self) -> bool {
        self.body.contains("abnormal-usage-detected")
    }
}

type Answering = Pin<Box<dyn Future<Output = Seen> + Send>>;

/// A process with bans, limits and sessions.
struct Process {
    answer: Box<dyn Fn(Request<()>) -> Answering>,
    kept: Arc<dyn KeepSessions>,
    suspicions: Suspicions,
    tally: Arc<SessionTally>,
}

/// A layer of somebody's own: with it, sessions are proved before anything else is asked.
struct Own;

impl Ask for Own {
    fn room(&self) -> &'static str {
        "own"
    }

    fn turn(&self) -> Turn {
        Turn::Classify
    }

    fn waits(&self) -> bool {
        false
    }

    fn ask(&self, _: &mut Parts) -> Asked {
        Asked::Known
    }
}

/// Six a minute for an address, three for a user; nobody counts `root`, and no ban refuses it.
const EXEMPT: &str = "root";

fn settings() -> SessionsConfig {
    let mut settings = SessionsConfig::default();
    settings.touch_every = Duration::from_secs(1);
    settings
}

fn keeping() -> Keeping {
    let mut keeping = Keeping::new();
    keeping.touch_every = Duration::from_secs(1);
    keeping.max_per_user = 1_000;
    keeping
}

impl Process {
    fn on_memory(store: MemoryStore) -> Self {
        let bans = Bans::embedded(store.clone());
        let suspicion = SuspicionLayer::embedded(store.clone()).bans(bans);
        let limits = RateLimitLayer::embedded(store.clone());
        Self::of(suspicion, limits, &store, false)
    }

    /// In one call; or in two, by a layer of somebody's own.
    fn on(store: RedisStore, in_two: bool, deny_cache: usize) -> Self {
        let local = MemoryStore::new();
        let bans = Bans::shared(store.clone(), local.clone());
        let suspicion = SuspicionLayer::shared(store.clone(), local.clone()).bans(bans);
        let limits = RateLimitLayer::shared(store.clone(), local).deny_cache(deny_cache);
        Self::of(suspicion, limits, &store, in_two)
    }

    fn of(
        suspicion: SuspicionLayerBuilder,
        limits: RateLimitLayerBuilder,
        store: &(impl SessionStore + Clone),
        in_two: bool,
    ) -> Self {
        let exempt = || Exemptions::new().users([EXEMPT]).unwrap();
        // No failure adds up to anything, in the background.
        let suspicion = IncidentKind::ALL
            .into_iter()
            .fold(suspicion, SuspicionLayerBuilder::without)
            .exempt(exempt())
            .build()
            .unwrap();
        let limits = limits
            .policy(Policy::new("ip", PartitionBy::Ip, "6/1m".parse().unwrap()))
            .policy(Policy::new(
                "user",
                PartitionBy::User,
                "3/1m".parse().unwrap(),
            ))
            .exempt(exempt())
            .build()
            .unwrap();
        let sessions = SessionLayer::new(store.clone(), secret(), settings()).unwrap();
        let preflight = PreflightLayer::builder()
            .ask(sessions.clone())
            .ask(suspicion.clone())
            .ask(limits.clone());
        let preflight = if in_two {
            preflight.ask(Own)
        } else {
            preflight
        };
        let suspicions = suspicion.suspicions();
        let tally = sessions.tally().unwrap();
        let service = ServiceBuilder::new()
            .layer(IdentifyLayer::builder().build().unwrap())
            .layer(preflight.build().unwrap())
            .layer(suspicion)
            .layer(limits)
            .layer(sessions)
            .service_fn(handler);
        Self {
            answer: Box::new(move |request| {
                let response = service.clone().oneshot(request);
                Box::pin(async { seen(response.await.unwrap()) })
            }),
            kept: store.keep_sessions(&keeping()),
            suspicions,
            tally,
        }
    }

    async fn send(&self, octet: u8, token: Option<&str>) -> Seen {
        (self.answer)(request(octet, token, Sent::Bearer)).await
    }
}

async fn handler(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let extensions = request.extensions();
    let session = extensions.get::<Session>().map(|it| it.user.to_string());
    let client = extensions.get::<Client>().unwrap().user.clone();
    let activity = extensions.get::<Session>().map(|it| it.last_activity);
    let body = format!("{session:?} {client:?} {activity:?}");
    Ok(Response::new(body.into()))
}

fn seen<B>(response: Response<B>) -> Seen
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let (head, mut body) = response.into_parts();
    let mut headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let mut text = Vec::new();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while let std::task::Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
        text.extend(frame.into_data().unwrap_or_default());
    }
    Seen {
        status: head.status.as_u16(),
        headers,
        body: String::from_utf8(text).unwrap(),
    }
}

/// How a token is sent.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Bearer,
    Cookie,
    /// As a browser asks again and again by itself: no activity.
    ForEvents,
}

fn request(octet: u8, token: Option<&str>, sent: Sent) -> Request<()> {
    let mut request = Request::get("/").body(()).unwrap();
    let peer = Peer(([192, 0, 2, octet], 5000).into());
    request.extensions_mut().insert(peer);
    if let Some(token) = token {
        let headers = request.headers_mut();
        let bearer = format!("Bearer {token}").parse().unwrap();
        match sent {
            Sent::Bearer => headers.insert("authorization", bearer),
            Sent::Cookie => {
                headers.insert("cookie", format!("__Host-session={token}").parse().unwrap())
            }
            Sent::ForEvents => {
                headers.insert("accept", "text/event-stream".parse().unwrap());
                headers.insert("authorization", bearer)
            }
        };
    }
    request
}
