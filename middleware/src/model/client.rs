use std::net::IpAddr;

use super::{Country, Nat64Prefixes, Network, Route, UserId};

/// The client of a request, as the client layer found it; an extension that every inner layer and handler can read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Client {
    /// The address of the client itself, behind any trusted proxies; IPv6 of a translator is the IPv4 that it carries.
    pub address: IpAddr,
    /// The network that the client counts as.
    pub network: Network,
    /// The verified user, if any.
    pub user: Option<UserId>,
    /// The country's label.
    pub country: Country,
    /// The route's template.
    pub route: Route,
}

impl Client {
    /// An anonymous client at an address, with no country and no route; set them by the public fields.
    ///
    /// For a service that finds its clients by itself and inserts the extension without
    /// [`IdentifyLayer`](crate::client::IdentifyLayer).
    #[must_use]
    pub fn new(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self {
            address: Nat64Prefixes::WELL_KNOWN.read(address),
            network: Network::of(address, ipv6_prefix),
            user: None,
            country: Country::OTHER,
            route: Route::UNMATCHED,
        }
    }
}
