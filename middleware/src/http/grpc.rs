//! gRPC: how a call ended, and a rejection in gRPC's own terms (HTTP 200, trailers only, the status in headers).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use crate::model::Code;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The status of a call that was dropped before it told one.
pub(crate) const CANCELLED: u8 = 1;
/// The status of a call that ended without one.
pub(crate) const UNKNOWN: u8 = 2;
const GREATEST_STATUS: u8 = 16;

/// The status of a gRPC call, as far as it is known; see [`body`](crate::body#grpc).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Another request.
    None,
    /// gRPC-Web: only the head can have the status.
    Web,
    /// Not known yet.
    Open,
    Ended(u8),
}

impl Call {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self::of_head(request.method(), request.headers())
    }

    fn of_head(method: &Method, headers: &HeaderMap) -> Self {
        // Most requests have another method, and cost no look at their headers.
        if method != Method::POST {
            return Self::None;
        }
        let Some(asked) = headers.get(CONTENT_TYPE) else {
            return Self::None;
        };
        let Some((kind, rest)) = asked.as_bytes().split_at_checked(GRPC.len()) else {
            return Self::None;
        };
        // The end first: it tells apart most of what begins with `application/`.
        let (before, end) = GRPC.as_bytes().split_at("application/".len());
        if !(kind[before.len()..].eq_ignore_ascii_case(end)
            && kind[..before.len()].eq_ignore_ascii_case(before))
        {
            return Self::None;
        }
        match rest {
            [] | [b'+' | b';', ..] => Self::Open,
            [b'-', web @ ..] if web.len() >= 3 && web[..3].eq_ignore_ascii_case(b"web") => {
                Self::Web
            }
            _ => Self::None,
        }
    }

    /// The response's head is known; whether the body will tell the status.
    pub(crate) fn respond<B>(&mut self, response: &Response<B>) -> bool {
        if *self == Self::None {
            return false;
        }
        match status(response.headers()).or_else(|| status_of_http(response.status())) {
            Some(status) => *self = Self::Ended(status),
            None if *self == Self::Web => *self = Self::None,
            None => return true,
        }
        false
    }

    /// The call ended, with this status if it told one.
    pub(crate) fn end(&mut self, status: Option<u8>) {
        if *self == Self::Open {
            *self = Self::Ended(status.unwrap_or(UNKNOWN));
        }
    }

    /// The status of a call that ends now; `otherwise` if it told none.
    pub(crate) fn status(self, otherwise: u8) -> Option<u8> {
        match self {
            Self::None | Self::Web => None,
            Self::Open => Some(otherwise),
            Self::Ended(status) => Some(status),
        }
    }
}

/// The status that the head or the trailers of a response state.
pub(crate) fn status(headers: &HeaderMap) -> Option<u8> {
    let text = headers.get(GRPC_STATUS)?.to_str().ok();
    let known = text
        .and_then(|text| text.parse().ok())
        .filter(|status| *status <= GREATEST_STATUS);
    Some(known.unwrap_or(UNKNOWN))
}

/// The status that clients infer from a response without `grpc-status`; `None` for one that may have it in its trailers.
fn status_of_http(status: StatusCode) -> Option<u8> {
    match status.as_u16() {
        200 => None,
        400 => Some(13),
        401 => Some(16),
        403 => Some(7),
        404 => Some(12),
        429 | 502..=504 => Some(14),
        _ => Some(UNKNOWN),
    }
}

const GRPC: &str = "application/grpc";

/// The content type to answer with, if the request is a gRPC call: the answer's kind follows the request's, and
/// never repeats text that a client wrote.
pub(crate) fn content_type(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    if Call::of_head(method, headers) == Call::None {
        return None;
    }
    let asked = headers.get(CONTENT_TYPE)?.as_bytes();
    // The longer names first: each is a prefix of the one before.
    ["application/grpc-web-text", "application/grpc-web", GRPC]
        .into_iter()
        .find(|kind| {
            asked
                .get(..kind.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
        })
        .map(HeaderValue::from_static)
}

/// A violated quota: `subject` and `description` of google.rpc.QuotaFailure.Violation.
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
            content_type(&Method::POST, &headers)
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
        assert_eq!(answer("application/grpcx"), None);
        assert_eq!(content_type(&Method::POST, &HeaderMap::new()), None);
        // A cache would keep its 200.
        let grpc = HeaderValue::from_static(GRPC);
        let headers = [(CONTENT_TYPE, grpc)].into_iter().collect();
        assert_eq!(content_type(&Method::GET, &headers), None);
    }

    fn call(method: Method, content_type: &str) -> Call {
        let request = Request::builder().method(method);
        Call::of(&request.header(CONTENT_TYPE, content_type).body(()).unwrap())
    }

    #[test]
    fn a_call_is_a_post_of_grpc_and_grpc_web_is_told_apart() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/GRPC",
        ] {
            assert_eq!(call(Method::POST, content_type), Call::Open);
            assert_eq!(call(Method::GET, content_type), Call::None);
        }
        for content_type in ["application/grpc-web", "application/grpc-web-text+proto"] {
            assert_eq!(call(Method::POST, content_type), Call::Web);
        }
        for content_type in ["application/grpcx", "application/json", ""] {
            assert_eq!(call(Method::POST, content_type), Call::None);
        }
        let bare = Request::builder().method(Method::POST).body(()).unwrap();
        assert_eq!(Call::of(&bare), Call::None);
    }

    /// What becomes of a call after this head: its status, and whether the body is waited for.
    fn head(mut call: Call, http: u16, grpc: Option<&str>) -> (Option<u8>, bool) {
        let mut response = Response::builder().status(http);
        if let Some(grpc) = grpc {
            response = response.header(GRPC_STATUS, grpc);
        }
        let waits = call.respond(&response.body(()).unwrap());
        (call.status(99), waits)
    }

    #[test]
    fn the_head_tells_the_status_or_leaves_it_to_the_trailers() {
        for status in 0..=16 {
            let told = head(Call::Open, 200, Some(&status.to_string()));
            assert_eq!(told, (Some(status), false));
        }
        // Of a client's making or of a newer protocol: no further values.
        for odd in ["17", "255", "256", "-1", "", "five", " "] {
            assert_eq!(head(Call::Open, 200, Some(odd)), (Some(UNKNOWN), false));
        }
        for (http, status) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (500, 2),
        ]
        .into_iter()
        .chain([(204, 2), (502, 14), (503, 14), (504, 14)])
        {
            assert_eq!(head(Call::Open, http, None), (Some(status), false));
        }
        assert_eq!(head(Call::Open, 200, None), (Some(99), true));
        assert_eq!(head(Call::Web, 200, None), (None, false));
        assert_eq!(head(Call::Web, 200, Some("5")), (Some(5), false));
        assert_eq!(head(Call::None, 404, Some("5")), (None, false));
    }

    #[test]
    fn a_call_ends_once() {
        let mut call = Call::Open;
        call.end(None);
        call.end(Some(0));
        assert_eq!(call.status(CANCELLED), Some(UNKNOWN));
    }
}
