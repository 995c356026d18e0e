//! The things that clients fail at: what their failures are told apart by.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode};

use crate::model::{Route, Secret};

/// What a request asked for and with which credentials, kept until its response shows whether it failed.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    path: Option<PathAndQuery>,
    authorization: Option<HeaderValue>,
    cookie: Option<HeaderValue>,
    /// Whether the body can hold no credentials, as far as the method tells.
    is_safe: bool,
}

impl Sought {
    /// Shares what the request holds: nothing is copied.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        Self {
            path: request.uri().path_and_query().cloned(),
            authorization: headers.get(AUTHORIZATION).cloned(),
            cookie: headers.get(COOKIE).cloned(),
            is_safe: request.method().is_safe(),
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

    /// The thing of a failure: of a 404 the path, of a 401 the credentials, of any other the route and the status.
    ///
    /// A guess that the request's head does not show is like no other: a failed login that its handler told of
    /// (`is_login`), and a 401 to a request that had a body for it and no `Authorization`.
    pub(super) fn of(
        &self,
        status: StatusCode,
        route: &Route,
        sought: &Sought,
        is_login: bool,
    ) -> u64 {
        let digest = match status {
            StatusCode::NOT_FOUND => self.secret.digest(b"path", sought.path().as_bytes()),
            StatusCode::UNAUTHORIZED => {
                if is_login || (sought.authorization.is_none() && !sought.is_safe) {
                    return self.unlike_any();
                }
                let bytes = |header: &Option<HeaderValue>| {
                    let bytes = header.as_ref().map(HeaderValue::as_bytes);
                    bytes.unwrap_or_default().to_owned()
                };
                let (authorization, cookie) = (bytes(&sought.authorization), bytes(&sought.cookie));
                // No header holds a line feed.
                let credentials = [authorization, cookie].join(&b'\n');
                self.secret.digest(b"credentials", &credentials)
            }
            _ => {
                let text = format!("{} {}", status.as_u16(), route.as_str());
                self.secret.digest(b"failure", text.as_bytes())
            }
        };
        (u128::from_be_bytes(digest) >> 64) as u64
    }
}
