//! Whether a request comes from a page of the service itself: no other site is to have a browser spend the cookie.

use http::header::{HOST, ORIGIN, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method};

/// Whether a request may do something that another site could have a browser do: all but reading. An upgrade may, since no
/// browser keeps a page from opening a WebSocket elsewhere.
pub(super) fn may_act(method: &Method, headers: &HeaderMap) -> bool {
    !method.is_safe() || headers.contains_key(UPGRADE)
}

/// Whether the browser says that a page of this service sends the request: `Sec-Fetch-Site: same-origin`, or an `Origin`
/// whose host is the request's own or which is allowed. What says neither is refused: browsers send one of them with
/// whatever [may act](may_act).
pub(super) fn is_same(request: &Parts, allowed: &[String]) -> bool {
    let headers = &request.headers;
    let site = sole(headers, "sec-fetch-site");
    if site == Sole::One("same-origin") {
        return true;
    }
    let Sole::One(origin) = sole(headers, ORIGIN.as_str()) else {
        return false;
    };
    if site == Sole::Many {
        return false;
    }
    if allowed.iter().any(|it| it.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = match request.uri.authority() {
        Some(authority) => Sole::One(authority.as_str()),
        None => sole(headers, HOST.as_str()),
    };
    let Sole::One(host) = host else {
        return false;
    };
    // The browser knows better than a host that a proxy may have changed.
    let is_foreign = matches!(site, Sole::One("cross-site" | "same-site"));
    !is_foreign && host_of(origin).is_some_and(|it| it.eq_ignore_ascii_case(host))
}

/// The host and port of an origin.
fn host_of(origin: &str) -> Option<&str> {
    let host = origin.strip_prefix("https://");
    host.or_else(|| origin.strip_prefix("http://"))
}

/// Whether a text is an origin as browsers send it.
pub(super) fn is_origin(text: &str) -> bool {
    let is_part =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    host_of(text).is_some_and(|host| !host.is_empty() && host.bytes().all(is_part))
}

/// How often a header stands in a request.
#[derive(Debug, PartialEq, Eq)]
enum Sole<'a> {
    None,
    One(&'a str),
    /// More than one, or one that is no text.
    Many,
}

fn sole<'a>(headers: &'a HeaderMap, name: &str) -> Sole<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Sole::None,
        (Some(value), None) => value.to_str().map_or(Sole::Many, Sole::One),
        (Some(_), Some(_)) => Sole::Many,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asks(headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post("/orders");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        is_same(&parts, &["https://app.example.com".to_owned()])
    }

    #[test]
    fn a_page_of_the_service_itself_may_act() {
        assert!(asks(&[("sec-fetch-site", "same-origin")]));
        for origin in [
            "https://shop.example",
            "http://shop.example",
            "https://SHOP.example",
        ] {
            assert!(asks(&[("host", "shop.example"), ("origin", origin)]));
        }
        let own = ("origin", "https://shop.example:8443");
        assert!(asks(&[("host", "shop.example:8443"), own]));
    }

    #[test]
    fn an_allowed_origin_may_act_whatever_the_browser_calls_the_site() {
        let allowed = ("origin", "https://app.example.com");
        for site in ["same-site", "cross-site"] {
            assert!(asks(&[
                ("host", "shop.example"),
                ("sec-fetch-site", site),
                allowed
            ]));
        }
    }

    #[test]
    fn another_site_in_any_of_its_forms_may_not() {
        let host = ("host", "shop.example");
        for headers in [
            &[] as &[(&str, &str)],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site")],
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://shop.example"),
            ],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://shop.example"),
            ],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://sub.shop.example")],
            &[("origin", "https://shop.example.evil.example")],
            &[("origin", "https://shop.example:444")],
            &[("origin", "https://user@shop.example")],
            &[("origin", "shop.example")],
            &[
                ("origin", "https://shop.example"),
                ("origin", "https://evil.example"),
            ],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(!asks(&[&[host], headers].concat()), "{headers:?}");
        }
        let (one, two) = (("host", "shop.example"), ("host", "evil.example"));
        assert!(!asks(&[one, two, ("origin", "https://evil.example")]));
    }

    #[test]
    fn what_acts_is_an_unsafe_method_or_an_upgrade() {
        let mut headers = HeaderMap::new();
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(!may_act(&method, &headers));
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "BREW"] {
            assert!(may_act(&method.parse().unwrap(), &headers));
        }
        headers.insert(UPGRADE, http::HeaderValue::from_static("websocket"));
        assert!(may_act(&Method::GET, &headers));
    }
}
