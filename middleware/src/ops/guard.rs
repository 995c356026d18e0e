//! Access to the page: a page of this listener in a browser may ask, and so may a program that is no browser.
//!
//! The listener is often on an address that browsers reach and attackers do not. A web site must not succeed in having
//! its visitors' browsers ask on its behalf:
//!
//! - under a name of its own that leads here (DNS rebinding), so that it may read the answers: refused by the `Host`;
//! - from its own origin: refused by `Sec-Fetch-Site` (W3C, Fetch Metadata) and `Origin` (RFC 6454), and never answered with
//!   a CORS header;
//! - by a form or a script whose answer it cannot read: an action needs a token that only the page's text holds, and a
//!   content type that no form can send.

use std::fmt;

use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::http::hosts::Hosts;
use crate::http::sole;

/// The header of the token.
pub(super) const TOKEN: &str = "x-palisade-token";

/// The token that lets a page act: 128 random bits in hexadecimal, new in each process.
pub(super) struct Token([u8; 32]);

impl Token {
    /// `None` if the system has no random bytes; then nothing may be done.
    pub(super) fn random() -> Option<Self> {
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(
                target: "palisade::ops",
                event = "live_page_read_only",
                %error,
                "no random bytes for the live page's token: it shows, and may do nothing"
            );
            return None;
        }
        let mut token = [0; 32];
        for (digits, byte) in token.chunks_exact_mut(2).zip(random) {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        Some(Self(token))
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether this is the token, in a time that does not depend on where the two differ.
    fn is(&self, sent: &[u8]) -> bool {
        let differences = self.0.iter().zip(sent).fold(0, |all, (a, b)| all | (a ^ b));
        sent.len() == self.0.len() && std::hint::black_box(differences) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 421: the name is not this listener's.
    Host(String),
    /// 403: another site asks.
    Site(&'static str),
}

/// Refuses requests that another site could have a browser send, except for following a link to the page.
pub(super) fn check(hosts: &Hosts, parts: &Parts, is_page: bool) -> Result<(), Refusal> {
    let authority = hosts.asked(parts).map_err(Refusal::Host)?;
    match sole(&parts.headers, "sec-fetch-site") {
        Err(()) => return Err(Refusal::Site("more than one `Sec-Fetch-Site`")),
        Ok(None | Some("same-origin")) => {}
        Ok(Some("none")) if parts.method != Method::POST => {}
        Ok(Some(_)) => {
            let header = |name| sole(&parts.headers, name).ok().flatten();
            let navigates = header("sec-fetch-mode") == Some("navigate")
                && header("sec-fetch-dest") == Some("document");
            if !(is_page && navigates && parts.method == Method::GET) {
                return Err(Refusal::Site("the browser says that another site asks"));
            }
        }
    }
    match sole(&parts.headers, ORIGIN.as_str()) {
        Err(()) => Err(Refusal::Site("more than one `Origin`")),
        Ok(None) => Ok(()),
        Ok(Some(origin)) => {
            let origin = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            if origin.is_some_and(|origin| origin.eq_ignore_ascii_case(&authority)) {
                Ok(())
            } else {
                Err(Refusal::Site("the `Origin` is another than the `Host`"))
            }
        }
    }
}

/// Whether a request carries the token.
pub(super) fn has_token(token: &Token, headers: &HeaderMap) -> bool {
    let mut sent = headers.get_all(TOKEN).iter();
    match (sent.next(), sent.next()) {
        (Some(sent), None) => token.is(sent.as_bytes()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn hosts() -> Hosts {
        let mut hosts = Hosts::default();
        hosts.add("ops.hosts", "Ops.Example.com").unwrap();
        hosts
    }

    fn asks(
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        is_page: bool,
    ) -> Result<(), Refusal> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&hosts(), &request.body(()).unwrap().into_parts().0, is_page)
    }

    #[test]
    fn a_host_is_an_address_localhost_or_a_name_that_was_allowed() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "[::1]",
            "localhost",
            "LOCALHOST:80",
            "ops.example.com:443",
        ] {
            assert_eq!(asks("GET", "/", &[("host", host)], true), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:9464.evil.example",
            "127.0.0.1@evil.example",
            "ops.example.com.evil.example",
            "localhost.",
            "[::1].evil.example",
            "[::1",
            "::1",
            "0x7f000001",
            "2130706433",
        ] {
            let refused = asks("GET", "/", &[("host", host)], true);
            assert!(matches!(refused, Err(Refusal::Host(_))), "{host}");
        }
        assert!(asks("GET", "/", &[], true).is_err(), "no host at all");
        let two = [("host", "127.0.0.1"), ("host", "evil.example")];
        assert!(asks("GET", "/", &two, true).is_err());
    }

    #[test]
    fn the_targets_authority_and_the_host_must_both_be_allowed() {
        let evil = "http://evil.example/";
        assert!(asks("GET", evil, &[("host", "127.0.0.1")], true).is_err());
        let good = "http://127.0.0.1:9464/";
        assert!(asks("GET", good, &[("host", "evil.example")], true).is_err());
        assert!(asks("GET", good, &[], true).is_ok());
        // The target's is the one that an origin is compared with.
        let headers = [("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:9464")];
        assert!(asks("GET", good, &headers, true).is_ok());
    }

    #[test]
    fn another_site_may_link_to_the_page_and_do_nothing_else() {
        let from = |site, mode, dest| {
            [
                ("host", "127.0.0.1"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ]
        };
        for site in ["cross-site", "same-site", "anything"] {
            let link = from(site, "navigate", "document");
            assert!(asks("GET", "/", &link, true).is_ok(), "{site}");
            assert!(asks("GET", "/events", &link, false).is_err(), "{site}");
            assert!(asks("POST", "/", &link, true).is_err(), "{site}");
            for (mode, dest) in [
                ("navigate", "iframe"),
                ("no-cors", "script"),
                ("cors", "empty"),
            ] {
                assert!(
                    asks("GET", "/", &from(site, mode, dest), true).is_err(),
                    "{site} {dest}"
                );
            }
        }
        for site in ["same-origin", "none"] {
            assert!(asks("GET", "/events", &from(site, "cors", "empty"), false).is_ok());
        }
        assert!(
            asks(
                "POST",
                "/bans/lift",
                &from("same-origin", "cors", "empty"),
                false
            )
            .is_ok()
        );
        assert!(asks("POST", "/bans/lift", &from("none", "cors", "empty"), false).is_err());
    }

    #[test]
    fn an_origin_must_be_the_host_itself() {
        let from = |origin| [("host", "127.0.0.1:9464"), ("origin", origin)];
        for origin in ["http://127.0.0.1:9464", "https://127.0.0.1:9464"] {
            assert!(
                asks("POST", "/bans/lift", &from(origin), false).is_ok(),
                "{origin}"
            );
        }
        for origin in [
            "http://127.0.0.1",
            "http://127.0.0.1:8000",
            "http://localhost:9464",
            "http://evil.example",
            "null",
            "",
            "127.0.0.1:9464",
            "http://127.0.0.1:9464/",
        ] {
            assert!(
                asks("POST", "/bans/lift", &from(origin), false).is_err(),
                "{origin}"
            );
            assert!(
                asks("GET", "/events", &from(origin), false).is_err(),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_token_is_random_and_wanted_whole_and_once() {
        let token = Token::random().unwrap();
        let text = token.as_str().to_owned();
        assert_eq!(text.len(), 32);
        assert_ne!(text, Token::random().unwrap().as_str());
        let carries = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TOKEN, value.parse().unwrap());
            }
            has_token(&token, &headers)
        };
        assert!(carries(&[&text]));
        assert!(!carries(&[]));
        assert!(!carries(&[""]));
        assert!(!carries(&[&text[..31]]));
        assert!(!carries(&[&format!("{text}0")]));
        assert!(!carries(&[&text, &text]));
        assert!(!carries(&["00000000000000000000000000000000"]));
        assert!(!format!("{token:?}").contains(&text));
    }

    #[test]
    fn a_host_to_allow_must_be_a_name() {
        for name in ["", "a b", "http://a", "a:80", "a..b", ".", "*", "é"] {
            let error = Hosts::default().add("ops.hosts", name).unwrap_err();
            assert_eq!(error.key(), "ops.hosts", "{name:?}");
        }
    }
}
