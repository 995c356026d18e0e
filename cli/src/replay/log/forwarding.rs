//! Who a line's client is: the service's own walk from the peer through the forwarding header.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue};
use palisade::ConfigError;
use palisade::client::{ForwardedHeader, Nat64Prefixes, TrustedProxies};
use palisade::config::ClientConfig;

use super::line::{Line, Unreadable};
use super::request;

/// How a service finds its clients.
#[derive(Debug)]
pub(crate) struct Forwarding {
    header: ForwardedHeader,
    name: HeaderName,
    trusted: TrustedProxies,
    nat64: Nat64Prefixes,
    /// [`NOBODY`] alone.
    nobody: TrustedProxies,
}

/// A peer that no line has.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Forwarding {
    pub(crate) fn new(settings: &ClientConfig) -> Result<Self, ConfigError> {
        let header = settings.forwarded_header;
        Ok(Self {
            header,
            name: match header {
                ForwardedHeader::Forwarded => http::header::FORWARDED,
                _ => HeaderName::from_static("x-forwarded-for"),
            },
            trusted: TrustedProxies::parse(settings.trusted_proxies.iter().map(String::as_str))?,
            nobody: TrustedProxies::parse(["0.0.0.0"])?,
            nat64: Nat64Prefixes::parse(settings.nat64_prefixes.iter().map(String::as_str))?,
        })
    }

    /// The client of a line.
    pub(super) fn client(&self, line: &Line<'_>) -> Result<IpAddr, Unreadable> {
        let peer = self.nat64.read(line.peer);
        if !self.trusted.contains(peer) {
            return Ok(peer);
        }
        let mut headers = HeaderMap::new();
        match line.forwarded {
            None => return Err(Unreadable::ProxyAlone),
            // The request had no such header.
            Some(b"-" | b"") => {}
            Some(escaped) => {
                let value = value(escaped).filter(|value| self.says_an_address(value));
                headers.insert(&self.name, value.ok_or(Unreadable::NotForwarded)?);
            }
        }
        Ok(self
            .header
            .client(peer, &headers, &self.trusted, &self.nat64))
    }

    /// Whether a stranger's line says for whom it may have asked, which is not believed.
    pub(super) fn is_ignored(&self, line: &Line<'_>) -> bool {
        let value = line.forwarded.and_then(value);
        value.is_some_and(|value| self.says_an_address(&value))
            && !self.trusted.contains(self.nat64.read(line.peer))
    }

    /// Whether the last element, which a proxy of ours wrote, is an address.
    fn says_an_address(&self, value: &HeaderValue) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(&self.name, value.clone());
        self.header
            .client(NOBODY, &headers, &self.nobody, &self.nat64)
            != NOBODY
    }
}

fn value(escaped: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(request::unescape(escaped)).ok()
}
