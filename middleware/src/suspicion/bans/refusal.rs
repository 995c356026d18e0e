//! A banned client's answer.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use crate::http::refusal;
use crate::model::{Code, PolicyResult, Reason};

/// How the requests of a banned client are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum BanResponse {
    /// 429 with `Retry-After`, the whole seconds until the ban ends, rounded up; gRPC `RESOURCE_EXHAUSTED`.
    #[default]
    TooManyRequests,
    /// 403, which does not tell when the ban ends; gRPC `PERMISSION_DENIED`.
    Forbidden,
}

impl Reason {
    /// The client is [banned](crate::suspicion): 429 or 403. No policy has a part in it.
    pub const BANNED: Self = Self::new(
        "banned",
        StatusCode::TOO_MANY_REQUESTS,
        Code::ResourceExhausted,
        (
            "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
            "Request not satisfied due to detection of abnormal request pattern",
        ),
        PolicyResult::Banned,
    );
}

const DETAIL: &str = "Requests of this client are refused for a time. Try again later.";

impl BanResponse {
    pub(super) fn respond(self, left: Duration, request: &Parts) -> Response<Bytes> {
        let (reason, retry) = match self {
            Self::TooManyRequests => (Reason::BANNED, Some(left)),
            Self::Forbidden => {
                let forbidden =
                    Reason::BANNED.told_as(StatusCode::FORBIDDEN, Code::PermissionDenied);
                (forbidden, None)
            }
        };
        refusal::response(reason, DETAIL, retry, &request.method, &request.headers)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, RETRY_AFTER};
    use http::{HeaderValue, Method, Request};

    use super::*;
    use crate::model::Rejected;

    fn parts(content_type: Option<&'static str>) -> Parts {
        let mut request = Request::new(());
        if let Some(kind) = content_type {
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            *request.method_mut() = Method::POST;
        }
        request.into_parts().0
    }

    #[test]
    fn a_429_tells_when_to_come_back_and_a_403_does_not() {
        let left = Duration::from_millis(59_001);
        for (answer, status, retry) in [
            (BanResponse::TooManyRequests, 429, Some("60")),
            (BanResponse::Forbidden, 403, None),
        ] {
            let response = answer.respond(left, &parts(None));
            assert_eq!(response.status(), status);
            let headers = response.headers();
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            let told = headers
                .get(RETRY_AFTER)
                .map(|value| value.to_str().unwrap());
            assert_eq!(told, retry);
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            let expected = serde_json::json!({
                "type": "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
                "title": "Request not satisfied due to detection of abnormal request pattern",
                "status": status,
                "detail": "Requests of this client are refused for a time. Try again later.",
            });
            assert_eq!(body, expected);
            assert_eq!(
                response.extensions().get::<Rejected>().unwrap().reason,
                Reason::BANNED
            );
        }
        let response = BanResponse::default().respond(Duration::from_nanos(1), &parts(None));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn grpc_is_answered_in_its_own_terms() {
        for (answer, code, retry) in [
            (BanResponse::TooManyRequests, "8", true),
            (BanResponse::Forbidden, "7", false),
        ] {
            let call = parts(Some("application/grpc+proto"));
            let response = answer.respond(Duration::from_secs(9), &call);
            assert_eq!(response.status(), 200);
            let headers = response.headers();
            assert_eq!(headers["grpc-status"], code);
            assert_eq!(headers[CONTENT_TYPE], "application/grpc");
            assert_eq!(headers.contains_key(RETRY_AFTER), retry);
            assert!(response.body().is_empty());
            assert!(response.extensions().get::<Rejected>().is_some());
        }
    }
}
