//! Actions: the requests that may act, and their bodies.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;

use super::answer::{problem, text, unavailable};
use super::body::OpsBody;
use super::guard::{TOKEN, has_token};
use super::hub::Hub;
use crate::model::panel::{Acted, shown};

/// Of a body, in bytes.
const MOST: usize = 1_024;
/// For a body to come.
const BODY: Duration = Duration::from_secs(5);

/// Whether the request may act at all, before its body is read.
pub(super) fn admit(hub: &Hub, parts: &Parts) -> Result<(), Box<Response<OpsBody>>> {
    let refused = |status, detail: &str| Err(Box::new(problem(status, detail)));
    let Some(token) = &hub.token else {
        return refused(
            StatusCode::FORBIDDEN,
            "this page only shows: it was built with `read_only`",
        );
    };
    if !has_token(token, &parts.headers) {
        let detail = format!(
            "an action needs the page's own `{TOKEN}`, which changes with each start: reload the page"
        );
        return refused(StatusCode::FORBIDDEN, &detail);
    }
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|it| it.to_str().ok());
    let essence = content_type
        .and_then(|it| it.split(';').next())
        .unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        let detail = format!(
            "the body's type is `{}`: allowed is `application/json`",
            shown(essence)
        );
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail);
    }
    let length = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|it| it.to_str().ok());
    if length.is_some_and(|it| it.parse().is_ok_and(|it: u64| it > MOST as u64)) {
        return Err(Box::new(too_large()));
    }
    Ok(())
}

/// Reads the body and has a panel act.
pub(super) async fn act<B: Body>(hub: Arc<Hub>, panel: usize, body: B) -> Response<OpsBody> {
    let read = match tokio::time::timeout(BODY, read(body)).await {
        Ok(Ok(read)) => read,
        Ok(Err(refusal)) => return *refusal,
        Err(_) => {
            return problem(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come within 5 s",
            );
        }
    };
    let action = hub.panels().get(panel).and_then(|panel| panel.action());
    let Some(acting) = action.map(|action| action.act(&read)) else {
        return problem(StatusCode::NOT_FOUND, "no such path");
    };
    // On a task of its own: a client that leaves now must not keep the action from being told of where it is carried through.
    match tokio::spawn(acting).await {
        Ok(Acted::Done(json)) => {
            let content_type = HeaderValue::from_static("application/json");
            text(
                StatusCode::OK,
                content_type,
                Bytes::from_static(json.as_bytes()),
            )
        }
        Ok(Acted::Invalid(detail)) => problem(StatusCode::BAD_REQUEST, &detail),
        Ok(Acted::Unavailable(detail)) => unavailable(&detail),
        Err(_) => unavailable("the action broke off"),
    }
}

async fn read<B: Body>(body: B) -> Result<Vec<u8>, Box<Response<OpsBody>>> {
    let mut body = pin!(body);
    let mut read = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return Err(Box::new(problem(
                StatusCode::BAD_REQUEST,
                "the body broke off",
            )));
        };
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > MOST - read.len() {
            return Err(Box::new(too_large()));
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

fn too_large() -> Response<OpsBody> {
    problem(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body is larger than 1024 bytes",
    )
}
