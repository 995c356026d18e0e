//! The walk over `X-Forwarded-For` and `Forwarded`, fed with header lines separated by newlines.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::{Corpus, fuzz_target};
use palisade::client::{ForwardedHeader, Nat64Prefixes, TrustedProxies};

fn headers<'a>(name: &'static str, lines: impl IntoIterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

fn check(header: ForwardedHeader, name: &'static str, plain: &str, lines: &[&[u8]]) {
    let trusted = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8"]).expect("networks");
    let nat64 = Nat64Prefixes::default();
    let all = headers(name, lines.iter().copied());
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let walk = |headers: &HeaderMap| header.client(proxy, headers, &trusted, &nat64);
    let found = walk(&all);
    assert_eq!(
        found,
        found.to_canonical(),
        "an IPv4-mapped address is IPv4"
    );

    let stranger = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(
        header.client(stranger, &all, &trusted, &nat64),
        stranger,
        "a stranger's headers change nothing"
    );

    // What a proxy appends, as a line of its own or behind a comma, beats whatever came before it.
    let seen = IpAddr::from([203, 0, 113, 7]);
    let mut own_line = all.clone();
    own_line.append(name, HeaderValue::from_str(plain).expect("a header"));
    assert_eq!(walk(&own_line), seen, "an appended line names the client");
    let mut last = lines.last().copied().unwrap_or_default().to_vec();
    last.extend_from_slice(b", ");
    last.extend_from_slice(plain.as_bytes());
    let (last, earlier) = (
        last.as_slice(),
        lines.split_last().map_or(&[][..], |(_, earlier)| earlier),
    );
    if HeaderValue::from_bytes(last).is_ok() {
        let appended = headers(name, earlier.iter().copied().chain([last]));
        assert_eq!(
            walk(&appended),
            seen,
            "an appended element names the client"
        );
    }

    // Joined with commas, the lines are the same list, as long as no line leaves a quote open.
    if lines
        .iter()
        .all(|line| HeaderValue::from_bytes(line).is_ok() && !line.contains(&b'"'))
    {
        let joined = headers(name, [lines.join(&b',').as_slice()]);
        assert_eq!(walk(&joined), found, "several lines are one list");
    }
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    if lines.len() > 100 {
        return Corpus::Reject;
    }
    check(
        ForwardedHeader::XForwardedFor,
        "x-forwarded-for",
        "203.0.113.7:80",
        &lines,
    );
    check(
        ForwardedHeader::Forwarded,
        "forwarded",
        r#"for="203.0.113.7:80";host="a,\"b""#,
        &lines,
    );
    Corpus::Keep
});
