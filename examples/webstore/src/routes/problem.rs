use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use palisade::rate_limit::{Reason, Rejected};
use serde_json::json;

/// Characters of detail that a client is shown: a detail may quote what the client sent.
const MAX_DETAIL: usize = 300;

/// An error as the client sees it: `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    challenge: Option<&'static str>,
    refused: Option<Reason>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self {
            status,
            detail,
            challenge: None,
            refused: None,
        }
    }

    /// A 401, which must say how to authenticate (RFC 9110, section 15.5.2).
    pub(crate) fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Self {
        Self {
            challenge: Some(challenge),
            ..Self::new(StatusCode::UNAUTHORIZED, detail)
        }
    }

    /// A refusal as a layer's: it is no failure of the client.
    pub(crate) fn refused(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            refused: Some(reason),
            ..Self::new(reason.status(), detail)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(challenge) = self.challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if let Some(reason) = self.refused {
            response.extensions_mut().insert(Rejected::from(reason));
        }
        response
    }
}
