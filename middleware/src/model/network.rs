use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::ConfigError;

/// The network that a client counts as: an IPv4 address whole, an IPv6 address by its prefix.
///
/// A household or a server commonly holds a whole IPv6 /64, so a limit per address would be no limit.
///
/// ```
/// use palisade::client::Network;
///
/// let network = Network::of("2001:db8:1:2:3:4:5:6".parse().unwrap(), 64);
/// assert_eq!(network.to_string(), "2001:db8:1:2::/64");
/// assert_eq!(Network::of("::ffff:192.0.2.1".parse().unwrap(), 64).to_string(), "192.0.2.1");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// Octets rather than an address: alignment 1 keeps keys small.
    octets: [u8; 16],
    /// 255 for IPv4, whose address stands in the last four octets.
    prefix: u8,
}

const V4: u8 = 255;

impl Network {
    /// The network of `address`, an IPv6 address cut to its first `ipv6_prefix` bits.
    ///
    /// An IPv4-mapped IPv6 address is IPv4; a prefix above 128 is 128.
    #[must_use]
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let mut octets = [0; 16];
                octets[12..].copy_from_slice(&v4.octets());
                Self { octets, prefix: V4 }
            }
            IpAddr::V6(v6) => {
                let prefix = ipv6_prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self {
                    octets: (v6.to_bits() & mask).to_be_bytes(),
                    prefix,
                }
            }
        }
    }

    /// The first address of the network.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        let [.., a, b, c, d] = self.octets;
        if self.prefix == V4 {
            Ipv4Addr::new(a, b, c, d).into()
        } else {
            Ipv6Addr::from(self.octets).into()
        }
    }
}

impl FromStr for Network {
    type Err = ConfigError;

    /// Reads what `Display` writes: an IPv4 address, or an IPv6 address and its prefix.
    ///
    /// # Errors
    /// Anything else: an IPv6 address alone does not say which network it counts as.
    ///
    /// ```
    /// use palisade::client::Network;
    ///
    /// let network: Network = "2001:db8:1:2::/64".parse().unwrap();
    /// assert_eq!(network, Network::of("2001:db8:1:2:3:4:5:6".parse().unwrap(), 64));
    /// assert!("2001:db8:1:2::".parse::<Network>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let read = match text.split_once('/') {
            None => text
                .parse()
                .ok()
                .map(|v4: Ipv4Addr| Self::of(v4.into(), 128)),
            Some((address, prefix)) => {
                let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
                let prefix = prefix
                    .parse()
                    .ok()
                    .filter(|prefix| digits && *prefix <= 128);
                let address: Option<Ipv6Addr> = address.parse().ok();
                address
                    .zip(prefix)
                    .map(|(v6, prefix)| Self::of(v6.into(), prefix))
            }
        };
        let allowed =
            "an IPv4 address such as `192.0.2.1`, or an IPv6 network such as `2001:db8::/64`";
        read.ok_or_else(|| ConfigError::new("client", text, allowed))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/{}", self.prefix),
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_cut_at_the_prefix_and_ipv4_is_whole() {
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (address, prefix, network) in [
            (all, 0, "::/0"),
            (all, 1, "8000::/1"),
            (all, 64, "ffff:ffff:ffff:ffff::/64"),
            (all, 65, "ffff:ffff:ffff:ffff:8000::/65"),
            (all, 127, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"),
            (all, 128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
            (all, 255, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
            ("192.0.2.255", 1, "192.0.2.255"),
            ("::ffff:192.0.2.255", 1, "192.0.2.255"),
        ] {
            let found = Network::of(address.parse().unwrap(), prefix);
            assert_eq!(found.to_string(), network, "{address} {prefix}");
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_that_leaves_the_network_open() {
        for text in ["192.0.2.1", "2001:db8:1:2::/64", "::/0", "::1/128"] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), text);
        }
        let mapped: Network = "::ffff:192.0.2.1/128".parse().unwrap();
        assert_eq!(mapped.to_string(), "192.0.2.1");
        for text in [
            "",
            "192.0.2.1/32",
            "192.0.2",
            "2001:db8::1",
            "2001:db8::/129",
            "2001:db8::/+1",
            "2001:db8::/",
            "fe80::1%eth0/64",
            " 192.0.2.1",
            "localhost",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn networks_that_share_octets_but_not_the_family_or_prefix_differ() {
        let of = |address: &str, prefix| Network::of(address.parse().unwrap(), prefix);
        assert_ne!(of("0.0.0.1", 128), of("::1", 128));
        assert_ne!(of("2001:db8::", 64), of("2001:db8::", 65));
        assert_eq!(of("2001:db8::1", 64), of("2001:db8::2", 64));
    }
}
