mod alerts;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};

use super::store::{
    Began, Created, Creation, KeepSessions, Keeping, Origin, Proved, Reply, SessionStore,
};
use super::*;
use crate::model::{Client, Guess, Reason, Rejected, Secret, StoreError, StoreErrorKind, UserId};
use crate::store::memory::{Hand, MemoryStore};

/// The memory store behind a switch that has it fail, with a count of the questions.
#[derive(Clone)]
pub(super) struct Switched {
    memory: MemoryStore,
    fails: Arc<AtomicBool>,
    proofs: Arc<AtomicUsize>,
}

struct SwitchedSessions(Arc<dyn KeepSessions>, Switched);

impl SessionStore for Switched {
    fn keep_sessions(&self, keeping: &Keeping) -> Arc<dyn KeepSessions> {
        let kept = self.memory.keep_sessions(keeping);
        Arc::new(SwitchedSessions(kept, self.clone()))
    }
}

impl SwitchedSessions {
    /// Later, as a server answers.
    fn reply<T: Unpin + Send + 'static>(&self, reply: impl FnOnce() -> Reply<T>) -> Reply<T> {
        if self.1.fails.load(Ordering::Relaxed) {
            return Reply::pending(async { Err(StoreError::new(StoreErrorKind::Timeout)) });
        }
        let reply = reply();
        Reply::pending(async {
            tokio::task::yield_now().await;
            reply.await
        })
    }
}

impl KeepSessions for SwitchedSessions {
    fn begin(&self, user: &UserId) -> Reply<Began> {
        self.reply(|| self.0.begin(user))
    }

    fn create(&self, new: &Creation) -> Reply<Created> {
        self.reply(|| self.0.create(new))
    }

    fn prove(&self, claim: &Claim, touch: bool) -> Reply<Proved> {
        self.1.proofs.fetch_add(1, Ordering::Relaxed);
        self.reply(|| self.0.prove(claim, touch))
    }

    fn rotate(
        &self,
        claim: &Claim,
        to: &store::Proof,
        renewal: &Renewal,
    ) -> Reply<Option<Session>> {
        self.reply(|| self.0.rotate(claim, to, renewal))
    }

    fn end(&self, user: &UserId, id: SessionId) -> Reply<Option<Session>> {
        self.reply(|| self.0.end(user, id))
    }

    fn end_all(&self, user: &UserId, keep: Option<SessionId>) -> Reply<Vec<Session>> {
        self.reply(|| self.0.end_all(user, keep))
    }

    fn list(&self, user: &UserId) -> Reply<Vec<Session>> {
        self.reply(|| self.0.list(user))
    }

    fn statistics(&self, user: &UserId) -> Reply<Statistics> {
        self.reply(|| self.0.statistics(user))
    }

    fn clean(&self, user: &UserId) -> Reply<u64> {
        self.reply(|| self.0.clean(user))
    }

    fn active(&self) -> Reply<u64> {
        self.reply(|| self.0.active())
    }

    fn created_from(&self, origin: Origin, within: Duration) -> Reply<Vec<(UserId, SessionId)>> {
        self.reply(|| self.0.created_from(origin, within))
    }
}

/// A layer with its store and its clock.
pub(super) struct Bench {
    pub(super) store: Switched,
    pub(super) clock: Hand,
    pub(super) layer: SessionLayer,
    pub(super) sessions: Sessions,
}

pub(super) const SECRET: &[u8] = b"a secret of the tests";

pub(super) fn user(name: &str) -> UserId {
    UserId::kept(name).unwrap()
}

impl Bench {
    pub(super) fn new(settings: SessionsConfig) -> Self {
        Self::listening(settings, Listeners::new())
    }

    fn listening(settings: SessionsConfig, listeners: Listeners) -> Self {
        let clock = Hand::default();
        let memory = MemoryStore::builder().clock(clock.clone()).build().unwrap();
        let store = Switched {
            memory,
            fails: Arc::default(),
            proofs: Arc::default(),
        };
        let layer = SessionLayer::new(store.clone(), Secret::from_bytes(SECRET), settings).unwrap();
        let layer = layer.listening(listeners).unwrap();
        Self {
            sessions: layer.sessions().unwrap(),
            store,
            clock,
            layer,
        }
    }

    pub(super) async fn log_in(&self, name: &str) -> Issued {
        let begun = self.sessions.begin(&user(name)).await.unwrap();
        let created = self.sessions.create(begun, NewSession::new()).await;
        created.unwrap()
    }

    pub(super) fn claim(&self, issued: &Issued) -> Claim {
        let keys = Keyring::new(Secret::from_bytes(SECRET), None);
        keys.read(issued.token.expose()).unwrap()
    }

    /// Another process of the same service.
    pub(super) fn elsewhere(&self) -> SessionLayer {
        let secret = Secret::from_bytes(SECRET);
        SessionLayer::new(self.store.clone(), secret, SessionsConfig::default()).unwrap()
    }

    pub(super) async fn ask(&self, request: Request<()>) -> Response<Bytes> {
        ask(&self.layer, request).await
    }

    pub(super) fn fail(&self) {
        self.store.fails.store(true, Ordering::Relaxed);
    }

    pub(super) fn proofs(&self) -> usize {
        self.store.proofs.load(Ordering::Relaxed)
    }
}

async fn ask(layer: &SessionLayer, request: Request<()>) -> Response<Bytes> {
    ask_from(layer, request, Client::new([192, 0, 2, 1].into(), 64)).await
}

async fn ask_from(
    layer: &SessionLayer,
    mut request: Request<()>,
    client: Client,
) -> Response<Bytes> {
    request.extensions_mut().insert(client);
    let response = layer.layer(service_fn(whose)).oneshot(request).await;
    let (head, body) = response.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Answers with the user of the session and the one of the client.
async fn whose(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let extensions = request.extensions();
    let session = extensions.get::<Session>().map(|it| it.user.to_string());
    let client = extensions.get::<Client>().unwrap().user.as_ref();
    assert_eq!(session.as_deref(), client.map(UserId::as_str));
    assert_eq!(session.is_some(), extensions.get::<Claim>().is_some());
    let mut response = Response::new(session.unwrap_or("nobody".into()).into());
    if request.uri().path() == "/login" {
        let cookie = HeaderValue::from_static("__Host-session=pls_new; Path=/");
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn with_bearer(token: &str) -> Request<()> {
    let mut request = Request::new(());
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

fn with_cookie(token: &str) -> Request<()> {
    let mut request = Request::new(());
    let value = format!("__Host-session={token}").parse().unwrap();
    request.headers_mut().insert(COOKIE, value);
    request
}

fn clears(response: &Response<Bytes>) -> bool {
    let mut cookies = response.headers().get_all(SET_COOKIE).iter();
    cookies.any(|it| it == "__Host-session=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0")
}

fn refused(response: &Response<Bytes>) -> Option<Reason> {
    let rejected = response.extensions().get::<Rejected>();
    rejected.map(|rejected| rejected.reason)
}

#[tokio::test]
async fn a_session_is_found_by_cookie_and_by_bearer() {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    let token = issued.token.expose();
    assert_eq!(
        issued.cookie.as_ref().unwrap().to_str().unwrap(),
        format!("__Host-session={token}; Path=/; HttpOnly; SameSite=Lax; Secure")
    );
    for request in [with_cookie(token), with_bearer(token)] {
        let response = bench.ask(request).await;
        assert_eq!(
            (response.status().as_u16(), &**response.body()),
            (200, &b"ada"[..])
        );
        assert!(!clears(&response));
    }
}

#[tokio::test]
async fn without_a_token_a_request_goes_on_and_the_store_is_not_asked() {
    let bench = Bench::new(SessionsConfig::default());
    for request in [
        Request::new(()),
        with_bearer("eyJhbGciOi.x.y"),
        with_bearer("user-token-1"),
    ] {
        let response = bench.ask(request).await;
        assert_eq!(response.body(), "nobody");
        assert_eq!(response.status(), 200);
    }
    assert_eq!(bench.proofs(), 0);
}

#[tokio::test]
async fn a_token_that_opens_nothing_is_told_to_a_program_and_taken_from_a_browser() {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    let token = issued.token.expose().to_owned();
    assert!(
        bench
            .sessions
            .end(&user("ada"), issued.session.id)
            .await
            .unwrap()
    );
    let bearer = bench.ask(with_bearer(&token)).await;
    assert_eq!(bearer.status(), 401);
    let challenge = &bearer.headers()[WWW_AUTHENTICATE];
    assert_eq!(challenge, "Bearer error=\"invalid_token\"");
    assert_eq!(bearer.headers()["content-type"], "application/problem+json");
    assert_eq!(bearer.headers()["cache-control"], "no-store");
    assert_eq!(refused(&bearer), Some(Reason::SESSION_INVALID));
    let cookie = bench.ask(with_cookie(&token)).await;
    assert_eq!(
        (cookie.status().as_u16(), &**cookie.body()),
        (200, &b"nobody"[..])
    );
    assert!(clears(&cookie));
    assert_eq!(cookie.headers()["cache-control"], "no-store");
    for response in [bearer, cookie] {
        assert_eq!(response.extensions().get::<Guess>(), None, "no attack");
    }
}

#[tokio::test]
async fn the_cookie_that_a_handler_sets_is_not_removed() {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    bench.sessions.end_all(&user("ada"), None).await.unwrap();
    let mut request = with_cookie(issued.token.expose());
    *request.uri_mut() = "/login".parse().unwrap();
    let response = bench.ask(request).await;
    let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["__Host-session=pls_new; Path=/"]);
}

#[tokio::test]
async fn after_a_rotation_the_old_token_opens_nothing_and_its_cookie_stays() {
    let bench = Bench::new(SessionsConfig::default());
    let old = bench.log_in("ada").await;
    let request = with_bearer(old.token.expose());
    assert_eq!(bench.ask(request).await.body(), "ada");
    let claim = bench
        .layer
        .core
        .as_ref()
        .unwrap()
        .keys
        .read(old.token.expose());
    let claim = claim.unwrap();
    let renewal = Renewal::default();
    let new = bench
        .sessions
        .rotate(&claim, &renewal)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(new.session.id, old.session.id);
    assert_eq!(
        bench.ask(with_bearer(new.token.expose())).await.body(),
        "ada"
    );
    assert_eq!(
        bench.ask(with_bearer(old.token.expose())).await.status(),
        401
    );
    let cookie = bench.ask(with_cookie(old.token.expose())).await;
    assert_eq!(cookie.body(), "nobody");
    assert!(!clears(&cookie), "a newer one is on its way");
    assert!(
        bench
            .sessions
            .rotate(&claim, &renewal)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_bearer_that_this_service_did_not_make_is_a_guess_a_cookie_is_none_and_neither_costs_a_question()
 {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    let token = issued.token.expose();
    let others = SessionLayer::new(
        bench.store.clone(),
        Secret::from_bytes(b"another service's"),
        SessionsConfig::default(),
    );
    let mut guesses = Vec::new();
    for forged in [&token[..token.len() - 1], "pls_", "pls_YWRh.x.y"] {
        let bearer = bench.ask(with_bearer(forged)).await;
        assert_eq!(bearer.status(), 401);
        guesses.push(*bearer.extensions().get::<Guess>().unwrap());
        let again = bench.ask(with_bearer(forged)).await;
        assert_eq!(
            again.extensions().get::<Guess>(),
            guesses.last(),
            "one guess"
        );
        let cookie = bench.ask(with_cookie(forged)).await;
        assert_eq!(
            (cookie.status().as_u16(), &**cookie.body()),
            (200, &b"nobody"[..])
        );
        assert!(clears(&cookie));
        let guess = cookie.extensions().get::<Guess>();
        assert_eq!(guess, None, "a browser keeps what it was given");
    }
    for (n, guess) in guesses.iter().enumerate() {
        assert!(!guesses[..n].contains(guess), "two guesses are told apart");
    }
    assert_eq!(
        ask(&others.unwrap(), with_bearer(token)).await.status(),
        401
    );
    assert_eq!(bench.proofs(), 0);
    let tally = bench.layer.tally().unwrap();
    let forged = tally.operations(SessionOperation::Validate, SessionOutcome::Forged);
    assert_eq!(forged, 9);
}

#[tokio::test]
async fn two_tokens_open_nothing() {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    let token = issued.token.expose();
    let mut both = with_cookie(token);
    let bearer = format!("Bearer {token}").parse().unwrap();
    both.headers_mut().insert(AUTHORIZATION, bearer);
    assert_eq!(bench.ask(both).await.status(), 401);
    let mut twice = with_cookie(token);
    let again = format!("__Host-session={token}").parse().unwrap();
    twice.headers_mut().append(COOKIE, again);
    let response = bench.ask(twice).await;
    assert_eq!(response.body(), "nobody");
    assert!(clears(&response));
    assert_eq!(bench.proofs(), 0);
}

#[tokio::test]
async fn another_site_does_not_spend_the_cookie() {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    let token = issued.token.expose();
    let post = |request: Request<()>, site: Option<&'static str>| {
        let mut request = request;
        *request.method_mut() = Method::POST;
        if let Some(site) = site {
            let value = HeaderValue::from_static(site);
            request.headers_mut().insert("sec-fetch-site", value);
        }
        request
    };
    for site in [None, Some("cross-site"), Some("same-site"), Some("none")] {
        let response = bench.ask(post(with_cookie(token), site)).await;
        assert_eq!(response.status(), 403, "{site:?}");
        assert_eq!(refused(&response), Some(Reason::CROSS_SITE));
    }
    assert_eq!(bench.proofs(), 0);
    let own = post(with_cookie(token), Some("same-origin"));
    assert_eq!(bench.ask(own).await.body(), "ada");
    let program = post(with_bearer(token), None);
    assert_eq!(bench.ask(program).await.body(), "ada");
    let mut upgrade = with_cookie(token);
    let websocket = HeaderValue::from_static("websocket");
    upgrade.headers_mut().insert("upgrade", websocket);
    assert_eq!(bench.ask(upgrade).await.status(), 403);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_asked_for_once_in_a_second() {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    for _ in 0..100 {
        let response = bench.ask(with_bearer(issued.token.expose())).await;
        assert_eq!(response.body(), "ada");
    }
    assert_eq!(bench.proofs(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    bench.ask(with_bearer(issued.token.expose())).await;
    assert_eq!(bench.proofs(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_holds_here_at_once_and_elsewhere_within_a_second() {
    let bench = Bench::new(SessionsConfig::default());
    let other = bench.elsewhere();
    for by_all in [false, true] {
        let issued = bench.log_in("ada").await;
        let token = issued.token.expose();
        for layer in [&bench.layer, &other] {
            assert_eq!(ask(layer, with_bearer(token)).await.body(), "ada");
        }
        if by_all {
            assert_eq!(bench.sessions.end_all(&user("ada"), None).await.unwrap(), 1);
        } else {
            assert!(
                bench
                    .sessions
                    .end(&user("ada"), issued.session.id)
                    .await
                    .unwrap()
            );
        }
        assert_eq!(bench.ask(with_bearer(token)).await.status(), 401);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ask(&other, with_bearer(token)).await.status(), 401);
    }
}

#[tokio::test]
async fn a_session_that_has_expired_opens_nothing() {
    let mut settings = SessionsConfig::default();
    settings.lifetime.idle = Duration::from_secs(600);
    let bench = Bench::new(settings);
    let issued = bench.log_in("ada").await;
    bench.clock.advance(Duration::from_secs(600));
    let response = bench.ask(with_bearer(issued.token.expose())).await;
    assert_eq!(response.status(), 401);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_each_mode_does_as_it_says() {
    for (mode, statuses) in [
        (OnStoreFailure::Known, [200, 503, 503]),
        (OnStoreFailure::Closed, [503, 503, 503]),
        (OnStoreFailure::Anonymous, [200, 200, 200]),
    ] {
        let bench = Bench::new(SessionsConfig {
            on_store_failure: mode,
            ..SessionsConfig::default()
        });
        let known = bench.log_in("ada").await;
        let unknown = bench.log_in("bob").await;
        bench.ask(with_bearer(known.token.expose())).await;
        bench.fail();
        tokio::time::advance(Duration::from_secs(59)).await;
        let first = bench.ask(with_bearer(known.token.expose())).await;
        let second = bench.ask(with_cookie(unknown.token.expose())).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let third = bench.ask(with_bearer(known.token.expose())).await;
        let found = [&first, &second, &third].map(|it| it.status().as_u16());
        assert_eq!(found, statuses, "{mode:?}");
        let is_known = mode == OnStoreFailure::Known;
        assert_eq!(first.body() == "ada", is_known);
        for refused in [&second, &third]
            .into_iter()
            .filter(|it| it.status() == 503)
        {
            let problem: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
            let kind = problem["type"].as_str().unwrap();
            assert!(kind.ends_with("#temporary-reduced-capacity"));
            assert!(!clears(refused), "the session may live");
        }
        // Never open: what was forged stays so.
        assert_eq!(bench.ask(with_bearer("pls_a.b.c")).await.status(), 401);
        let begun = bench.sessions.begin(&user("ada")).await;
        assert!(begun.is_err());
        assert!(
            bench
                .sessions
                .end(&user("ada"), known.session.id)
                .await
                .is_err()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_fails_leaves_no_session_known() {
    let bench = Bench::new(SessionsConfig::default());
    let issued = bench.log_in("ada").await;
    bench.ask(with_bearer(issued.token.expose())).await;
    bench.fail();
    assert!(
        bench
            .sessions
            .end(&user("ada"), issued.session.id)
            .await
            .is_err()
    );
    let response = bench.ask(with_bearer(issued.token.expose())).await;
    assert_eq!(response.status(), 503);
}

#[tokio::test]
async fn a_login_that_is_repeated_with_one_key_has_one_session_and_one_token() {
    let bench = Bench::new(SessionsConfig::default());
    let log_in = async |key: &str| {
        let begun = bench.sessions.begin(&user("ada")).await.unwrap();
        let new = NewSession::new().idempotency_key(key);
        bench.sessions.create(begun, new).await
    };
    let first = log_in("k").await.unwrap();
    let again = log_in("k").await.unwrap();
    assert_eq!((again.repeated, &again.token), (true, &first.token));
    assert_eq!(again.session.id, first.session.id);
    assert_ne!(log_in("other").await.unwrap().token, first.token);
    // The token that was told would open nothing.
    let keys = &bench.layer.core.as_ref().unwrap().keys;
    let claim = keys.read(first.token.expose()).unwrap();
    let renewal = Renewal::default();
    let rotated = bench.sessions.rotate(&claim, &renewal).await;
    assert!(rotated.unwrap().is_some());
    assert!(matches!(log_in("k").await, Err(CreateError::Rotated)));
    bench
        .sessions
        .end(&user("ada"), first.session.id)
        .await
        .unwrap();
    assert!(matches!(log_in("k").await, Err(CreateError::Ended)));
}

#[tokio::test]
async fn a_login_that_all_ends_overtake_creates_nothing() {
    let bench = Bench::new(SessionsConfig::default());
    let begun = bench.sessions.begin(&user("ada")).await.unwrap();
    bench.sessions.end_all(&user("ada"), None).await.unwrap();
    let created = bench.sessions.create(begun, NewSession::new()).await;
    assert!(matches!(created, Err(CreateError::Overtaken)));
    assert!(bench.sessions.list(&user("ada")).await.unwrap().is_empty());
}
