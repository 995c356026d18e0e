use http::{Method, Uri};

/// The part of a request line that decides which request it is: without the query, so that a log's distinct
/// requests stay few.
pub(super) fn head(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| matches!(byte, b'?' | b'#'));
    match end {
        Some(end) => &line[..end],
        None => strip_version(line),
    }
}

fn strip_version(line: &[u8]) -> &[u8] {
    let space = line.iter().rposition(|&byte| byte == b' ');
    match space {
        Some(space) if line[space + 1..].starts_with(b"HTTP/") => &line[..space],
        _ => line,
    }
}

/// The method and target of a head, as escaped in the log.
///
/// What is no method becomes `GET`, and what is no target `/`: such a line was a connection that sent something
/// (a TLS handshake, an empty line), and its client pays for it.
pub(super) fn parse(head: &[u8]) -> (Method, Uri) {
    let odd = || (Method::GET, Uri::from_static("/"));
    let Some(space) = head.iter().position(|&byte| byte == b' ') else {
        return odd();
    };
    let (method, target) = (&head[..space], head[space + 1..].trim_ascii());
    let Ok(method) = Method::from_bytes(method) else {
        return odd();
    };
    let target = unescape(target);
    let uri = Uri::try_from(&target[..]).or_else(|_| Uri::try_from(percent_encode(&target)));
    (method, uri.unwrap_or_else(|_| Uri::from_static("/")))
}

/// Undoes Apache's `\"`, `\\`, `\n` and `\xhh`, and nginx's `\xHH`.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let (byte, skip) = match (byte, after) {
            (b'\\', [b'x', high, low, ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'\\', 0),
            },
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', [escaped @ (b'"' | b'\\'), ..]) => (*escaped, 1),
            _ => (byte, 0),
        };
        plain.push(byte);
        rest = &rest[skip..];
    }
    plain
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// The target with everything encoded that RFC 3986 does not allow in a path.
fn percent_encode(target: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(target.len() * 2);
    for &byte in target {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%[]".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_method_and_path() {
        for (line, method, path) in [
            (r"GET /a/b?c=d HTTP/1.1", "GET", "/a/b"),
            (r"POST /a#b HTTP/1.0", "POST", "/a"),
            (r"GET /a", "GET", "/a"),
            (r"PROPFIND / HTTP/1.1", "PROPFIND", "/"),
            (r"GET http://example.org/a?b HTTP/1.1", "GET", "/a"),
            (r"OPTIONS * HTTP/1.0", "OPTIONS", "*"),
            (r"CONNECT example.org:443 HTTP/1.1", "CONNECT", ""),
            (r"GET /a b HTTP/1.1", "GET", "/a%20b"),
            (
                r#"GET /\"<a>\\\x41\xf0 HTTP/1.1"#,
                "GET",
                "/%22%3Ca%3E%5CA%F0",
            ),
            (r"GET /\n\xzz HTTP/1.1", "GET", "/%0A%5Cxzz"),
            // No request at all.
            (r"", "GET", "/"),
            (r"-", "GET", "/"),
            (r"\x16\x03\x01\x02", "GET", "/"),
            (r"\x16\x03 \x01 HTTP/1.1", "GET", "/"),
            (r"GET  HTTP/1.1", "GET", "/"),
            (r"GET nonsense here HTTP/1.1", "GET", "/"),
        ] {
            let (read_method, uri) = parse(head(line.as_bytes()));
            assert_eq!((read_method.as_str(), uri.path()), (method, path), "{line}");
        }
    }

    #[test]
    fn a_query_makes_no_other_request() {
        assert_eq!(head(b"GET /a?b=1 HTTP/1.1"), head(b"GET /a?c=2 HTTP/1.1"));
        assert_eq!(head(b"GET /a?b=1 HTTP/1.1"), head(b"GET /a HTTP/1.1"));
        assert_ne!(head(b"GET /a HTTP/1.1"), head(b"POST /a HTTP/1.1"));
    }

    proptest! {
        #[test]
        fn every_request_line_becomes_a_request(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let (method, uri) = parse(head(&line));
            prop_assert!(http::Request::builder().method(method).uri(uri).body(()).is_ok());
        }
    }
}
