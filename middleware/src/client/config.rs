//! `[client]` of the configuration.

use crate::client::ForwardedHeader;

/// How clients are identified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Networks whose forwarding header is believed.
    pub trusted_proxies: Vec<String>,
    /// Which header that is.
    pub forwarded_header: ForwardedHeader,
    /// Length of the IPv6 prefix that counts as one client, in bits.
    pub ipv6_prefix: u8,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            ipv6_prefix: 64,
        }
    }
}
