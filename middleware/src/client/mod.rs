//! Who is calling: address, user, country, route.
mod country;
mod network;
mod origin;
mod route;
mod user;

use std::net::IpAddr;

pub use country::{Countries, Country, ResolveCountry, UnknownCountry};
pub use network::Network;
pub use origin::{Origin, Peer};
pub use route::{MatchedRoute, ResolveRoute, Route};
pub use user::{ExtractUser, Secret, UserId};

/// What the client layer found out about a request; an extension that every inner layer and handler can read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Client {
    /// The address of the client itself, behind any trusted proxies; IPv4-mapped IPv6 is IPv4.
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
