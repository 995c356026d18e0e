use http::HeaderName;

use super::*;

fn headers(name: &'static str, lines: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// The client that connects through 10.0.0.1, with all of 10.0.0.0/8 and fd00::/8 trusted.
fn client(header: ForwardedHeader, lines: &[&[u8]]) -> String {
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let trusted = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8"]).unwrap();
    let peer = "10.0.0.1".parse().unwrap();
    header
        .client(
            peer,
            &headers(name, lines),
            &trusted,
            &Nat64Prefixes::default(),
        )
        .to_string()
}

#[test]
fn walks_x_forwarded_for_from_the_right() {
    let cases: &[(&[&[u8]], &str)] = &[
        (&[], "10.0.0.1"),
        (&[b""], "10.0.0.1"),
        (&[b"192.0.2.1"], "192.0.2.1"),
        (&[b"203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        (&[b"192.0.2.1, 10.0.0.3,10.0.0.2"], "192.0.2.1"),
        (&[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // Several lines are one list.
        (&[b"203.0.113.9", b"192.0.2.1"], "192.0.2.1"),
        (&[b"192.0.2.1", b"10.0.0.3", b"10.0.0.2"], "192.0.2.1"),
        // Empty elements are no elements.
        (&[b"192.0.2.1,, ,\t,10.0.0.2,"], "192.0.2.1"),
        (&[b"192.0.2.1", b"", b" , "], "192.0.2.1"),
        // Ports, brackets and zones are dropped, mapped addresses are IPv4.
        (&[b"192.0.2.1:8080"], "192.0.2.1"),
        (&[b"2001:db8::1"], "2001:db8::1"),
        (&[b"[2001:db8::1]"], "2001:db8::1"),
        (&[b"[2001:DB8:0::1]:443"], "2001:db8::1"),
        (&[b"fe80::1%eth0"], "fe80::1"),
        (&[b"[fe80::1%25eth0]:80"], "fe80::1"),
        (&[b"::ffff:192.0.2.1"], "192.0.2.1"),
        (
            &[b"192.0.2.1, [::ffff:10.9.9.9]:80, fd00::2%3"],
            "192.0.2.1",
        ),
        // A malformed element ends the walk at the last good address.
        (&[b"192.0.2.1, garbage, 10.0.0.2"], "10.0.0.2"),
        (&[b"192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
        (&[b"192.0.2.1, _hidden"], "10.0.0.1"),
        (&[b"\"192.0.2.1\""], "10.0.0.1"),
        (&[b"192.0.2.1 10.0.0.2"], "10.0.0.1"),
        (&[b"192.0.2.1;10.0.0.2"], "10.0.0.1"),
        (&[b"192.0.2"], "10.0.0.1"),
        (&[b"192.0.2.256"], "10.0.0.1"),
        (&[b"192.0.2.010"], "10.0.0.1"),
        (&[b"3221225985"], "10.0.0.1"),
        (&[b"192.0.2.1:"], "10.0.0.1"),
        (&[b"192.0.2.1:123456"], "10.0.0.1"),
        (&[b"192.0.2.1:http"], "10.0.0.1"),
        (&[b"192.0.2.1%eth0"], "10.0.0.1"),
        (&[b"[192.0.2.1]"], "10.0.0.1"),
        (&[b"[2001:db8::1"], "10.0.0.1"),
        (&[b"2001:db8::1]"], "10.0.0.1"),
        (&[b"[2001:db8::1]80"], "10.0.0.1"),
        (&[b"[2001:db8::1]:"], "10.0.0.1"),
        (&[b"fe80::1%"], "10.0.0.1"),
        (&[b"2001:db8::1::"], "10.0.0.1"),
        (&[b"192.0.2.\xff, \xc3\xa9, 10.0.0.2"], "10.0.0.2"),
        (&[b"\xd9\xa1.0.0.1"], "10.0.0.1"),
        (&[b"for=192.0.2.1"], "10.0.0.1"),
    ];
    for (lines, expected) in cases {
        let result = client(ForwardedHeader::XForwardedFor, lines);
        assert_eq!(result, *expected, "{}", lines.concat().escape_ascii());
    }
}

#[test]
fn walks_forwarded_from_the_right() {
    let cases: &[(&[&[u8]], &str)] = &[
        (&[b"for=192.0.2.1"], "192.0.2.1"),
        (&[b"FOR=192.0.2.1"], "192.0.2.1"),
        (
            &[b"for=203.0.113.9, for=192.0.2.1, for=10.0.0.2"],
            "192.0.2.1",
        ),
        (
            &[b"for=203.0.113.9", b"for=192.0.2.1", b"for=10.0.0.2"],
            "192.0.2.1",
        ),
        (&[b"for=10.0.0.3,for=10.0.0.2"], "10.0.0.3"),
        (&[b"for=192.0.2.1,, ,for=10.0.0.2,"], "192.0.2.1"),
        // Several parameters, empty ones allowed.
        (&[b"for=192.0.2.1;proto=https;by=203.0.113.43"], "192.0.2.1"),
        (
            &[b"by=203.0.113.43; proto=https ; For=192.0.2.1"],
            "192.0.2.1",
        ),
        (&[b";for=192.0.2.1;;"], "192.0.2.1"),
        // Quoted strings, brackets, ports, zones.
        (&[b"for=\"192.0.2.1\""], "192.0.2.1"),
        (&[b"for=\"192.0.2.1:4711\""], "192.0.2.1"),
        (&[b"for=\"192.0.2.1:_obf-1\""], "192.0.2.1"),
        (&[b"for=\"[2001:db8::1]\""], "2001:db8::1"),
        (&[b"For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&[b"for=\"[fe80::1%25eth0]:80\""], "fe80::1"),
        (&[b"for=\"[::ffff:192.0.2.1]\""], "192.0.2.1"),
        (&[b"for=\"1\\92.0.\\2.1\""], "192.0.2.1"),
        (&[b"for=[2001:db8::1]:80"], "2001:db8::1"),
        // Commas, semicolons and quotes within a quoted string are its own.
        (
            &[b"for=192.0.2.1;host=\"a,b;for=203.0.113.9\""],
            "192.0.2.1",
        ),
        (
            &[b"host=\"x\\\", for=203.0.113.9, y=\\\"z\";for=192.0.2.1"],
            "192.0.2.1",
        ),
        (
            &[b"for=192.0.2.1, for=10.0.0.2;host=\"a\\\\\""],
            "192.0.2.1",
        ),
        (&[b"for=192.0.2.1;host=\"\xff\xc3\xa9\""], "192.0.2.1"),
        (&[b"for=192.0.2.1;host=\"\""], "192.0.2.1"),
        // What a client left open swallows nothing that a proxy appended.
        (&[b"for=\", for=192.0.2.1"], "192.0.2.1"),
        (&[b"for=\"x, for=\"192.0.2.1\""], "192.0.2.1"),
        (
            &[b"for=\"\\, for=\"192.0.2.1:1\", for=10.0.0.2"],
            "192.0.2.1",
        ),
        // No address: the walk ends at the last good one.
        (&[b"for=192.0.2.1, for=unknown, for=10.0.0.2"], "10.0.0.2"),
        (&[b"for=192.0.2.1, for=_hidden"], "10.0.0.1"),
        (&[b"for=192.0.2.1, for=\"_SEVKISEK:80\""], "10.0.0.1"),
        (&[b"for=192.0.2.1, proto=https"], "10.0.0.1"),
        (&[b"for=192.0.2.1, ;"], "10.0.0.1"),
        (&[b"for=192.0.2.1;for=192.0.2.2"], "10.0.0.1"),
        (&[b"192.0.2.1"], "10.0.0.1"),
        (&[b"for"], "10.0.0.1"),
        (&[b"for="], "10.0.0.1"),
        (&[b"=192.0.2.1"], "10.0.0.1"),
        (&[b"for =192.0.2.1"], "10.0.0.1"),
        (&[b"for= 192.0.2.1"], "10.0.0.1"),
        (&[b"for=192.0.2.1 proto=https"], "10.0.0.1"),
        (&[b"for=192.0.2.1;proto"], "10.0.0.1"),
        (&[b"for=192.0.2.1;p(=x"], "10.0.0.1"),
        (&[b"for=\"192.0.2.1"], "10.0.0.1"),
        (&[b"for=192.0.2.1\""], "10.0.0.1"),
        (&[b"for=\"192.0.2.1\"x"], "10.0.0.1"),
        (&[b"for=\"192.0.2.1\\\""], "10.0.0.1"),
        (&[b"for=\"\""], "10.0.0.1"),
        (&[b"for=192.0.2.1;host=\xff"], "10.0.0.1"),
        (&[b"for=\xff"], "10.0.0.1"),
    ];
    for (lines, expected) in cases {
        let result = client(ForwardedHeader::Forwarded, lines);
        assert_eq!(result, *expected, "{}", lines.concat().escape_ascii());
    }
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_sends() {
    let headers = headers("x-forwarded-for", &[b"10.0.0.9"]);
    let trusted = TrustedProxies::parse(["10.0.0.0/8"]).unwrap();
    for (peer, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ] {
        let found = ForwardedHeader::XForwardedFor.client(
            peer.parse().unwrap(),
            &headers,
            &trusted,
            &Nat64Prefixes::default(),
        );
        assert_eq!(found.to_string(), client);
    }
}

#[test]
fn a_bomb_of_elements_ends_the_walk_at_the_64th() {
    for (header, name, element) in [
        (ForwardedHeader::XForwardedFor, "x-forwarded-for", "10.0.0."),
        (ForwardedHeader::Forwarded, "forwarded", "for=10.0.0."),
    ] {
        // Counted from the right: ….2, ….1, ….0, and so on, 10,000 of them; the leftmost is not trusted.
        let mut list: Vec<_> = (0..10_000)
            .rev()
            .map(|i| format!("{element}{}", i % 100))
            .collect();
        list[0] = element.replace("10.0.0.", "192.0.2.1");
        let line = list.join(",");
        let map = headers(name, &[line.as_bytes()]);
        assert_eq!(Elements::new(header, &map).count(), MAX_ELEMENTS);
        assert_eq!(client(header, &[line.as_bytes()]), "10.0.0.63");

        let lines: Vec<_> = list.iter().map(|element| element.as_bytes()).collect();
        assert_eq!(
            Elements::new(header, &headers(name, &lines)).count(),
            MAX_ELEMENTS
        );
        assert_eq!(client(header, &lines), "10.0.0.63");
    }
}

#[test]
fn empty_elements_count_towards_the_bound() {
    let commas = |count| format!("192.0.2.1{}10.0.0.2", ",".repeat(count));
    assert_eq!(
        client(ForwardedHeader::XForwardedFor, &[commas(63).as_bytes()]),
        "192.0.2.1"
    );
    assert_eq!(
        client(ForwardedHeader::XForwardedFor, &[commas(64).as_bytes()]),
        "10.0.0.2"
    );
}

#[test]
fn an_element_that_starts_beyond_4096_bytes_is_not_read() {
    // `192.0.2.1,` takes 10 bytes, with the list's start as its separator, and `10.0.0.2` with its comma 9.
    let padded = |spaces| format!("192.0.2.1,{}10.0.0.2", " ".repeat(spaces));
    let fits = MAX_BYTES - 10 - 9;
    assert_eq!(
        client(ForwardedHeader::XForwardedFor, &[padded(fits).as_bytes()]),
        "192.0.2.1"
    );
    assert_eq!(
        client(
            ForwardedHeader::XForwardedFor,
            &[padded(fits + 1).as_bytes()]
        ),
        "10.0.0.2"
    );
    let quoted = format!(
        "for=192.0.2.1;host=\"{}\", for=10.0.0.2",
        "a,".repeat(MAX_BYTES)
    );
    assert_eq!(
        client(ForwardedHeader::Forwarded, &[quoted.as_bytes()]),
        "10.0.0.2"
    );
    let map = headers("x-forwarded-for", &[&[b'1'; 100_000]]);
    assert_eq!(
        Elements::new(ForwardedHeader::XForwardedFor, &map).count(),
        0
    );
}
