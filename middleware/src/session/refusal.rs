//! The answers of the layer to requests that it does not let pass.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use crate::http::refusal;
use crate::model::{Code, PolicyResult, Reason, Rejected};

impl Reason {
    /// A bearer token opens no session: 401.
    pub const SESSION_INVALID: Self = Self::new(
        "session_invalid",
        StatusCode::UNAUTHORIZED,
        Code::Unauthenticated,
        ("about:blank", "Unauthorized"),
        PolicyResult::None,
    );
    /// A route wants a session, and the request has none: 401.
    pub const SESSION_REQUIRED: Self = Self::new(
        "session_required",
        StatusCode::UNAUTHORIZED,
        Code::Unauthenticated,
        ("about:blank", "Unauthorized"),
        PolicyResult::None,
    );
    /// A route wants a recent login: 401 with a problem type of its own.
    pub const REAUTHENTICATION_REQUIRED: Self = Self::new(
        "reauthentication_required",
        StatusCode::UNAUTHORIZED,
        Code::Unauthenticated,
        (
            "tag:palisade,2026:reauthentication-required",
            "Login is too long ago",
        ),
        PolicyResult::None,
    );
    /// A route is of a tenant, and the session is not: 404, as for a tenant that does not exist.
    pub const TENANT_UNKNOWN: Self = Self::new(
        "tenant_unknown",
        StatusCode::NOT_FOUND,
        Code::NotFound,
        ("about:blank", "Not Found"),
        PolicyResult::None,
    );
    /// No such session lives: 404. It is no failure: pages name sessions that have ended.
    pub const SESSION_UNKNOWN: Self = Self::new(
        "session_unknown",
        StatusCode::NOT_FOUND,
        Code::NotFound,
        ("about:blank", "Not Found"),
        PolicyResult::None,
    );
    /// Another site had a browser send the cookie: 403.
    pub const CROSS_SITE: Self = Self::new(
        "cross_site",
        StatusCode::FORBIDDEN,
        Code::PermissionDenied,
        ("about:blank", "Forbidden"),
        PolicyResult::None,
    );
    /// The store that knows the sessions does not answer: 503.
    pub const SESSIONS_UNAVAILABLE: Self = Self::new(
        "sessions_unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        Code::Unavailable,
        (
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
        ),
        PolicyResult::None,
    );
}

/// The refusal of a request. None is a failure of the client's, but for a forged token, which is reported apart.
pub(super) fn response(reason: Reason, request: &Parts) -> Response<Bytes> {
    let (detail, challenge) = match reason.as_str() {
        "session_invalid" => (
            "The token opens no session. Log in again.",
            Some("Bearer error=\"invalid_token\""),
        ),
        "session_required" => ("This needs a session. Log in.", Some("Bearer")),
        "reauthentication_required" => (
            "This needs a recent login. Log in again.",
            Some("Bearer error=\"insufficient_user_authentication\""),
        ),
        "tenant_unknown" => ("There is no such thing.", None),
        "session_unknown" => ("no such session", None),
        "cross_site" => (
            "The request comes from a page of another site, or does not say from which.",
            None,
        ),
        _ => ("Sessions cannot be checked now. Try again later.", None),
    };
    let retry =
        (reason == Reason::SESSIONS_UNAVAILABLE).then_some(std::time::Duration::from_secs(1));
    let mut response = refusal::response(reason, detail, retry, &request.method, &request.headers);
    if reason == Reason::TENANT_UNKNOWN {
        // Who tries tenants looks for what is not there, and counts as whoever does.
        response.extensions_mut().remove::<Rejected>();
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = challenge {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
