use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Nat64Prefixes;
use crate::ConfigError;

/// The network that a client counts as: an IPv4 address whole, an IPv6 address by its prefix.
///
/// A household or a server commonly holds a whole IPv6 /64, so a limit per address would be no limit.
///
/// IPv6 that carries IPv4 counts by the address inside, as far as it can be believed:
///
/// | addresses | count as | since |
/// |---|---|---|
/// | mapped, `::ffff:0:0/96`; NAT64's `64:ff9b::/96` and [`Nat64Prefixes`] | the IPv4 address | the operator's own host or translator made them: an answer to another's address would not come back |
/// | 6to4, `2002::/16` | `2002:…::/48` of the IPv4 address | it holds the whole /48, so a /64 would be one client of 65,536; any relay can claim any of them, so it is never the IPv4 address itself, which nobody is to get banned from there |
/// | Teredo, `2001::/32` | `2001::…/128` of the client's IPv4 address | all clients of a server share a /64, and a client chooses server, flags and port; any relay can claim any of them, as with 6to4 |
/// | ISATAP, IPv4-compatible (`::/96`), local use (`64:ff9b:1::/48`) | their prefix, as any other | a host chooses what it carries; of local use, your prefixes say where it stands |
///
/// ```
/// use palisade::client::Network;
///
/// let network = Network::of("2001:db8:1:2:3:4:5:6".parse().unwrap(), 64);
/// assert_eq!(network.to_string(), "2001:db8:1:2::/64");
/// let of = |address: &str| Network::of(address.parse().unwrap(), 64).to_string();
/// assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
/// assert_eq!(of("64:ff9b::192.0.2.1"), "192.0.2.1");
/// assert_eq!(of("2002:c000:221:7::1"), "2002:c000:221::/48");
/// assert_eq!(of("2001:0:4136:e378:8000:63bf:3fff:fdd2"), "2001::3fff:fdd2/128");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Octets rather than an address: alignment 1 keeps keys small.
    octets: [u8; 16],
    /// 255 for IPv4, whose address stands in the last four octets.
    prefix: u8,
}

const V4: u8 = 255;

impl Hash for Network {
    /// In one piece: a derived one hands over the octets, their number and the prefix one by one.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [self.prefix; 17];
        bytes[..16].copy_from_slice(&self.octets);
        state.write(&bytes);
    }
}

/// The first bits of an IPv6 address, 128 at most.
fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl Network {
    /// The network of `address`, an IPv6 address cut to its first `ipv6_prefix` bits.
    ///
    /// A prefix above 128 is 128. A client behind a translator of yours has its IPv4 address by
    /// [`Nat64Prefixes::read`].
    #[must_use]
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        match Nat64Prefixes::WELL_KNOWN.read(address) {
            IpAddr::V4(v4) => {
                let mut octets = [0; 16];
                octets[12..].copy_from_slice(&v4.octets());
                Self { octets, prefix: V4 }
            }
            IpAddr::V6(v6) => {
                let (mask, prefix) = match v6.segments() {
                    [0x2002, ..] => (mask(48), 48),
                    // Server, flags and port lie between.
                    [0x2001, 0, ..] => (mask(32) | !mask(96), 128),
                    _ => {
                        let prefix = ipv6_prefix.min(128);
                        (mask(prefix), prefix)
                    }
                };
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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Sixty clients, and what they count as.
    fn networks(address: impl Fn(u32) -> String) -> BTreeSet<String> {
        let of = |n| Network::of(address(n).parse().unwrap(), 64).to_string();
        (1..=60).map(of).collect()
    }

    #[test]
    fn clients_that_share_a_carrying_prefix_are_told_apart_by_what_it_carries() {
        let apart = |networks: BTreeSet<String>| assert_eq!(networks.len(), 60, "{networks:?}");
        apart(networks(|n| format!("64:ff9b::192.0.2.{n}")));
        apart(networks(|n| format!("2002:c000:2{n:02x}::1")));
        apart(networks(|n| {
            format!("2001:0:4136:e378:8000:63bf:3fff:fd{n:02x}")
        }));
        // What a client chooses for itself makes it no other.
        let one = |networks: BTreeSet<String>| assert_eq!(networks.len(), 1, "{networks:?}");
        one(networks(|n| format!("2002:c000:221:{n}::{n}")));
        one(networks(|n| format!("2001:0:{n}:{n}:{n}:{n}:3fff:fdd2")));
        one(networks(|n| format!("2001:db8::5efe:192.0.2.{n}")));
        one(networks(|n| format!("::192.0.2.{n}")));
        one(networks(|n| format!("64:ff9b::10.0.0.{n}")));
    }

    proptest! {
        /// A relay that anybody runs bans nobody but its own: only a translator's address is an IPv4 client.
        #[test]
        fn a_network_is_read_as_written_and_is_ipv4_only_by_a_translator(
            octets in any::<[u8; 16]>(),
            start in prop::sample::select(vec!["", "2002", "2001:0", "64:ff9b::", "64:ff9b:1::", "::ffff:0:0"]),
            prefix in 0_u8..=128,
        ) {
            let mut octets = octets;
            let bits = match start {
                "" => 0,
                "2002" => 16,
                "2001:0" => 32,
                "64:ff9b:1::" => 48,
                _ => 96,
            };
            let begins = format!("{}{}", start, if start.contains("::") { "" } else { "::" });
            let begins: Ipv6Addr = begins.parse().unwrap();
            let kept = begins.to_bits() & mask(bits) | u128::from_be_bytes(octets) & !mask(bits);
            octets = kept.to_be_bytes();
            let network = Network::of(Ipv6Addr::from(octets).into(), prefix);
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
            let translated = matches!(start, "64:ff9b::" | "::ffff:0:0");
            // A prefix that ends within what is carried may cut an address that is not believed to one that is.
            if prefix <= 96 || !translated || network.address().is_ipv4() {
                prop_assert_eq!(Network::of(network.address(), prefix), network);
            }
            prop_assert!(translated || !network.address().is_ipv4());
        }
    }

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
