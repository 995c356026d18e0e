//! Responses, all with the headers that keep a browser from lending the page to others.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::OpsBody;
use crate::http::json;
use crate::http::refusal::PROBLEM_JSON;

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// A response with a text.
pub(super) fn text(
    status: StatusCode,
    content_type: HeaderValue,
    text: Bytes,
) -> Response<OpsBody> {
    let length = HeaderValue::from(text.len());
    let mut response = with(status, content_type, OpsBody::text(text));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// A response of any sort.
pub(super) fn with(
    status: StatusCode,
    content_type: HeaderValue,
    body: OpsBody,
) -> Response<OpsBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, CSP),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A problem (RFC 9457) that the status names.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response<OpsBody> {
    text(status, PROBLEM_JSON, json::problem(status, detail))
}

/// A problem that passes.
pub(super) fn unavailable(detail: &str) -> Response<OpsBody> {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    let seconds = HeaderValue::from_static("5");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}
