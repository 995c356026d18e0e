//! Actions: the requests that may act, and their bodies.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;

use super::answer::{problem, text, unavailable};
use super::body::OpsBody;
use super::guard::{TOKEN, has_token};
use super::hub::Hub;
use crate::http::json::{self, Unread};
use crate::model::panel::{Acted, shown};

/// Of a body, in bytes.
const MOST: usize = 1_024;

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
    if let Err(essence) = json::check_type(&parts.headers) {
        let detail = format!(
            "the body's type is `{}`: allowed is `application/json`",
            shown(essence)
        );
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail);
    }
    json::check_length(&parts.headers, MOST).map_err(|unread| Box::new(told(unread)))
}

/// Reads the body and has a panel act.
pub(super) async fn act<B: Body>(hub: Arc<Hub>, panel: usize, body: B) -> Response<OpsBody> {
    let read = match json::read(body, MOST).await {
        Ok(read) => read,
        Err(unread) => return told(unread),
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

fn told(unread: Unread) -> Response<OpsBody> {
    problem(unread.status(), &unread.detail())
}
