use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{Session, refusal};
use crate::body::{Body, Wrap};
use crate::http::refusable::Refusable;
use crate::model::Reason;

/// Guards routes: only a request with a session passes. It stands inside of the [session layer](super::SessionLayer), around
/// the routes that need it.
///
/// ```
/// use std::time::Duration;
///
/// use palisade::session::RequireSession;
///
/// // Any session: else 401.
/// let account = RequireSession::new();
/// // A login within five minutes: else 401 with the type `tag:palisade,2026:reauthentication-required`.
/// let password = RequireSession::new().reauth_within(Duration::from_secs(300));
/// // A session of the tenant in `/tenants/{tenant}/…`: else 404, as for a tenant that does not exist.
/// let tenant = RequireSession::new().tenant(|request| request.uri.path().split('/').nth(2));
/// ```
#[derive(Clone, Default)]
pub struct RequireSession {
    wanted: Wanted,
}

#[derive(Clone, Default)]
struct Wanted {
    reauth_within: Option<Duration>,
    tenant: Option<Arc<TenantOf>>,
}

/// The tenant that a request is for.
type TenantOf = dyn for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync;

impl RequireSession {
    /// Any session.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A session whose last login ([`Session::authenticated`]) was this short a time ago.
    #[must_use]
    pub fn reauth_within(mut self, within: Duration) -> Self {
        self.wanted.reauth_within = Some(within);
        self
    }

    /// A session of the tenant that this finds in the request. Where it finds none, no session is of that.
    #[must_use]
    pub fn tenant(
        mut self,
        tenant: impl for<'a> Fn(&'a Parts) -> Option<&'a str> + Send + Sync + 'static,
    ) -> Self {
        self.wanted.tenant = Some(Arc::new(tenant));
        self
    }
}

/// Whether the session's last login was this short a time ago. The login's moment is the store's clock's, which may be ahead
/// of this process's: by no more than the time that is asked for.
pub(super) fn is_recent(session: &Session, within: Duration) -> bool {
    let now = SystemTime::now();
    let apart = now.duration_since(session.authenticated);
    apart.unwrap_or_else(|ahead| ahead.duration()) <= within
}

impl Wanted {
    fn refuse(&self, request: &Parts) -> Option<Response<Bytes>> {
        let refuse = |reason| Some(refusal::response(reason, request));
        let Some(session) = request.extensions.get::<Session>() else {
            return refuse(Reason::SESSION_REQUIRED);
        };
        if let Some(tenant) = &self.tenant {
            let own = session.details.tenant.as_ref().map(|text| text.as_str());
            let wanted = tenant(request);
            if wanted.is_none() || wanted != own {
                return refuse(Reason::TENANT_UNKNOWN);
            }
        }
        if let Some(within) = self.reauth_within
            && !is_recent(session, within)
        {
            return refuse(Reason::REAUTHENTICATION_REQUIRED);
        }
        None
    }
}

impl<S> Layer<S> for RequireSession {
    type Service = Require<Wrap<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        Require {
            inner: Wrap::new(inner),
            wanted: self.wanted.clone(),
        }
    }
}

/// A service that only requests with a session reach; see [`RequireSession`].
#[derive(Clone)]
pub struct Require<S> {
    inner: S,
    wanted: Wanted,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Require<S>
where
    S: Service<Request<ReqBody>, Response = Response<Body<B>>> + Clone,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = Refusable<S::Future, Response<Body<B>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        if let Some(response) = self.wanted.refuse(&parts) {
            // A reservation that the inner service made in `poll_ready` goes with the service that is dropped.
            self.inner = self.inner.clone();
            let response = Some(response.map(Body::refusal));
            return Refusable::Refused { response };
        }
        let future = self.inner.call(Request::from_parts(parts, body));
        Refusable::Inner { future }
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("reauth_within", &self.reauth_within)
            .field("tenant", &self.tenant.is_some())
            .finish()
    }
}

impl fmt::Debug for RequireSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireSession").field(&self.wanted).finish()
    }
}

impl<S: fmt::Debug> fmt::Debug for Require<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require")
            .field("inner", &self.inner)
            .field("wanted", &self.wanted)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::model::Rejected;
    use crate::session::tests::{Bench, user};
    use crate::session::{Issued, NewSession, SessionsConfig};

    async fn ask(
        bench: &Bench,
        guard: &RequireSession,
        path: &str,
        issued: Option<&Issued>,
    ) -> Response<()> {
        let open = service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let mut request = Request::get(path);
        if let Some(issued) = issued {
            request = request.header("authorization", format!("Bearer {}", issued.token.expose()));
        }
        let service = bench.layer.layer(guard.layer(open));
        service
            .oneshot(request.body(()).unwrap())
            .await
            .unwrap()
            .map(|_| ())
    }

    #[tokio::test]
    async fn a_route_is_for_sessions_alone() {
        let bench = Bench::new(SessionsConfig::default());
        let ada = bench.log_in("ada").await;
        let guard = RequireSession::new();
        assert_eq!(ask(&bench, &guard, "/", Some(&ada)).await.status(), 200);
        let refused = ask(&bench, &guard, "/", None).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(
            refused.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(refused.headers()["www-authenticate"], "Bearer");
        let rejected = refused.extensions().get::<Rejected>().unwrap();
        assert_eq!(rejected.reason, Reason::SESSION_REQUIRED);
    }

    #[tokio::test]
    async fn a_route_is_for_recent_logins_alone() {
        let bench = Bench::new(SessionsConfig::default());
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let minute = Duration::from_secs(60);
        let guard = RequireSession::new().reauth_within(5 * minute);
        for (at, status) in [
            (now, 200),
            (now - 4 * minute, 200),
            (now - 6 * minute, 401),
            (now + 4 * minute, 200),
            (now + 6 * minute, 401),
        ] {
            bench.clock.set(at.as_micros() as u64);
            let ada = bench.log_in("ada").await;
            let response = ask(&bench, &guard, "/", Some(&ada)).await;
            assert_eq!(response.status(), status, "{at:?}");
            if status == 401 {
                let challenge = &response.headers()["www-authenticate"];
                assert_eq!(
                    challenge,
                    "Bearer error=\"insufficient_user_authentication\""
                );
            }
        }
    }

    #[tokio::test]
    async fn a_route_of_a_tenant_is_for_its_sessions_alone() {
        let bench = Bench::new(SessionsConfig::default());
        let begun = bench.sessions.begin(&user("ada")).await.unwrap();
        let new = NewSession::new().tenant("acme").unwrap();
        let ada = bench.sessions.create(begun, new).await.unwrap();
        let bob = bench.log_in("bob").await;
        let guard = RequireSession::new().tenant(|request| request.uri.path().split('/').nth(2));
        assert_eq!(
            ask(&bench, &guard, "/t/acme/x", Some(&ada)).await.status(),
            200
        );
        for (path, issued) in [
            ("/t/other", &ada),
            ("/t", &ada),
            ("/t/", &ada),
            ("/t/acme", &bob),
            ("/t", &bob),
        ] {
            let response = ask(&bench, &guard, path, Some(issued)).await;
            assert_eq!(response.status(), 404, "{path}");
            assert!(response.extensions().get::<Rejected>().is_none());
        }
        assert_eq!(ask(&bench, &guard, "/t/acme", None).await.status(), 401);
    }
}
