//! Who the user is: **a stand-in** for the verification that a real service has.
//!
//! A demo token says who its bearer is, unsigned: anybody can write `user-token-ada`. Replace [`user`] by what
//! verifies your tokens (a signature, a lookup), or turn sessions on (`[sessions]`), which are real; then no demo token is
//! accepted. Everything else of the example can stay.

use std::fmt;

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use palisade::session::{Session, Sessions};

use crate::identifier;
use crate::routes::Problem;

/// The demo's password, for any user.
pub(crate) const PASSWORD: &str = "palisade";

const TOKEN_PREFIX: &str = "user-token-";

/// The user that the request's bearer token names, or `None` without an `Authorization` header.
///
/// # Errors
/// [`InvalidToken`] for any other `Authorization` than `Bearer user-token-<id>`, and for more than one.
pub fn user(headers: &HeaderMap) -> Result<Option<&str>, InvalidToken> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(credentials) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(InvalidToken);
    }
    verify(credentials).map(Some).ok_or(InvalidToken)
}

fn verify(credentials: &HeaderValue) -> Option<&str> {
    let (scheme, token) = credentials.to_str().ok()?.split_once(' ')?;
    // The scheme's case does not matter (RFC 9110, section 11.1).
    let user = token.trim_matches(' ').strip_prefix(TOKEN_PREFIX)?;
    (scheme.eq_ignore_ascii_case("bearer") && identifier::is_valid(user)).then_some(user)
}

/// The user of a request: of its session where the shop has sessions, else of its demo token.
///
/// # Errors
/// As [`user`]; with sessions, for any `Authorization` that is no session's.
pub(crate) fn verified(
    extensions: &Extensions,
    headers: &HeaderMap,
) -> Result<Option<String>, InvalidToken> {
    if extensions.get::<Sessions>().is_none() {
        return user(headers).map(|user| user.map(String::from));
    }
    match extensions.get::<Session>() {
        Some(session) => Ok(Some(session.user.to_string())),
        None if headers.contains_key(header::AUTHORIZATION) => Err(InvalidToken),
        None => Ok(None),
    }
}

/// The token of a user who has logged in.
pub(crate) fn token(user: &str) -> String {
    format!("{TOKEN_PREFIX}{user}")
}

/// The request carries credentials, and they are not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidToken;

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "The bearer token is not valid. POST /login returns one; without a token you may browse and buy \
             anonymously.",
        )
    }
}

impl std::error::Error for InvalidToken {}

/// Answers 401 to every request with an invalid token, wherever it goes.
pub(crate) async fn refuse_invalid_tokens(request: Request, next: Next) -> Response {
    match verified(request.extensions(), request.headers()) {
        Ok(_) => next.run(request).await,
        Err(invalid) => Problem::unauthorized(
            // RFC 6750, section 3.1.
            r#"Bearer realm="webstore", error="invalid_token""#,
            invalid.to_string(),
        )
        .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_of(values: &[&str]) -> Result<Option<String>, InvalidToken> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        user(&headers).map(|user| user.map(String::from))
    }

    #[test]
    fn no_header_is_anonymous() {
        assert_eq!(user_of(&[]), Ok(None));
    }

    #[test]
    fn a_demo_token_names_its_user_and_the_scheme_may_have_any_case() {
        for header in [
            "Bearer user-token-ada",
            "bearer user-token-ada",
            "BEARER  user-token-ada ",
        ] {
            assert_eq!(user_of(&[header]), Ok(Some("ada".into())), "{header:?}");
        }
    }

    #[test]
    fn a_token_that_login_returns_is_valid() {
        assert_eq!(
            user_of(&[&format!("Bearer {}", token("a.b_c-9"))]),
            Ok(Some("a.b_c-9".into()))
        );
    }

    #[test]
    fn any_other_credentials_are_invalid() {
        let long = format!("Bearer user-token-{}", "x".repeat(65));
        for header in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer user-token-",
            "Bearer user-token-a b",
            "Bearer user-token-a@b",
            "Bearer admin",
            "Basic dXNlcjpwYXNz",
            "user-token-ada",
            &long,
        ] {
            assert_eq!(user_of(&[header]), Err(InvalidToken), "{header:?}");
        }
    }

    #[test]
    fn two_headers_are_invalid_even_when_they_agree() {
        assert_eq!(
            user_of(&["Bearer user-token-ada", "Bearer user-token-ada"]),
            Err(InvalidToken)
        );
    }
}
