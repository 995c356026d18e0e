//! The page on which users sign in, and see and end their own sessions: `/account`, where the shop has sessions.
//!
//! It is plain HTML with a stylesheet and native modules, and looks like palisade's live page, whose files it shares. All that it
//! knows comes from the endpoints of sessions.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::routes::Problem;

/// The routes of [`router`].
pub(crate) const ROUTES: [&str; 2] = ["GET /account", "GET /account/{file}"];

/// As strict as the live page's: nothing inline, nothing from elsewhere.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("account.html");

macro_rules! live_page {
    ($file:literal) => {
        include_str!(concat!("../../../../middleware/src/ops/page/", $file))
    };
}

/// What the page loads: its own, and what it shares with the live page.
const FILES: [(&str, &str, &str); 6] = [
    ("account.css", CSS, include_str!("account.css")),
    ("account.js", JS, include_str!("account.js")),
    ("ops.css", CSS, live_page!("ops.css")),
    ("theme.js", JS, live_page!("theme.js")),
    ("dom.js", JS, live_page!("dom.js")),
    ("text.js", JS, live_page!("text.js")),
];

/// The page and its files.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/account", get(async || answer(HTML, PAGE)))
        .route("/account/{file}", get(file))
}

async fn file(axum::extract::Path(name): axum::extract::Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, content_type, text)) => answer(content_type, text),
        None => Problem::new(StatusCode::NOT_FOUND, "The page has no such file.").into_response(),
    }
}

fn answer(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, text).into_response()
}
