//! Addresses of clients that exist nowhere else: the networks for documentation (RFC 5737, RFC 3849).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

/// Hands out addresses: those of honest clients and of attackers never meet, so that nobody is banned for another.
#[derive(Debug)]
pub(super) struct Addresses {
    honest: AtomicU32,
    hostile: AtomicU32,
}

impl Addresses {
    /// Starts anywhere, so that a second run meets neither the bans nor the used-up quotas of the first.
    pub(super) fn new(start: u32) -> Self {
        Self {
            honest: AtomicU32::new(start),
            hostile: AtomicU32::new(start),
        }
    }

    /// In turns an IPv4 address of 192.0.2.0/24 or 198.51.100.0/24, and a /64 of its own in 2001:db8::/33.
    pub(super) fn honest(&self) -> IpAddr {
        let n = self.honest.fetch_add(1, Ordering::Relaxed);
        if n.is_multiple_of(2) {
            return ipv6(n & 0x7fff_ffff);
        }
        let nth = n / 2 % 508;
        let host = u8::try_from(nth % 254 + 1).unwrap_or(1);
        if nth < 254 {
            Ipv4Addr::new(192, 0, 2, host).into()
        } else {
            Ipv4Addr::new(198, 51, 100, host).into()
        }
    }

    /// In turns an IPv4 address of 203.0.113.0/24, and a /64 of its own in 2001:db8:8000::/33.
    pub(super) fn hostile(&self) -> IpAddr {
        let n = self.hostile.fetch_add(1, Ordering::Relaxed);
        if n.is_multiple_of(2) {
            return ipv6(n | 0x8000_0000);
        }
        let host = u8::try_from(n / 2 % 254 + 1).unwrap_or(1);
        Ipv4Addr::new(203, 0, 113, host).into()
    }

    /// A network that nobody else has, unless 2,147,483,648 came in between.
    pub(super) fn network(&self) -> IpAddr {
        ipv6(self.hostile.fetch_add(1, Ordering::Relaxed) | 0x8000_0000)
    }
}

fn ipv6(network: u32) -> IpAddr {
    let [a, b, c, d] = network.to_be_bytes();
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0x2001, 0xdb8, pair(a, b), pair(c, d), 0, 0, 0, 1).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn is_for_documentation(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.is_documentation(),
            IpAddr::V6(address) => address.segments().starts_with(&[0x2001, 0xdb8]),
        }
    }

    #[test]
    fn every_address_is_for_documentation_and_no_attacker_has_one_of_an_honest_client() {
        let addresses = Addresses::new(u32::MAX - 700);
        let honest: HashSet<IpAddr> = (0..2_000).map(|_| addresses.honest()).collect();
        let hostile = |n: u32| {
            if n.is_multiple_of(3) {
                addresses.network()
            } else {
                addresses.hostile()
            }
        };
        let hostile: HashSet<IpAddr> = (0..2_000).map(hostile).collect();
        assert!(honest.is_disjoint(&hostile));
        for address in honest.iter().chain(&hostile) {
            assert!(is_for_documentation(*address), "{address}");
        }
        assert_eq!(honest.len(), 1_000 + 508);
    }
}
