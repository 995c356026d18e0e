//! A rejection in gRPC's own terms: HTTP 200, trailers only, the status in headers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// `google.rpc.Code` values that a rejection can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unavailable = 14,
}

/// The content type to answer with, if the request is a gRPC call: the answer's kind follows the request's, and
/// never repeats text that a client wrote.
pub(crate) fn content_type(request: &HeaderMap) -> Option<HeaderValue> {
    let asked = request.get(CONTENT_TYPE)?.as_bytes();
    // The longer names first: each is a prefix of the one before.
    [
        "application/grpc-web-text",
        "application/grpc-web",
        "application/grpc",
    ]
    .into_iter()
    .find(|kind| {
        asked
            .get(..kind.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
    })
    .map(HeaderValue::from_static)
}

/// What violated a quota: `subject` and `description` of google.rpc.QuotaFailure.Violation.
pub(crate) struct Violation<'a> {
    pub(crate) subject: &'a str,
    pub(crate) description: &'a str,
}

/// The trailers-only response.
pub(crate) fn response(
    content_type: HeaderValue,
    code: Code,
    message: &str,
    retry: Option<Duration>,
    violations: &[Violation<'_>],
) -> Response<Bytes> {
    let details = status_details(code, message, retry, violations);
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(GRPC_STATUS, HeaderValue::from(code as u16));
    // Messages are ours and ASCII without `%`, so percent-encoding leaves them as they are; base64 is ASCII.
    if let Ok(message) = HeaderValue::from_str(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Ok(details) = HeaderValue::from_str(&STANDARD_NO_PAD.encode(details)) {
        headers.insert(GRPC_STATUS_DETAILS, details);
    }
    response
}

/// `google.rpc.Status` with `RetryInfo` and `QuotaFailure`, by hand: four messages need no code generator.
fn status_details(
    code: Code,
    message: &str,
    retry: Option<Duration>,
    violations: &[Violation<'_>],
) -> Vec<u8> {
    let mut status = Vec::new();
    varint_field(&mut status, 1, code as u64);
    bytes_field(&mut status, 2, message.as_bytes());
    if let Some(retry) = retry {
        let mut delay = Vec::new();
        varint_field(&mut delay, 1, retry.as_secs());
        varint_field(&mut delay, 2, u64::from(retry.subsec_nanos()));
        let mut info = Vec::new();
        bytes_field(&mut info, 1, &delay);
        any_field(
            &mut status,
            "type.googleapis.com/google.rpc.RetryInfo",
            &info,
        );
    }
    if !violations.is_empty() {
        let mut failure = Vec::new();
        for Violation {
            subject,
            description,
        } in violations
        {
            let mut violation = Vec::new();
            bytes_field(&mut violation, 1, subject.as_bytes());
            bytes_field(&mut violation, 2, description.as_bytes());
            bytes_field(&mut failure, 1, &violation);
        }
        any_field(
            &mut status,
            "type.googleapis.com/google.rpc.QuotaFailure",
            &failure,
        );
    }
    status
}

/// `details` of google.rpc.Status: field 3, a google.protobuf.Any.
fn any_field(status: &mut Vec<u8>, type_url: &str, value: &[u8]) {
    let mut any = Vec::new();
    bytes_field(&mut any, 1, type_url.as_bytes());
    bytes_field(&mut any, 2, value);
    bytes_field(status, 3, &any);
}

fn varint_field(to: &mut Vec<u8>, field: u8, value: u64) {
    // proto3 leaves out a default.
    if value != 0 {
        to.push(field << 3);
        varint(to, value);
    }
}

fn bytes_field(to: &mut Vec<u8>, field: u8, value: &[u8]) {
    to.push(field << 3 | 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_status_as_protobuf_does() {
        let violation = Violation {
            subject: "ip",
            description: "d",
        };
        let status = status_details(
            Code::ResourceExhausted,
            "m",
            Some(Duration::new(300, 5)),
            &[violation],
        );
        let mut expected = vec![0x08, 8, 0x12, 1, b'm', 0x1a, 51, 0x0a, 40];
        expected.extend_from_slice(b"type.googleapis.com/google.rpc.RetryInfo");
        expected.extend_from_slice(&[0x12, 7, 0x0a, 5, 0x08, 0xac, 0x02, 0x10, 5]);
        expected.extend_from_slice(&[0x1a, 56, 0x0a, 43]);
        expected.extend_from_slice(b"type.googleapis.com/google.rpc.QuotaFailure");
        expected.extend_from_slice(&[0x12, 9, 0x0a, 7, 0x0a, 2, b'i', b'p', 0x12, 1, b'd']);
        assert_eq!(status, expected);
    }

    #[test]
    fn knows_a_grpc_call_by_its_content_type() {
        let answer = |asked: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(asked));
            content_type(&headers)
        };
        assert_eq!(answer("application/grpc").unwrap(), "application/grpc");
        assert_eq!(
            answer("application/grpc+proto").unwrap(),
            "application/grpc"
        );
        assert_eq!(
            answer("Application/gRPC-Web+json").unwrap(),
            "application/grpc-web"
        );
        assert_eq!(
            answer("application/grpc-web-text").unwrap(),
            "application/grpc-web-text"
        );
        assert_eq!(answer("application/json"), None);
        assert_eq!(content_type(&HeaderMap::new()), None);
    }
}
