//! The things that clients fail at: what their failures are told apart by.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode};

use crate::model::{Route, Secret};

/// What a request asked for and with which credentials, kept until its response shows whether it failed.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    path: Option<PathAndQuery>,
    /// Whether it asks what it may do, as browsers do before they ask another origin.
    is_options: bool,
    /// Cookies are left out: many change from request to request, whoever sends them.
    /// Boxed, since most requests need not tell theirs.
    authorization: Option<Box<HeaderValue>>,
}

impl Sought {
    /// Shares what the request holds: nothing is copied. A verified user's credentials are left out: they were right.
    pub(super) fn of<B>(request: &Request<B>, is_verified: bool) -> Self {
        let authorization = match is_verified {
            true => None,
            false => request.headers().get(AUTHORIZATION).cloned().map(Box::new),
        };
        Self {
            path: request.uri().path_and_query().cloned(),
            is_options: request.method() == Method::OPTIONS,
            authorization,
        }
    }

    pub(super) fn path(&self) -> &str {
        self.path.as_ref().map_or("/", PathAndQuery::path)
    }
}

/// Makes things of failures: 64 bits of a keyed hash, so that nothing of a path or of credentials is stored.
#[derive(Debug)]
pub(super) struct Things {
    secret: Secret,
    serial: AtomicU64,
}

impl Things {
    pub(super) fn new(secret: Secret) -> Self {
        // Processes that share a store must not count the same numbers; without random bytes they may.
        let serial = getrandom::u64().unwrap_or_default().into();
        Self { secret, serial }
    }

    /// A thing of its own, of a failure that is like no other.
    pub(super) fn unlike_any(&self) -> u64 {
        // An odd step comes by every number, and numbers that begin elsewhere stay apart for long.
        self.serial
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// The thing of a failure: of a 404 the path, of a 401 the credentials, of any other the status and the path, or the route of a sender
    /// whose paths are not told apart. A query is left out: it may change from request to request, whoever sends it.
    ///
    /// A guess that the request's head does not show is like no other: a 401 without `Authorization` where there may have been
    /// a guess in the body (`is_guess`), and a failed login that its handler told of (`is_login`).
    pub(super) fn of(
        &self,
        status: StatusCode,
        route: &Route,
        sought: Option<&Sought>,
        is_guess: bool,
        is_login: bool,
    ) -> u64 {
        let digest = match (status, sought) {
            (StatusCode::NOT_FOUND, Some(sought)) => {
                self.secret.digest(b"path", sought.path().as_bytes())
            }
            (StatusCode::UNAUTHORIZED, Some(sought)) if !is_login => match &sought.authorization {
                Some(value) => self.secret.digest(b"credentials", value.as_bytes()),
                None if is_guess => return self.unlike_any(),
                None => self.secret.digest(b"credentials", b""),
            },
            (StatusCode::UNAUTHORIZED, _) => return self.unlike_any(),
            // A service that knows nothing of other origins: one thing, whatever path a browser asks of.
            (
                StatusCode::METHOD_NOT_ALLOWED,
                Some(Sought {
                    is_options: true, ..
                }),
            ) => self.secret.digest(b"failure", b"405"),
            _ => {
                let place = sought.map_or(route.as_str(), Sought::path);
                let text = format!("{} {place}", status.as_u16());
                self.secret.digest(b"failure", text.as_bytes())
            }
        };
        (u128::from_be_bytes(digest) >> 64) as u64
    }
}
