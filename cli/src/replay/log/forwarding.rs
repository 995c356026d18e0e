//! Who a line's client is: the service's own walk from the peer through the forwarding header.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
    named: Vec<Named>,
}

/// A proxy that an argument names, and whether a line had an address of it.
#[derive(Debug)]
struct Named {
    text: String,
    network: TrustedProxies,
    is_met: Cell<bool>,
}

/// A peer that no line has.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Forwarding {
    /// By these settings; the proxies `named` are among them.
    pub(crate) fn new(settings: &ClientConfig, named: &[String]) -> Result<Self, ConfigError> {
        let named = named.iter().map(|text| {
            Ok(Named {
                text: text.clone(),
                network: TrustedProxies::parse([text.as_str()])?,
                is_met: Cell::new(false),
            })
        });
        let header = settings.forwarded_header;
        Ok(Self {
            header,
            name: match header {
                ForwardedHeader::Forwarded => http::header::FORWARDED,
                _ => HeaderName::from_static("x-forwarded-for"),
            },
            trusted: TrustedProxies::parse(settings.trusted_proxies.iter().map(String::as_str))?,
            nobody: TrustedProxies::parse(["0.0.0.0"])?,
            named: named.collect::<Result<_, ConfigError>>()?,
            nat64: Nat64Prefixes::parse(settings.nat64_prefixes.iter().map(String::as_str))?,
        })
    }

    /// The client of a line.
    pub(super) fn client(&self, line: &Line<'_>) -> Result<IpAddr, Unreadable> {
        let peer = self.nat64.read(line.peer);
        if !self.trusted.contains(peer) {
            return Ok(peer);
        }
        self.meet(peer, line.forwarded);
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

    /// The proxies that an argument names and no line has an address of.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let unmet = self.named.iter().filter(|named| !named.is_met.get());
        unmet.map(|named| named.text.clone()).collect()
    }

    /// Notes which of the named proxies a line of a trusted one came through.
    fn meet(&self, peer: IpAddr, forwarded: Option<&[u8]>) {
        if self.named.iter().all(|named| named.is_met.get()) {
            return;
        }
        let header = forwarded.and_then(value);
        let header = header.as_ref().and_then(|value| value.to_str().ok());
        let elements = header.unwrap_or_default().split([',', ';']);
        let inner = elements.filter_map(|element| {
            let (_, node) = element.rsplit_once('=').unwrap_or(("", element));
            let node = node.trim().trim_matches('"');
            let plain = || node.trim_matches(['[', ']']).parse().ok();
            let with_port = || node.parse::<SocketAddr>().map(|it| it.ip()).ok();
            plain().or_else(with_port)
        });
        let through: Vec<IpAddr> = inner
            .map(|node| self.nat64.read(node))
            .chain([peer])
            .collect();
        for named in &self.named {
            if through.iter().any(|it| named.network.contains(*it)) {
                named.is_met.set(true);
            }
        }
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
