//! Whether a request comes from a page of the service itself: no other site is to have a browser spend the cookie.

use std::net::{Ipv4Addr, Ipv6Addr};

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

/// What [`is_origin`] allows.
pub(super) const ALLOWED: &str = "origins as browsers send them, such as `https://app.example.com` or \
                                  `http://localhost:8080`: http or https, a host, and a port unless it is the scheme's own; no path, \
                                  no `*`, and names of other letters as `xn--…`";

/// Whether a text is an origin as browsers send it, but for capital letters: any other would match no request.
pub(super) fn is_origin(text: &str) -> bool {
    let (rest, usual_port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, "443"),
        (None, Some(rest)) => (rest, "80"),
        (None, None) => return false,
    };
    // The colons of an IPv6 address stand within brackets.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_port = |port: &str| {
        let number = port.parse::<u16>();
        // As a number is written: without a sign and without zeros before it.
        number.is_ok_and(|number| number > 0 && number.to_string() == port) && port != usual_port
    };
    is_host(host) && port.is_none_or(is_port)
}

/// Whether it is a host as a URL's serializer writes it.
fn is_host(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if let Some(v6) = v6 {
        let is_short = |address: Ipv6Addr| {
            // Browsers write the IPv4 inside as hexadecimal digits.
            address.to_ipv4_mapped().is_some() || address.to_string().eq_ignore_ascii_case(v6)
        };
        return !v6.contains('.') && v6.parse().is_ok_and(is_short);
    }
    let is_label = |label: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(legal)
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= 253 && host.split('.').all(is_label)
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
    fn an_origin_that_no_browser_sends_is_none() {
        for text in [
            "https://app.example.com",
            "https://App.Example.com",
            "http://localhost:8080",
            "https://shop.example:80",
            "http://127.0.0.1",
            "https://[2001:DB8::1]:8443",
            "https://[::ffff:7f00:1]",
            "https://xn--bcher-kva.example",
            "https://my_shop.example",
            "https://shop.example.",
        ] {
            assert!(is_origin(text), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://:",
            "https://:8443",
            ":443",
            "https://a.example/",
            "https://a.example/path",
            "https://a.example:",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:0",
            "https://a.example:065",
            "https://a.example:+65",
            "https://a.example:65536",
            "https://a.example:8443:1",
            "https://*.example",
            "https://a..example",
            "https://a.example..",
            "https://.example",
            "https://b\u{fc}cher.example",
            "https://127.1",
            "https://[::1",
            "https://[0::1]",
            "https://[::ffff:127.0.0.1]",
            "https://::1",
            "https://user@a.example",
            "HTTPS://a.example",
            "ftp://a.example",
        ] {
            assert!(!is_origin(text), "{text}");
        }
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
