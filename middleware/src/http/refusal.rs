//! A refusal in the terms of whoever asked: RFC 9457 problem details, with the types that IANA registers, or gRPC.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response};
use smallvec::SmallVec;

use super::grpc;
use crate::model::{Reason, Rejected};

pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The whole refusal of a request with this method and these headers. `detail` is a sentence of ours that needs no escaping.
pub(crate) fn response(
    reason: Reason,
    detail: &str,
    retry: Option<Duration>,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Bytes> {
    let mut response = match grpc::content_type(method, headers) {
        Some(content_type) => grpc::response(content_type, reason.code, detail, retry, &[]),
        None => problem(reason, body(reason, detail, "").into()),
    };
    retry_after(&mut response, retry);
    let policies = SmallVec::new();
    let rejected = Rejected { reason, policies };
    response.extensions_mut().insert(rejected);
    response
}

/// Problem details with this body.
pub(crate) fn problem(reason: Reason, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = reason.status();
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
    response
}

/// A body, with more members as JSON after a comma, or none. Every text is one of ours that needs no escaping.
pub(crate) fn body(reason: Reason, detail: &str, members: &str) -> String {
    let (kind, title) = reason.problem;
    let status = reason.status().as_u16();
    format!(
        r#"{{"type":"{kind}","title":"{title}","status":{status},"detail":"{detail}"{members}}}"#
    )
}

/// Tells when to come back, unless the response does already.
pub(crate) fn retry_after(response: &mut Response<Bytes>, retry: Option<Duration>) {
    if let Some(retry) = retry
        && !response.headers().contains_key(RETRY_AFTER)
    {
        // At least a second: `0` would ask for a retry that comes too early.
        let seconds = seconds_up(retry).max(1);
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
}

/// Whole seconds, rounded up: a client that waits them never comes too early.
pub(crate) fn seconds_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}
