//! JSON that comes and goes: the bounded body of a request, and problem details with any text.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use serde::Serialize;

/// For a body to come.
const WITHIN: Duration = Duration::from_secs(5);

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than this.
    TooLarge(usize),
    BrokeOff,
    Late,
}

impl Unread {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BrokeOff => StatusCode::BAD_REQUEST,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
        }
    }

    pub(crate) fn detail(self) -> String {
        match self {
            Self::TooLarge(most) => format!("the body is larger than {most} bytes"),
            Self::BrokeOff => "the body broke off".to_owned(),
            Self::Late => "the body did not come within 5 s".to_owned(),
        }
    }
}

/// Whether a body of the announced length would be read.
pub(crate) fn check_length(headers: &HeaderMap, most: usize) -> Result<(), Unread> {
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let is_larger = |length: &str| length.parse().is_ok_and(|it: u64| it > most as u64);
    match length {
        Some(length) if is_larger(length) => Err(Unread::TooLarge(most)),
        _ => Ok(()),
    }
}

/// Whether the body is said to be JSON; an error is what it is said to be.
pub(crate) fn check_type(headers: &HeaderMap) -> Result<(), &str> {
    let said = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = said.and_then(|it| it.split(';').next()).unwrap_or_default();
    let essence = essence.trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(essence)
    }
}

/// Reads a body of at most so many bytes, for 5 s.
pub(crate) async fn read<B: Body>(body: B, most: usize) -> Result<Vec<u8>, Unread> {
    let read = tokio::time::timeout(WITHIN, read_all(body, most)).await;
    read.unwrap_or(Err(Unread::Late))
}

async fn read_all<B: Body>(body: B, most: usize) -> Result<Vec<u8>, Unread> {
    let mut body = pin!(body);
    let mut read = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(mut data) = frame.map_err(|_| Unread::BrokeOff)?.into_data() else {
            continue;
        };
        if data.remaining() > most - read.len() {
            return Err(Unread::TooLarge(most));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(read)
}

/// A problem (RFC 9457) that the status names.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Bytes {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: &'static str,
        title: &'a str,
        status: u16,
        detail: &'a str,
    }
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail,
    };
    // Texts and a number can always be written.
    serde_json::to_vec(&problem).unwrap_or_default().into()
}
