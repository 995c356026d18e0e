//! The answers: sessions as JSON, and refusals as problems.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::http::json::{self, Unread};
use crate::http::refusal::PROBLEM_JSON;
use crate::model::{Reason, StoreError};
use crate::session::{Session, SessionId, agent, refusal};

/// A session as JSON.
#[derive(Serialize)]
pub(super) struct View<'a> {
    session_id: String,
    tenant_id: Option<&'a str>,
    device_id: Option<&'a str>,
    session_type: &'static str,
    login_method: Option<&'a str>,
    created_at: String,
    last_activity: String,
    expires_at: String,
    is_active: bool,
    is_current: bool,
    user_agent: Option<&'a str>,
    client_info: ClientInfo<'a>,
}

#[derive(Serialize)]
struct ClientInfo<'a> {
    browser: Option<&'a str>,
    os: Option<&'a str>,
    device: Option<&'a str>,
}

impl<'a> View<'a> {
    /// A session that lives; `current` is the request's.
    pub(super) fn new(session: &'a Session, current: Option<SessionId>) -> Self {
        let details = &session.details;
        let user_agent = details.user_agent.as_ref().map(|text| text.as_str());
        let [browser, os, device] = user_agent.map(agent::parts).unwrap_or_default();
        Self {
            session_id: session.id.to_string(),
            tenant_id: details.tenant.as_ref().map(|text| text.as_str()),
            device_id: details.device.as_ref().map(|text| text.as_str()),
            session_type: details.kind.as_str(),
            login_method: details.method.as_ref().map(|text| text.as_str()),
            created_at: rfc_3339(session.created),
            last_activity: rfc_3339(session.last_activity),
            expires_at: rfc_3339(session.expires()),
            is_active: true,
            is_current: current == Some(session.id),
            user_agent,
            client_info: ClientInfo {
                browser,
                os,
                device,
            },
        }
    }
}

/// The sessions of a list.
pub(super) fn views(sessions: &[Session], current: Option<SessionId>) -> Vec<View<'_>> {
    const MOST: usize = 100;
    let sessions = sessions.iter().take(MOST);
    sessions
        .map(|session| View::new(session, current))
        .collect()
}

/// A time in UTC, to the millisecond.
pub(super) fn rfc_3339(time: SystemTime) -> String {
    let mut text = String::new();
    let time = time.max(SystemTime::UNIX_EPOCH);
    // What cannot be written is after the year 9999.
    let _ = write!(text, "{}", humantime::format_rfc3339_millis(time));
    text
}

/// A text that must not be stored.
pub(super) fn text(status: StatusCode, content_type: HeaderValue, text: Bytes) -> Response<Bytes> {
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    let content_type = HeaderValue::from_static("application/json");
    // Texts, numbers and flags can always be written.
    let body = serde_json::to_vec(value).unwrap_or_default();
    text(status, content_type, body.into())
}

/// An answer of one number.
pub(super) fn number(name: &'static str, number: u64) -> Response<Bytes> {
    json(StatusCode::OK, &serde_json::json!({ name: number }))
}

pub(super) fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, value);
    response
}

/// Why a call is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// As the layer refuses.
    Reason(Reason),
    Problem(StatusCode, Cow<'static, str>),
    /// For a time: 503.
    Unavailable(&'static str),
    /// 405; these are allowed.
    Method(&'static str),
    /// 401; nobody was verified.
    Nobody(&'static str),
}

impl Refused {
    pub(super) const NO_PATH: Self =
        Self::Problem(StatusCode::NOT_FOUND, Cow::Borrowed("no such path"));
    /// Of an id that is malformed, unknown or of another user.
    pub(super) const NO_SESSION: Self = Self::Reason(Reason::SESSION_UNKNOWN);

    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Problem(StatusCode::BAD_REQUEST, detail.into())
    }

    pub(super) fn conflict(detail: &'static str) -> Self {
        Self::Problem(StatusCode::CONFLICT, Cow::Borrowed(detail))
    }

    pub(super) fn response(self, request: &Parts) -> Response<Bytes> {
        let problem =
            |status, detail: &str| text(status, PROBLEM_JSON, json::problem(status, detail));
        let with = |mut response: Response<Bytes>, name, value| {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
            response
        };
        match self {
            Self::Reason(reason) => refusal::response(reason, request),
            Self::Problem(status, detail) => problem(status, &detail),
            Self::Unavailable(detail) => {
                let response = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
                with(response, RETRY_AFTER, "5")
            }
            Self::Method(allowed) => {
                let detail = format!("allowed is {allowed}");
                let response = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
                with(response, ALLOW, allowed)
            }
            Self::Nobody(detail) => {
                let response = problem(StatusCode::UNAUTHORIZED, detail);
                with(response, WWW_AUTHENTICATE, "Bearer")
            }
        }
    }
}

impl From<StoreError> for Refused {
    fn from(_: StoreError) -> Self {
        Self::Reason(Reason::SESSIONS_UNAVAILABLE)
    }
}

impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        Self::Problem(unread.status(), unread.detail().into())
    }
}
