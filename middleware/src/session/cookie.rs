//! The cookie that carries a token.

use std::time::Duration;

use http::HeaderValue;

use super::{SessionsConfig, Token};

/// The name, or `None` where tokens come as bearers alone. Browsers refuse `__Host-` over plain HTTP, and a subdomain cannot
/// set it.
pub(super) fn name(settings: &SessionsConfig) -> Option<&'static str> {
    match (settings.cookie, settings.insecure_cookie) {
        (false, _) => None,
        (true, false) => Some("__Host-session"),
        (true, true) => Some("session"),
    }
}

/// A `Set-Cookie` of a token; with `lasts` the browser keeps it for so long, otherwise until it is closed.
pub(super) fn set(name: &str, token: &Token, lasts: Option<Duration>) -> Option<HeaderValue> {
    let age = lasts.map_or_else(String::new, |lasts| {
        format!("; Max-Age={}", lasts.as_secs())
    });
    let mut value = written(name, token.expose(), &age)?;
    value.set_sensitive(true);
    Some(value)
}

/// A `Set-Cookie` that removes it.
pub(super) fn clear(name: &str) -> Option<HeaderValue> {
    written(name, "", "; Max-Age=0")
}

fn written(name: &str, value: &str, age: &str) -> Option<HeaderValue> {
    let secure = if name.starts_with("__Host-") {
        "; Secure"
    } else {
        ""
    };
    // Always legal: a token is base64url, dots and an underscore.
    HeaderValue::try_from(format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}"
    ))
    .ok()
}
