use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::ConfigError;

/// The IPv6 prefixes of your translators (NAT64, SIIT), whose addresses each carry an IPv4 address (RFC 6052); none by
/// default. `64:ff9b::/96`, the well-known prefix, is always read.
///
/// A client behind a translator is its IPv4 address everywhere: for trusted proxies and exemptions, limits and bans.
/// Otherwise all clients of a translator would share one IPv6 network.
///
/// List only prefixes that a translator of yours uses alone: any host that holds an address of such a prefix could
/// appear as any IPv4 address.
///
/// ```
/// use palisade::client::Nat64Prefixes;
///
/// let prefixes = Nat64Prefixes::parse(["2001:db8:122::/48"])?;
/// let read = |address: &str| prefixes.read(address.parse().unwrap()).to_string();
/// assert_eq!(read("2001:db8:122:c000:2:2100::"), "192.0.2.33");
/// assert_eq!(read("64:ff9b::192.0.2.33"), "192.0.2.33");
/// assert_eq!(read("::ffff:192.0.2.33"), "192.0.2.33");
/// assert_eq!(read("2001:db8::1"), "2001:db8::1");
/// # Ok::<(), palisade::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Nat64Prefixes(Vec<Ipv6Net>);

const WELL_KNOWN: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

impl Nat64Prefixes {
    /// None but what is always read.
    pub(crate) const WELL_KNOWN: Self = Self(Vec::new());

    const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

    /// Reads prefixes of 32, 40, 48, 56, 64 or 96 bits.
    ///
    /// # Errors
    /// [`ConfigError`] for the first entry that is none, naming it under `nat64_prefixes`: another length, an address behind
    /// the prefix, a prefix with a bit among 64 to 71, which RFC 6052 keeps at zero, or one that lies in another or contains it.
    pub fn parse<'a>(prefixes: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        const ALLOWED: &str = "an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, of which bits 64 to 71 are zero, such as \
                               `2001:db8:64::/96`";
        const APART: &str = "a prefix that neither contains another one nor lies in it; `64:ff9b::/96` is always read, \
                             and need not be listed";
        let mut read: Vec<Ipv6Net> = Vec::new();
        for text in prefixes {
            let refused = |allowed: &str| ConfigError::new("nat64_prefixes", text, allowed);
            let prefix: Ipv6Net = text.parse().map_err(|_| refused(ALLOWED))?;
            if prefix != prefix.trunc() {
                return Err(refused(&format!("the prefix `{}`", prefix.trunc())));
            }
            if !Self::LENGTHS.contains(&prefix.prefix_len()) || prefix.addr().octets()[8] != 0 {
                return Err(refused(ALLOWED));
            }
            let meets = |known: &Ipv6Net| known.contains(&prefix) || prefix.contains(known);
            if meets(&WELL_KNOWN) || read.iter().any(meets) {
                return Err(refused(APART));
            }
            read.push(prefix);
        }
        Ok(Self(read))
    }

    /// The address that a client counts by: the IPv4 address that an IPv6 address carries, mapped (`::ffff:0:0/96`) or
    /// translated, and any other address as it is.
    ///
    /// An address of the well-known prefix that carries a private, loopback, link-local or shared address stays as it is:
    /// no translator may make one (RFC 6052, section 3.1), and your own networks may be among those that you trust.
    #[must_use]
    #[inline]
    pub fn read(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => self.carried(v6).map_or(address, IpAddr::V4),
        }
    }

    fn carried(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if let Some(mapped) = address.to_ipv4_mapped() {
            return Some(mapped);
        }
        if WELL_KNOWN.contains(&address) {
            return behind(address, 96).filter(|carried| !is_internal(*carried));
        }
        let prefix = self.0.iter().find(|prefix| prefix.contains(&address))?;
        behind(address, prefix.prefix_len())
    }

    /// Whether all addresses of a network are of one of the prefixes.
    pub(crate) fn contain(&self, network: &Ipv6Net) -> bool {
        let mut known = self.0.iter().chain([&WELL_KNOWN]);
        known.any(|known| known.contains(network))
    }
}

/// The IPv4 address behind a prefix of so many bits (RFC 6052, section 2.2): its octets leave out octet 8, which is zero.
/// What follows them is ignored, as the section asks.
fn behind(address: Ipv6Addr, length: u8) -> Option<Ipv4Addr> {
    const RESERVED: usize = 8;
    let octets = address.octets();
    if octets[RESERVED] != 0 {
        return None;
    }
    let mut carried = [0; 4];
    let after = (usize::from(length / 8)..16).filter(|at| *at != RESERVED);
    for (octet, at) in carried.iter_mut().zip(after) {
        *octet = octets[at];
    }
    Some(carried.into())
}

fn is_internal(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 0
        || (first == 100 && second & 0xc0 == 64)
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6052, section 2.4: the same address behind a prefix of each length.
    #[test]
    fn reads_the_examples_of_the_standard() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ] {
            let prefixes = Nat64Prefixes::parse([prefix]).unwrap();
            let read = prefixes.read(address.parse().unwrap());
            assert_eq!(read.to_string(), "192.0.2.33", "{prefix}");
        }
    }

    #[test]
    fn what_carries_no_address_that_can_be_believed_stays() {
        let prefixes = Nat64Prefixes::parse(["2001:db8:122::/48", "64:ff9b:1::/96"]).unwrap();
        for address in [
            "192.0.2.33",
            "2001:db8::1",
            // Bits 64 to 71 are not zero.
            "2001:db8:122:c000:102:2100::",
            // No translator may make these of the well-known prefix.
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::100.64.0.1",
            "64:ff9b::",
            // Local use, but not behind a prefix of ours (RFC 8215).
            "64:ff9b:2::192.0.2.33",
            // IPv4-compatible, ISATAP, 6to4, Teredo.
            "::192.0.2.33",
            "2001:db8::5efe:192.0.2.33",
            "2002:c000:221::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdde",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(prefixes.read(address), address);
        }
        let local = prefixes.read("64:ff9b:1::10.0.0.1".parse().unwrap());
        assert_eq!(
            local.to_string(),
            "10.0.0.1",
            "a prefix of ours may carry any"
        );
    }

    #[test]
    fn an_unusable_prefix_is_refused_by_name() {
        for prefix in [
            "2001:db8::/33",
            "2001:db8::/128",
            "2001:db8::",
            "10.0.0.0/8",
            "2001:db9::1/96",
            "2001:db8:0:0:100::/96",
            "64:ff9b::/96",
            "64:ff9b::/32",
            "2001:db8:1::/48",
        ] {
            let prefixes = Nat64Prefixes::parse(["2001:db8::/32", prefix]);
            let message = prefixes.unwrap_err().to_string();
            let named = format!("`nat64_prefixes` cannot be `{prefix}`");
            assert!(message.starts_with(&named), "{message}");
        }
    }

    fn octets() -> impl Strategy<Value = [u8; 16]> {
        any::<[u8; 16]>()
    }

    proptest! {
        /// By the table of RFC 6052, written out.
        #[test]
        fn an_address_put_behind_any_prefix_is_read_again(
            prefix in octets(),
            carried in any::<[u8; 4]>(),
            length in prop::sample::select(Nat64Prefixes::LENGTHS.to_vec()),
            suffix in any::<u8>(),
        ) {
            let places = match length {
                32 => [4, 5, 6, 7],
                40 => [5, 6, 7, 9],
                48 => [6, 7, 9, 10],
                56 => [7, 9, 10, 11],
                64 => [9, 10, 11, 12],
                _ => [12, 13, 14, 15],
            };
            let mut octets = prefix;
            octets[8] = 0;
            // Above the prefixes that are always read.
            octets[0] |= 0x20;
            let prefix = Ipv6Net::new(Ipv6Addr::from(octets), length).unwrap().trunc();
            let prefixes = Nat64Prefixes::parse([&*prefix.to_string()]).unwrap();
            for (at, octet) in places.into_iter().zip(carried) {
                octets[at] = octet;
            }
            if length < 96 {
                octets[15] = suffix;
            }
            let expected = IpAddr::from(carried);
            prop_assert_eq!(prefixes.read(Ipv6Addr::from(octets).into()), expected);
            octets[8] = 1;
            let other = IpAddr::from(Ipv6Addr::from(octets));
            prop_assert_eq!(prefixes.read(other), other);
        }

        /// Read once or twice, by these prefixes or by others: an address is one client.
        #[test]
        fn what_was_read_is_read_as_itself(octets in octets(), own in any::<bool>()) {
            let prefixes = Nat64Prefixes::parse(["2001:db8::/32"]).unwrap();
            let mut octets = octets;
            if own {
                octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
            }
            let once = prefixes.read(Ipv6Addr::from(octets).into());
            prop_assert_eq!(prefixes.read(once), once);
            prop_assert_eq!(Nat64Prefixes::default().read(once), once);
            let v4 = IpAddr::from([octets[0], octets[1], octets[2], octets[3]]);
            prop_assert_eq!(prefixes.read(v4), v4);
        }
    }
}
