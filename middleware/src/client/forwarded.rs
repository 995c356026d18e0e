//! The walk from the connected peer to the client, and the elements that it reads.
mod node;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use http::header::{AsHeaderName, FORWARDED, HeaderValue, ValueIter};
use http::{HeaderMap, HeaderName};

use super::{Nat64Prefixes, TrustedProxies};

/// A static name: a lookup by text would be parsed each time.
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Elements that a walk looks at, from the right: far more than any chain of proxies has.
pub(crate) const MAX_ELEMENTS: usize = 64;

/// Bytes that a walk looks at, from the right, each element counted with its separator.
pub(crate) const MAX_BYTES: usize = 4096;

/// The header that the trusted proxies write. Only this one is read: a proxy that writes one of the two often passes the
/// other on as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: 192.0.2.1, 10.0.0.1`, the default.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.1;proto=https, for="[2001:db8::1]:443"` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// The client behind `peer`, as the layer finds it. Each address is read by [`Nat64Prefixes::read`].
    ///
    /// When `peer` is trusted, the header's lines, taken as one list, are walked from the right past trusted
    /// addresses to the first that is not; if all are trusted, the leftmost is the client. An element without a
    /// readable address (malformed, `unknown`, `_hidden`, no `for`) ends the walk at the last address reached; so
    /// does the end of its bounds, 64 elements and 4,096 bytes. Empty elements are ignored (RFC 9110, section
    /// 5.6.1) but count towards the bounds.
    ///
    /// ```
    /// use palisade::client::{ForwardedHeader, Nat64Prefixes, TrustedProxies};
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.2".parse().unwrap());
    /// let proxies = TrustedProxies::parse(["10.0.0.0/8"])?;
    /// let (header, nat64) = (ForwardedHeader::XForwardedFor, Nat64Prefixes::default());
    /// let client = header.client("10.0.0.1".parse().unwrap(), &headers, &proxies, &nat64);
    /// assert_eq!(client.to_string(), "192.0.2.1");
    /// # Ok::<(), palisade::ConfigError>(())
    /// ```
    #[must_use]
    pub fn client(
        self,
        peer: IpAddr,
        headers: &HeaderMap,
        trusted: &TrustedProxies,
        nat64: &Nat64Prefixes,
    ) -> IpAddr {
        let peer = nat64.read(peer);
        if trusted.contains(peer) {
            self.behind(peer, headers, trusted, nat64)
        } else {
            peer
        }
    }

    /// Whether a request has the header at all.
    pub(super) fn is_in(self, headers: &HeaderMap) -> bool {
        match self {
            Self::XForwardedFor => headers.contains_key(&X_FORWARDED_FOR),
            Self::Forwarded => headers.contains_key(FORWARDED),
        }
    }

    /// As configuration files write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// The walk from a peer that is trusted.
    pub(super) fn behind(
        self,
        peer: IpAddr,
        headers: &HeaderMap,
        trusted: &TrustedProxies,
        nat64: &Nat64Prefixes,
    ) -> IpAddr {
        let mut reached = peer;
        for element in Elements::new(self, headers).filter(|element| !element.is_empty()) {
            let address = match self {
                Self::XForwardedFor => node::address(element),
                Self::Forwarded => node::forwarded_for(element),
            };
            match address {
                Some(address) => reached = nat64.read(address),
                None => break,
            }
            if !trusted.contains(reached) {
                break;
            }
        }
        reached
    }
}

/// The elements of a header from right to left over all its lines, trimmed, until the bounds.
struct Elements<'a> {
    header: ForwardedHeader,
    lines: ValueIter<'a, HeaderValue>,
    line: Option<&'a [u8]>,
    elements_left: usize,
    bytes_left: usize,
}

impl<'a> Elements<'a> {
    fn new(header: ForwardedHeader, headers: &'a HeaderMap) -> Self {
        fn lines(headers: &HeaderMap, name: impl AsHeaderName) -> ValueIter<'_, HeaderValue> {
            headers.get_all(name).into_iter()
        }
        Self {
            header,
            lines: match header {
                ForwardedHeader::XForwardedFor => lines(headers, &X_FORWARDED_FOR),
                ForwardedHeader::Forwarded => lines(headers, FORWARDED),
            },
            line: None,
            elements_left: MAX_ELEMENTS,
            bytes_left: MAX_BYTES,
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.elements_left = self.elements_left.checked_sub(1)?;
        let line = match self.line.take() {
            Some(line) => line,
            None => self.lines.next_back()?.as_bytes(),
        };
        // The part of the line that the bound lets us see, with one byte for the separator.
        let seen = &line[line.len().saturating_sub(self.bytes_left)..];
        let comma = match self.header {
            ForwardedHeader::XForwardedFor => seen.iter().rposition(|byte| *byte == b','),
            ForwardedHeader::Forwarded => last_comma_outside_quotes(seen),
        };
        let element = match comma {
            Some(comma) => {
                self.line = Some(&line[..line.len() - (seen.len() - comma)]);
                &seen[comma + 1..]
            }
            None => seen,
        };
        let cost = element.len() + 1;
        if cost > self.bytes_left {
            // The element starts beyond the bound, or so near to it that its separator lies beyond.
            self.elements_left = 0;
            return None;
        }
        self.bytes_left -= cost;
        Some(element.trim_ascii())
    }
}

/// The last comma that no quoted string contains, read from the right.
///
/// Reading from the right makes what a proxy appended independent of what it was appended to: a client that sends
/// an open quote (`for="`) cannot swallow the element behind it. In a well-formed element it finds the same
/// strings as reading from the left: an opening quote follows `=`, never a backslash, and a quote within a string
/// follows one. An element that is not well formed fails when it is read.
fn last_comma_outside_quotes(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if !quoted => quoted = true,
            b'"' if at == 0 || line[at - 1] != b'\\' => quoted = false,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}
