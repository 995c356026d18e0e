//! A refusal in the terms of HTTP: RFC 9457 problem details, with the types that IANA registers.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A body, with more members as JSON after a comma, or none. Every text is one of ours that needs no escaping.
pub(crate) fn body(
    kind: &str,
    title: &str,
    status: StatusCode,
    detail: &str,
    members: &str,
) -> String {
    let status = status.as_u16();
    format!(
        r#"{{"type":"https://iana.org/assignments/http-problem-types#{kind}","title":"{title}","status":{status},"detail":"{detail}"{members}}}"#
    )
}

/// Whole seconds, rounded up: a client that waits them never comes too early.
pub(crate) fn seconds_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}
