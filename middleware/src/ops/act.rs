//! `POST bans/lift`: ends a ban.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use serde::Deserialize;

use super::answer::{problem, shown, text, unavailable};
use super::body::OpsBody;
use super::guard::{TOKEN, has_token};
use super::hub::Hub;
use crate::client::Network;

/// Of a body, in bytes.
const MOST: usize = 1_024;
/// For a body to come.
const BODY: Duration = Duration::from_secs(5);
/// For the store: longer than any deadline that it can be given.
const STORE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lift {
    client: String,
}

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

/// Reads the body and lifts the ban.
pub(super) async fn lift<B: Body>(hub: Arc<Hub>, body: B) -> Response<OpsBody> {
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
    let Ok(Lift { client }) = serde_json::from_slice(&read) else {
        let detail = r#"the body is not `{"client": "..."}`"#;
        return problem(StatusCode::BAD_REQUEST, detail);
    };
    let Ok(network) = client.parse::<Network>() else {
        let detail = format!(
            "`client` cannot be `{}`: allowed is an IPv4 address such as `192.0.2.1`, or an IPv6 network such as \
             `2001:db8::/64`",
            shown(&client)
        );
        return problem(StatusCode::BAD_REQUEST, &detail);
    };
    let Some(sources) = hub.sources.get() else {
        return unavailable("no stack feeds this page, so there are no bans");
    };
    let suspicions = sources.suspicions.clone();
    // On a task of its own: a client that leaves now must not keep the log from telling of a ban that was lifted.
    let lifting = tokio::spawn(async move {
        let answer = tokio::time::timeout(STORE, suspicions.lift(network)).await;
        if matches!(answer, Ok(Ok(_))) {
            hub.bans.lifted(network);
        }
        answer
    });
    match lifting.await {
        Ok(Ok(Ok(lifted))) => {
            let json = HeaderValue::from_static("application/json");
            let answer = if lifted {
                r#"{"lifted":true}"#
            } else {
                r#"{"lifted":false}"#
            };
            text(StatusCode::OK, json, Bytes::from_static(answer.as_bytes()))
        }
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
            let detail = format!(
                "the store did not take it: the ban of {network} ends in this process alone, and holds again once the \
                 store answers; try again then"
            );
            unavailable(&detail)
        }
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
