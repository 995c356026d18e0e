//! Properties that hold for every header, well formed or hostile.
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const HEADERS: [ForwardedHeader; 2] = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded];

fn headers(header: ForwardedHeader, lines: &[Vec<u8>]) -> HeaderMap {
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

fn trusted() -> TrustedProxies {
    TrustedProxies::parse(["10.0.0.0/8", "fd00::/8"]).unwrap()
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn client(header: ForwardedHeader, lines: &[Vec<u8>]) -> IpAddr {
    header.client(
        PEER,
        &headers(header, lines),
        &trusted(),
        &Nat64Prefixes::default(),
    )
}

fn hostile_line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "for=",
            "\"",
            "\\",
            ",",
            ";",
            " ",
            "[",
            "]",
            ":",
            "%",
            "=",
            "10.0.0.2",
            "192.0.2.1",
            "fd00::2",
            "unknown",
            "_x",
            "host=\"a,b\"",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Ipv4Addr::from(octets).into()),
        any::<[u8; 3]>().prop_map(|[b, c, d]| Ipv4Addr::new(10, b, c, d).into()),
        any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).into()),
        any::<[u16; 7]>()
            .prop_map(|[b, c, d, e, f, g, h]| Ipv6Addr::new(0xfd00, b, c, d, e, f, g, h).into()),
    ]
}

/// An address as proxies write it, or what stands for none.
fn node() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (any_address(), any::<Option<u16>>()).prop_map(|(address, port)| match (address, port) {
            (IpAddr::V4(v4), None) => v4.to_string(),
            (IpAddr::V4(v4), Some(port)) => format!("{v4}:{port}"),
            (IpAddr::V6(v6), None) => format!("[{v6}]"),
            (IpAddr::V6(v6), Some(port)) => format!("[{v6}]:{port}"),
        }),
        1 => prop::sample::select(vec!["unknown".to_owned(), "_hidden".to_owned()]),
    ]
}

fn element(node: &str, style: u8) -> String {
    match style % 4 {
        0 => format!("for=\"{node}\""),
        1 => format!("proto=https;FOR=\"{node}\""),
        2 => format!("for=\"{node}\";host=\"a, b;\\\",for=9.9.9.9,\\\\\""),
        _ => format!("by=10.0.0.1; for={node} ;proto=http"),
    }
}

fn split_at_random(list: &[String], cuts: &[bool]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (i, element) in list.iter().enumerate() {
        match lines.last_mut() {
            Some(line) if !cuts[i % cuts.len()] => {
                line.push(b',');
                line.extend_from_slice(element.as_bytes());
            }
            _ => lines.push(element.clone().into_bytes()),
        }
    }
    lines
}

proptest! {
    #[test]
    fn never_panics_and_never_looks_beyond_its_bounds(lines in prop::collection::vec(hostile_line(), 0..80)) {
        for header in HEADERS {
            let map = headers(header, &lines);
            client(header, &lines);
            prop_assert!(Elements::new(header, &map).count() <= MAX_ELEMENTS);
            prop_assert!(Elements::new(header, &map).map(<[u8]>::len).sum::<usize>() <= MAX_BYTES);
        }
    }

    #[test]
    fn an_untrusted_peer_is_always_the_client(
        peer in any_address(),
        lines in prop::collection::vec(hostile_line(), 0..8),
    ) {
        prop_assume!(!trusted().contains(peer));
        for header in HEADERS {
            let found = header.client(peer, &headers(header, &lines), &trusted(), &Nat64Prefixes::default());
            prop_assert_eq!(found, peer.to_canonical());
        }
    }

    #[test]
    fn the_client_is_the_first_untrusted_address_or_the_leftmost_reached(
        nodes in prop::collection::vec(node(), 0..20),
    ) {
        let mut expected = PEER;
        for node in nodes.iter().rev() {
            let Some(address) = node::address(node.as_bytes()) else { break };
            expected = Nat64Prefixes::default().read(address);
            if !trusted().contains(expected) { break }
        }
        prop_assert_eq!(client(ForwardedHeader::XForwardedFor, &[nodes.join(", ").into_bytes()]), expected);
    }

    #[test]
    fn nothing_left_of_an_untrusted_address_matters(
        mut hostile in prop::collection::vec(hostile_line(), 0..6),
        address in any_address(),
        proxies in prop::collection::vec(any::<[u8; 3]>(), 0..4),
        style in any::<u8>(),
        own_line in any::<bool>(),
    ) {
        prop_assume!(!trusted().contains(address));
        for header in HEADERS {
            let write = |address: IpAddr| {
                let node = match address {
                    IpAddr::V4(v4) => v4.to_string(),
                    IpAddr::V6(v6) => format!("[{v6}]"),
                };
                match header {
                    ForwardedHeader::XForwardedFor => node,
                    ForwardedHeader::Forwarded => element(&node, style),
                }
            };
            let appended: Vec<_> = std::iter::once(address)
                .chain(proxies.iter().map(|[b, c, d]| Ipv4Addr::new(10, *b, *c, *d).into()))
                .map(write)
                .collect();
            let appended = appended.join(", ").into_bytes();
            // A line that no server accepts is not there to be appended to.
            hostile.retain(|line| HeaderValue::from_bytes(line).is_ok());
            let mut lines = hostile.clone();
            match lines.last_mut() {
                Some(line) if !own_line => {
                    line.extend_from_slice(b", ");
                    line.extend_from_slice(&appended);
                }
                _ => lines.push(appended),
            }
            prop_assert_eq!(client(header, &lines), address.to_canonical());
        }
    }

    #[test]
    fn several_lines_are_one_list(
        nodes in prop::collection::vec((node(), any::<u8>()), 0..80),
        cuts in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let plain: Vec<_> = nodes.iter().map(|(node, _)| node.clone()).collect();
        let quoted: Vec<_> = nodes.iter().map(|(node, style)| element(node, *style)).collect();
        for (header, list) in HEADERS.into_iter().zip([plain, quoted]) {
            let whole = client(header, &[list.join(",").into_bytes()]);
            prop_assert_eq!(whole, client(header, &split_at_random(&list, &cuts)));
        }
    }

    #[test]
    fn both_headers_say_the_same(nodes in prop::collection::vec((node(), any::<u8>()), 0..30)) {
        let plain: Vec<_> = nodes.iter().map(|(node, _)| node.clone()).collect();
        let quoted: Vec<_> = nodes.iter().map(|(node, style)| element(node, *style)).collect();
        prop_assert_eq!(
            client(ForwardedHeader::XForwardedFor, &[plain.join(", ").into_bytes()]),
            client(ForwardedHeader::Forwarded, &[quoted.join(", ").into_bytes()])
        );
    }
}
