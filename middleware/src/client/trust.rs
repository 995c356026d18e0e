use std::net::IpAddr;

use crate::ConfigError;
use crate::model::Cidrs;

/// The networks of your proxies, whose forwarding header is believed; none by default.
///
/// List every proxy between the Internet and this service, and nothing else: any host in these networks can
/// claim any client address.
///
/// ```
/// use palisade::client::TrustedProxies;
///
/// let proxies = TrustedProxies::parse(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])?;
/// assert!(proxies.contains("10.1.2.3".parse().unwrap()));
/// assert!(proxies.contains("::ffff:192.0.2.1".parse().unwrap()));
/// assert!(!proxies.contains("192.0.2.2".parse().unwrap()));
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Cidrs);

impl TrustedProxies {
    /// Reads networks in CIDR form and single addresses. Bits behind a prefix are ignored, and an IPv4-mapped
    /// IPv6 address or network is the IPv4 one, so that `::/0` is all IPv6 and no IPv4.
    ///
    /// # Errors
    /// [`ConfigError`] for the first entry that is neither, naming it under `trusted_proxies`.
    pub fn parse<'a>(cidrs: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        Cidrs::parse("trusted_proxies", cidrs).map(Self)
    }

    /// Whether `address` lies in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(cidr: &str, address: &str) -> bool {
        TrustedProxies::parse([cidr])
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn trusts_nobody_by_default() {
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn trusts_exactly_the_addresses_of_a_network() {
        for (cidr, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("0.0.0.0/0", "192.0.2.1", "2001:db8::1"),
        ] {
            assert!(trusts(cidr, inside), "{cidr} {inside}");
            assert!(!trusts(cidr, outside), "{cidr} {outside}");
        }
    }

    #[test]
    fn an_ipv4_mapped_address_or_network_is_ipv4() {
        for (cidr, inside, outside) in [
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("::ffff:0:0/96", "192.0.2.1", "2001:db8::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.0.0.0"),
        ] {
            assert!(trusts(cidr, inside), "{cidr} {inside}");
            assert!(!trusts(cidr, outside), "{cidr} {outside}");
        }
    }

    #[test]
    fn an_unusable_entry_is_refused_by_name() {
        for entry in [
            "10.0.0.0/33",
            "10.0.0/8",
            "proxy.example",
            "",
            "2001:db8::/129",
            "fe80::1%eth0",
            "*",
        ] {
            let message = TrustedProxies::parse(["127.0.0.1", entry])
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("trusted_proxies") && message.contains(entry),
                "{message}"
            );
            assert!(message.contains("10.0.0.0/8"), "{message}");
        }
    }
}
