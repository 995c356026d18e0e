//! What a request presents: a cookie, a bearer token, neither, or what cannot be right.

use std::hash::{BuildHasher, RandomState};

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::store::Claim;
use super::token::{Invalid, Keyring};

/// What a request says of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presented {
    /// Nothing that is ours.
    Nothing,
    /// A token that this service made.
    Token(Claim, Via),
    /// A bearer token that this service did not make, and a hash by which guesses are told apart.
    Forged(u64),
    /// A cookie that this service did not make. A browser sends what it was once given, such as a token by a secret before the
    /// last, so it is no guess.
    Stale,
    /// More than one token.
    Several(Via),
}

/// How a token comes. Of several, the one that programs send counts: they are told that it is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Cookie,
    Bearer,
}

/// Reads the two headers. An `Authorization` without the mark of a token is not ours.
pub(super) fn read(
    headers: &HeaderMap,
    cookie: Option<&str>,
    keys: &Keyring,
    hasher: &RandomState,
) -> Presented {
    let mut found = None;
    let mut several = false;
    let mut note = |text, via| {
        several |= found.is_some();
        if found.is_none() || via == Via::Bearer {
            found = Some((text, via));
        }
    };
    if let Some(name) = cookie {
        for text in cookies(headers, name) {
            note(text, Via::Cookie);
        }
    }
    for text in headers.get_all(AUTHORIZATION).iter().filter_map(bearer) {
        note(text, Via::Bearer);
    }
    match found {
        None => Presented::Nothing,
        Some((_, via)) if several => Presented::Several(via),
        Some((text, via)) => match keys.read(text) {
            Ok(claim) => Presented::Token(claim, via),
            Err(Invalid::NotOurs) if via == Via::Bearer => Presented::Nothing,
            Err(_) if via == Via::Cookie => Presented::Stale,
            Err(_) => Presented::Forged(hasher.hash_one(text)),
        },
    }
}

/// The value of a `Bearer` with our mark.
fn bearer(value: &http::HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && token.starts_with("pls_")).then_some(token)
}

/// Every value of a cookie of this name; HTTP/2 may split the header. Other cookies may hold any bytes, and what is no text is
/// no token.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        (key == name.as_bytes()).then(|| str::from_utf8(value).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Secret, UserId};
    use crate::session::SessionId;

    fn keys() -> Keyring {
        Keyring::new(Secret::from_bytes(b"a secret"), None)
    }

    fn token(user: &str) -> String {
        let user = UserId::kept(user).unwrap();
        let (token, _) = keys().derive(&user, SessionId::of([7; 16]), b"k");
        token.expose().to_owned()
    }

    fn presented(lines: &[(&'static str, String)]) -> Presented {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        read(
            &headers,
            Some("__Host-session"),
            &keys(),
            &RandomState::new(),
        )
    }

    fn cookie(value: &str) -> (&'static str, String) {
        ("cookie", format!("a=b; __Host-session={value}; c"))
    }

    fn authorization(value: &str) -> (&'static str, String) {
        ("authorization", value.to_owned())
    }

    #[test]
    fn a_token_comes_as_a_cookie_or_as_a_bearer() {
        let ada = token("ada");
        for (line, via) in [
            (cookie(&ada), Via::Cookie),
            (authorization(&format!("Bearer {ada}")), Via::Bearer),
            (authorization(&format!("bearer  {ada} ")), Via::Bearer),
        ] {
            let Presented::Token(claim, found) = presented(&[line]) else {
                panic!("no token");
            };
            assert_eq!((claim.user.as_str(), found), ("ada", via));
        }
    }

    #[test]
    fn credentials_of_others_are_left_alone() {
        for value in [
            "Bearer eyJhbGciOi",
            "Basic YTpi",
            "Bearer",
            "pls_a.b.c",
            "Bearer user-token-1",
        ] {
            assert_eq!(presented(&[authorization(value)]), Presented::Nothing);
        }
        let other = ("cookie", format!("session={}", token("ada")));
        assert_eq!(presented(&[other]), Presented::Nothing);
        assert_eq!(presented(&[]), Presented::Nothing);
    }

    #[test]
    fn what_this_service_did_not_make_is_forged() {
        let mut forged = token("ada");
        forged.pop();
        let bearer = presented(&[authorization(&format!("Bearer {forged}"))]);
        assert!(matches!(bearer, Presented::Forged(_)));
        for value in [&*forged, "", "x", "é"] {
            let cookie = presented(&[cookie(value)]);
            assert_eq!(cookie, Presented::Stale);
        }
    }

    #[test]
    fn cookies_of_others_hide_nothing_whatever_bytes_they_hold() {
        let mut headers = HeaderMap::new();
        let line = [b"theme=caf\xe9; __Host-session=", token("ada").as_bytes()].concat();
        headers.append("cookie", http::HeaderValue::from_bytes(&line).unwrap());
        let hasher = RandomState::new();
        let found = read(&headers, Some("__Host-session"), &keys(), &hasher);
        assert!(matches!(found, Presented::Token(_, Via::Cookie)));
    }

    #[test]
    fn two_tokens_are_too_many_even_if_they_are_the_same() {
        let ada = token("ada");
        let bearer = authorization(&format!("Bearer {ada}"));
        for (lines, via) in [
            (vec![cookie(&ada), bearer.clone()], Via::Bearer),
            (vec![bearer.clone(), bearer], Via::Bearer),
            (vec![cookie(&ada), cookie(&ada)], Via::Cookie),
            (
                vec![("cookie", format!("__Host-session={ada};__Host-session=x"))],
                Via::Cookie,
            ),
        ] {
            assert_eq!(presented(&lines), Presented::Several(via));
        }
    }
}
