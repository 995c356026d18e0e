//! One element of the list becomes an address.
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`, an IPv6
/// address with or without a zone (`%eth0`). Ports and zones are dropped.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let node = str::from_utf8(node).ok()?;
    let address: IpAddr = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        ipv6(address)?.into()
    } else {
        match node.split_once(':') {
            None => node.parse::<Ipv4Addr>().ok()?.into(),
            Some((address, port)) if !port.contains(':') => {
                is_port(port).then_some(())?;
                address.parse::<Ipv4Addr>().ok()?.into()
            }
            Some(_) => ipv6(node)?.into(),
        }
    };
    Some(address)
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    match text.split_once('%') {
        None => text.parse().ok(),
        Some((address, zone)) => {
            let named = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic());
            named.then(|| address.parse().ok())?
        }
    }
}

/// RFC 7239, section 6: 1 to 5 digits, or an obfuscated port.
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The address of the `for` parameter of an element of `Forwarded` (RFC 7239, section 4).
///
/// More lenient than the grammar in what proxies really write: spaces around `;`, and colons and brackets outside
/// quotes. An element that repeats `for`, or that has any malformed parameter, has no address.
pub(super) fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut rest = element;
    let mut node = None;
    loop {
        rest = rest.trim_ascii_start();
        if let Some((name, value, after)) = parameter(rest)? {
            if name.eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
                return None;
            }
            rest = after.trim_ascii_start();
        }
        match rest.split_first() {
            None => return address(&node?),
            Some((b';', after)) => rest = after,
            Some(_) => return None,
        }
    }
}

type Parameter<'a> = (&'a [u8], Cow<'a, [u8]>, &'a [u8]);

/// The first parameter of `text` as name, value and what follows; `Some(None)` before `;` and the end, where the
/// grammar allows none, and `None` when it is malformed.
fn parameter(text: &[u8]) -> Option<Option<Parameter<'_>>> {
    if matches!(text.first(), None | Some(b';')) {
        return Some(None);
    }
    let (name, value) = text.split_at(text.iter().position(|byte| *byte == b'=')?);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return None;
    }
    let value = &value[1..];
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let (value, after) = quoted_string(quoted)?;
        return Some(Some((name, value, after)));
    }
    let end = value
        .iter()
        .position(|byte| matches!(byte, b';' | b' ' | b'\t'))
        .unwrap_or(value.len());
    let (value, after) = value.split_at(end);
    let plain = !value.is_empty()
        && value
            .iter()
            .all(|byte| is_token(*byte) || matches!(byte, b':' | b'[' | b']'));
    plain.then_some(Some((name, Cow::Borrowed(value), after)))
}

/// The content of a quoted string whose opening quote is gone, and what follows its closing quote.
fn quoted_string(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut unescaped: Option<Vec<u8>> = None;
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => {
                let value = unescaped.map_or(Cow::Borrowed(&text[..at]), Cow::Owned);
                return Some((value, &text[at + 1..]));
            }
            b'\\' => {
                let value = unescaped.get_or_insert_with(|| text[..at].to_vec());
                value.push(*text.get(at + 1)?);
                at += 2;
            }
            byte => {
                if let Some(value) = &mut unescaped {
                    value.push(byte);
                }
                at += 1;
            }
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
