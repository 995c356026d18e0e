use proptest::prelude::*;

use super::*;

/// 2015-05-17T10:05:03Z.
const AT: i64 = 1_431_857_103;

fn read(line: &str) -> (String, Option<&[u8]>, i64, &[u8], u16) {
    let line = parse(line.as_bytes()).unwrap_or_else(|why| panic!("{line}: {why}"));
    (
        line.peer.to_canonical().to_string(),
        line.user,
        line.at,
        line.request,
        line.status.as_u16(),
    )
}

#[test]
fn reads_odd_lines() {
    let time = "[17/May/2015:10:05:03 +0000]";
    let get: &[u8] = b"GET / HTTP/1.1";
    for (line, client, user, request, status) in [
        // Common, combined, and combined with more fields.
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTTP/1.1" 200 12"#),
            "192.0.2.1",
            None,
            get,
            200,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTTP/1.1" 304 - "-" "curl/8""#),
            "192.0.2.1",
            None,
            get,
            304,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTTP/1.1" 499 0 "-" "-" "10.0.0.1" 0.003"#),
            "192.0.2.1",
            None,
            get,
            499,
        ),
        // A second pair of quotes around the whole line, with and without a referrer.
        (
            format!(
                r#""192.0.2.1 - - {time} "GET / HTTP/1.1" 303 3 "http://a/" "M (K, like G) C""#
            ),
            "192.0.2.1",
            None,
            get,
            303,
        ),
        (
            format!(r#""192.0.2.1 - - {time} "GET / HTTP/1.1" 303 382""#),
            "192.0.2.1",
            None,
            get,
            303,
        ),
        // Line ends, byte order mark, NULs of a truncated file.
        (
            format!("192.0.2.1 - - {time} \"GET / HTTP/1.1\" 200 12\r"),
            "192.0.2.1",
            None,
            get,
            200,
        ),
        (
            format!("\u{feff}192.0.2.1 - - {time} \"GET / HTTP/1.1\" 200 12"),
            "192.0.2.1",
            None,
            get,
            200,
        ),
        (
            format!("\0\0\0192.0.2.1 - - {time} \"GET / HTTP/1.1\" 200 12"),
            "192.0.2.1",
            None,
            get,
            200,
        ),
        // IPv6, mapped IPv4, a zone.
        (
            format!(r#"2001:db8::7 - - {time} "GET / HTTP/1.1" 200 1"#),
            "2001:db8::7",
            None,
            get,
            200,
        ),
        (
            format!(r#"::ffff:192.0.2.1 - - {time} "GET / HTTP/1.1" 200 1"#),
            "192.0.2.1",
            None,
            get,
            200,
        ),
        (
            format!(r#"fe80::1%eth0 - - {time} "GET / HTTP/1.1" 200 1"#),
            "fe80::1",
            None,
            get,
            200,
        ),
        // Escapes.
        (
            format!(r#"192.0.2.1 - - {time} "GET /\" 200 5 \" HTTP/1.1" 404 1"#),
            "192.0.2.1",
            None,
            br#"GET /\" 200 5 \" HTTP/1.1"#,
            404,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET /\\" 404 1"#),
            "192.0.2.1",
            None,
            br"GET /\\",
            404,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "\x16\x03\x01" 400 226 "-" "-""#),
            "192.0.2.1",
            None,
            br"\x16\x03\x01",
            400,
        ),
        // Quotes that a server left as they were.
        (
            format!(r#"192.0.2.1 - - {time} "GET /?q="a" HTTP/1.1" 200 1"#),
            "192.0.2.1",
            None,
            br#"GET /?q="a" HTTP/1.1"#,
            200,
        ),
        // No request at all.
        (
            format!(r#"192.0.2.1 - - {time} "-" 408 - "-" "-""#),
            "192.0.2.1",
            None,
            b"-",
            408,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "" 400 0 "-" "-""#),
            "192.0.2.1",
            None,
            b"",
            400,
        ),
        // Users: verified, refused, with a space, empty, one that tries to forge the rest of the line.
        (
            format!(r#"192.0.2.1 - ann {time} "GET / HTTP/1.1" 200 1"#),
            "192.0.2.1",
            Some(&b"ann"[..]),
            get,
            200,
        ),
        (
            format!(r#"192.0.2.1 - ann {time} "GET / HTTP/1.1" 401 1"#),
            "192.0.2.1",
            None,
            get,
            401,
        ),
        (
            format!(r#"192.0.2.1 - ann bee {time} "GET / HTTP/1.1" 200 1"#),
            "192.0.2.1",
            Some(b"ann bee"),
            get,
            200,
        ),
        (
            format!(r#"192.0.2.1 - "" {time} "GET / HTTP/1.1" 200 1"#),
            "192.0.2.1",
            None,
            get,
            200,
        ),
        (
            format!(
                r#"192.0.2.1 - a [01/Jan/1999:00:00:00 +0000] \"x\" 200 1 {time} "GET / HTTP/1.1" 200 1"#
            ),
            "192.0.2.1",
            Some(br#"a [01/Jan/1999:00:00:00 +0000] \"x\" 200 1"#),
            get,
            200,
        ),
    ] {
        assert_eq!(
            read(&line),
            (client.to_owned(), user, AT, request, status),
            "{line}"
        );
    }
}

#[test]
fn says_why_a_line_cannot_be_read() {
    let time = "[17/May/2015:10:05:03 +0000]";
    for (line, why) in [
        (String::new(), Unreadable::Empty),
        ("\0\0\0".to_owned(), Unreadable::Empty),
        ("#Software: x".to_owned(), Unreadable::HostName),
        (
            format!(r#"crawler.example.org - - {time} "GET / HTTP/1.1" 200 1"#),
            Unreadable::HostName,
        ),
        (
            format!(r#"192.0.2.256 - - {time} "GET / HTTP/1.1" 200 1"#),
            Unreadable::HostName,
        ),
        (
            format!(r#"192.0.2.1%eth0 - - {time} "GET / HTTP/1.1" 200 1"#),
            Unreadable::HostName,
        ),
        ("192.0.2.1".to_owned(), Unreadable::HostName),
        ("192.0.2.1 -".to_owned(), Unreadable::Time),
        (
            r#"192.0.2.1 - - [2015-05-17T10:05:03Z] "GET / HTTP/1.1" 200 1"#.to_owned(),
            Unreadable::Time,
        ),
        (format!("192.0.2.1 - - {time}"), Unreadable::Time),
        (
            format!("192.0.2.1 - - {time} GET / 200 1"),
            Unreadable::Time,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTT"#),
            Unreadable::Request,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET /\" 200 1"#),
            Unreadable::Request,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTTP/1.1""#),
            Unreadable::Status,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTTP/1.1" 200"#),
            Unreadable::Status,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTTP/1.1" 099 1"#),
            Unreadable::Status,
        ),
        (
            format!(r#"192.0.2.1 - - {time} "GET / HTTP/1.1" 200 x"#),
            Unreadable::Status,
        ),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(why), "{line}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line);
    }

    #[test]
    fn no_bytes_in_the_place_of_a_field_make_it_panic(
        user in prop::collection::vec(any::<u8>(), 0..40),
        time in "[0-9A-Za-z/: +-]{0,30}",
        request in prop::collection::vec(any::<u8>(), 0..40),
        rest in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let line = [b"192.0.2.1 - ", &user[..], b" [", time.as_bytes(), b"] \"", &request, b"\"", &rest].concat();
        let _ = parse(&line);
    }

    /// Escaped as Apache does, no request can end itself early or change any other field.
    #[test]
    fn an_escaped_request_stays_one_field(request in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut escaped = Vec::new();
        for byte in request {
            match byte {
                b'"' | b'\\' => escaped.extend([b'\\', byte]),
                b' '..=b'~' => escaped.push(byte),
                byte => escaped.extend(format!("\\x{byte:02x}").bytes()),
            }
        }
        let line = [b"192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"", &escaped[..], b"\" 404 1"].concat();
        let read = parse(&line).unwrap();
        prop_assert_eq!((read.at, read.request, read.status.as_u16()), (AT, &escaped[..], 404));
    }
}
